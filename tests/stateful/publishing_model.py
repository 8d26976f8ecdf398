"""What must come of each command of publishers, and of time: the model goes on. No domain function.

Each command returns the code of a refusal, or the receipt of what was told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.stateful.model import Model, ModelDestination, ModelPost

VERIFY_AGAIN = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
AGE = {"RATE_LIMITED": timedelta(hours=72)}
DAY = timedelta(hours=24)


@dataclass(frozen=True)
class Given:
    """A lease that was given out, to publish or to look."""

    lease: Any
    post: ModelPost
    account: int
    at: ModelDestination

    @property
    def fence(self) -> int:
        return int(self.lease.fence)

    @property
    def is_gone(self) -> bool:
        """Whether the post does not go to the account any more."""
        return self.post.on.get(self.account) is not self.at

    @property
    def is_held(self) -> bool:
        return self.at.is_busy and self.at.fence == self.fence and not self.is_gone


@dataclass
class PublishingModel(Model):
    given: list[Given] = field(default_factory=list)
    looks: list[Given] = field(default_factory=list)

    def places(self) -> Iterator[tuple[ModelPost, int, ModelDestination]]:
        for post in self.posts.values():
            for account, at in post.on.items():
                yield post, account, at

    def due(self, limit: int) -> list[tuple[ModelPost, int, ModelDestination]]:
        """What is claimed next, the longest due first."""
        due = [each for each in self.places() if _is_past(each[2].claimable, self.now)]
        return sorted(due, key=lambda each: (each[2].claimable, each[2].id))[:limit]

    def to_verify(self, limit: int) -> list[tuple[ModelPost, int, ModelDestination]]:
        unknown = [each for each in self.places() if each[2].phase == "unknown"]
        ready = [each for each in unknown if _is_past(each[2].verifiable, self.now)]
        return sorted(ready, key=lambda each: (each[2].verifiable, each[2].id))[:limit]

    def claim(self, limit: int, length: timedelta) -> list[tuple[ModelPost, int, ModelDestination]]:
        """Those that are given out; the others of the chosen have lost their access."""
        claimed = []
        for post, account, at in self.due(limit):
            at.retry_at = None
            if self.accounts[account]:
                at.phase, at.fence, at.lease_expires = "claimed", at.fence + 1, self.now + length
                claimed.append((post, account, at))
            else:
                at.phase, at.code = "failed", "AUTH"
        return claimed

    def lacks_access(self) -> None:
        for _, account, at in self.places():
            is_due = at.phase == "queued" and _is_past(at.claimable, self.now)
            if is_due and not self.accounts[account]:
                at.phase, at.code, at.retry_at = "failed", "AUTH", None

    def verify(
        self, limit: int, length: timedelta
    ) -> list[tuple[ModelPost, int, ModelDestination]]:
        chosen = self.to_verify(limit)
        for _, _, at in chosen:
            at.verifiable = self.now + length
        return chosen

    def start(self, given: Given) -> str:
        if self._has_lost(given):
            return "lease_lost"
        if given.at.phase == "started":
            return "repeated"
        if not self.accounts[given.account]:
            return "lease_lost"
        self._begin(given.at)
        return "recorded"

    def extend(self, given: Given, length: timedelta) -> str | None:
        if self._has_lost(given):
            return "lease_lost"
        given.at.lease_expires = self.now + length
        return None

    def release(self, given: Given) -> str:
        if self._has_lost(given):
            return "lease_lost"
        if given.at.phase == "started":
            return "conflict"
        self._free(given.at)
        return "recorded"

    def settle(self) -> None:
        """Leases that have ended."""
        for _, _, at in self.places():
            if not at.is_busy or not _is_past(at.lease_expires, self.now):
                continue
            if at.phase == "claimed":
                self._free(at)
            else:
                self._lose(at)

    def published(self, given: Given) -> str:
        at = given.at
        if given.is_gone:
            return "lease_lost"
        if given.fence in at.evident:
            return "repeated"
        if given.post.is_draft:
            self._send_after_all(given.post, at)
        if given.is_held and at.phase == "claimed":
            self._begin(at)
        return self._publish(at, given.fence, by_holder=given.is_held)

    def failed(self, given: Given, code: str) -> str:
        at = given.at
        if given.is_gone or not given.is_held:
            return self._late(given, "failed")
        if at.phase == "claimed":
            self._begin(at)
        if code == "AUTH":
            self.accounts[given.account] = False
        at.told[at.fence].add("failed")
        self._fail(at, code, at.began or self.now)
        return "recorded"

    def unknown(self, given: Given) -> str:
        if given.is_gone or not given.is_held:
            return self._late(given, "unknown")
        if given.at.phase == "claimed":
            return "conflict"
        self._lose(given.at)
        return "recorded"

    def verified(self, given: Given, finding: str) -> str:
        at = given.at
        is_held = at.phase == "unknown" and at.look == given.lease.token
        if given.is_gone:
            return "lease_lost"
        if finding == "published":
            if given.fence in at.evident:
                return "repeated"
            return self._publish(at, given.fence, by_holder=is_held)
        if not is_held or _is_past(at.verifiable, self.now):
            return "lease_lost"
        at.look = None
        if finding == "still_unknown":
            at.verifiable = self.now + VERIFY_AGAIN
        elif at.counted >= 5 or self._is_older(at, DAY):
            at.phase, at.code = "failed", "NOT_PUBLISHED"
        else:
            at.phase, at.code, at.retry_at = "queued", "NOT_PUBLISHED", self.now
        return "recorded"

    def reconcile(self, post: ModelPost, at: ModelDestination, *, is_there: bool) -> str:
        if post.is_deleted:
            return "not_found"
        if at.phase != "unknown":
            return "conflict"
        if is_there:
            return self._publish(at, at.fence, by_holder=True)
        at.phase, at.code = "failed", "NOT_PUBLISHED"
        return "recorded"

    def record(  # noqa: PLR0911
        self, post: ModelPost, account: int, key: str, code: str | None
    ) -> str:
        """`code` is that of a failure; None of a publication."""
        if (post.is_deleted and code) or account not in post.on:
            return "not_found"
        at, told = post.on[account], "failed" if code else "published"
        if key in at.keys:
            return "repeated" if at.keys[key] == told else "conflict"
        if post.is_draft and code:
            return "conflict"
        if post.is_draft:
            self._send_after_all(post, at)
        if at.is_busy and not _is_past(at.lease_expires, self.now):
            return "leased"
        if code and at.phase in ("published", "failed", "unknown"):
            return "conflict"
        if at.phase == "started":
            at.told[at.fence].add("unknown")
        at.keys[key] = told
        at.fence += 1
        if at.phase == "published":
            at.evident.add(at.fence)
            return "duplicate"
        self._begin(at)
        if code is None:
            return self._publish(at, at.fence, by_holder=True)
        if code == "AUTH":
            self.accounts[account] = False
        at.told[at.fence].add("failed")
        self._fail(at, code, self.now)
        return "recorded"

    def _send_after_all(self, post: ModelPost, at: ModelDestination) -> None:
        """A draft of which something is published."""
        post.is_draft, post.submitted_now = False, post.scheduled is None
        post.plan(post.scheduled or self.now)
        for each in post.on.values():
            if each is not at:
                each.phase, each.code = "failed", "CANCELLED"

    def _has_lost(self, given: Given) -> bool:
        return not given.is_held or _is_past(given.at.lease_expires, self.now)

    def _begin(self, at: ModelDestination) -> None:
        at.phase, at.attempts, at.counted = "started", at.attempts + 1, at.counted + 1
        at.told[at.fence], at.began = set(), self.now

    def _free(self, at: ModelDestination) -> None:
        at.phase, at.retry_at = "queued", self.now if at.code else None

    def _lose(self, at: ModelDestination) -> None:
        at.told[at.fence].add("unknown")
        at.phase, at.code, at.verifiable, at.look = "unknown", "OUTCOME_UNKNOWN", self.now, None

    def _late(self, given: Given, outcome: str) -> str:
        at = given.at
        if not given.is_gone and given.fence in at.evident:
            return "conflict"
        if given.is_gone or given.fence not in at.told:
            return "lease_lost"
        if outcome in at.told[given.fence]:
            return "repeated"
        at.told[given.fence].add(outcome)
        return "late"

    def _publish(self, at: ModelDestination, fence: int, *, by_holder: bool) -> str:
        at.evident.add(fence)
        if at.phase == "published":
            return "duplicate"
        if at.phase == "started" and not by_holder:
            at.told[at.fence].add("unknown")
        at.phase, at.code, at.retry_at = "published", None, None
        return "recorded"

    def _fail(self, at: ModelDestination, code: str, began: datetime) -> None:
        """By the policies of the contract, with every wait half of the longest."""
        if code == "RATE_LIMITED":
            at.counted = max(at.counted - 1, 0)
        since = at.round_began or at.due
        earlier = sum(since is not None and each >= since for each in at.failures)
        at.failures.append(began)
        at.phase, at.code, at.retry_at = "failed", code, None
        wait = min(30 * 2**earlier, 3600) / 2 * SECOND
        may = code in ("RATE_LIMITED", "TIMEOUT") and at.counted < 5
        if may and not self._is_older(at, AGE.get(code, DAY) - wait):
            at.phase, at.retry_at = "queued", max(self.now + wait, at.due or self.now)

    def _is_older(self, at: ModelDestination, age: timedelta) -> bool:
        began = at.round_began or at.due
        return began is not None and self.now > began + age


def _is_past(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now
