"""What must come of each command of publishers, and of time: the model goes on. No domain function.

Each command returns the code of a refusal, or the receipt of what was told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.stateful.model import WorkspaceModel, ModelDestination, ModelPost

VERIFICATION_INTERVAL = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
MAX_RETRY_AGES = {"RATE_LIMITED": timedelta(hours=72)}
DEFAULT_MAX_RETRY_AGE = timedelta(hours=24)


@dataclass(frozen=True)
class GrantedLease:
    """A lease that was given out, to publish or to look."""

    lease: Any
    post: ModelPost
    account: int
    destination: ModelDestination

    @property
    def fence(self) -> int:
        return int(self.lease.fence)

    @property
    def is_removed(self) -> bool:
        """Whether the post does not go to the account any more."""
        return self.post.destinations.get(self.account) is not self.destination

    @property
    def is_held(self) -> bool:
        return self.destination.is_busy and self.destination.fence == self.fence and not self.is_removed


@dataclass
class PublishingModel(WorkspaceModel):
    leases: list[GrantedLease] = field(default_factory=list)
    verification_leases: list[GrantedLease] = field(default_factory=list)

    def all_destinations(self) -> Iterator[tuple[ModelPost, int, ModelDestination]]:
        for post in self.posts.values():
            for account, at in post.destinations.items():
                yield post, account, at

    def due_destinations(self, limit: int) -> list[tuple[ModelPost, int, ModelDestination]]:
        """What is claimed next, the longest due first."""
        due = [each for each in self.all_destinations() if _is_past(each[2].claimable_at, self.now)]
        return sorted(due, key=lambda each: (each[2].claimable_at, each[2].id))[:limit]

    def verifiable_destinations(self, limit: int) -> list[tuple[ModelPost, int, ModelDestination]]:
        unknown = [each for each in self.all_destinations() if each[2].phase == "unknown"]
        ready = [each for each in unknown if _is_past(each[2].verifiable_at, self.now)]
        return sorted(ready, key=lambda each: (each[2].verifiable_at, each[2].id))[:limit]

    def claim(self, limit: int, duration: timedelta) -> list[tuple[ModelPost, int, ModelDestination]]:
        """Those that are given out; the others of the chosen have lost their access."""
        claimed = []
        for post, account, at in self.due_destinations(limit):
            at.next_retry_at = None
            if self.accounts[account]:
                at.phase, at.fence, at.lease_expires_at = "claimed", at.fence + 1, self.now + duration
                claimed.append((post, account, at))
            else:
                at.phase, at.error_code = "failed", "AUTH"
        return claimed

    def fail_blocked(self) -> None:
        for _, account, at in self.all_destinations():
            is_due = at.phase == "queued" and _is_past(at.claimable_at, self.now)
            if is_due and not self.accounts[account]:
                at.phase, at.error_code, at.next_retry_at = "failed", "AUTH", None

    def claim_verifications(
        self, limit: int, duration: timedelta
    ) -> list[tuple[ModelPost, int, ModelDestination]]:
        chosen = self.verifiable_destinations(limit)
        for _, _, at in chosen:
            at.verifiable_at = self.now + duration
        return chosen

    def start(self, lease: GrantedLease) -> str:
        if self._is_lease_lost(lease):
            return "lease_lost"
        if lease.destination.phase == "started":
            return "repeated"
        if not self.accounts[lease.account]:
            return "lease_lost"
        self._start_attempt(lease.destination)
        return "recorded"

    def extend(self, lease: GrantedLease, duration: timedelta) -> str | None:
        if self._is_lease_lost(lease):
            return "lease_lost"
        lease.destination.lease_expires_at = self.now + duration
        return None

    def release(self, lease: GrantedLease) -> str:
        if self._is_lease_lost(lease):
            return "lease_lost"
        if lease.destination.phase == "started":
            return "conflict"
        self._requeue(lease.destination)
        return "recorded"

    def settle_expired_leases(self) -> None:
        """Leases that have ended."""
        for _, _, at in self.all_destinations():
            if not at.is_busy or not _is_past(at.lease_expires_at, self.now):
                continue
            if at.phase == "claimed":
                self._requeue(at)
            else:
                self._mark_unknown(at)

    def report_published(self, lease: GrantedLease) -> str:
        at = lease.destination
        if lease.is_removed:
            return "lease_lost"
        if lease.fence in at.evidence_fences:
            return "repeated"
        if lease.post.is_draft:
            self._submit_draft(lease.post, at)
        if lease.is_held and at.phase == "claimed":
            self._start_attempt(at)
        return self._publish(at, lease.fence, by_holder=lease.is_held)

    def report_failed(self, lease: GrantedLease, code: str) -> str:
        at = lease.destination
        if lease.is_removed or not lease.is_held:
            return self._report_late(lease, "failed")
        if at.phase == "claimed":
            self._start_attempt(at)
        if code == "AUTH":
            self.accounts[lease.account] = False
        at.reported_outcomes[at.fence].add("failed")
        self._fail(at, code, at.started_at or self.now)
        return "recorded"

    def report_unknown(self, lease: GrantedLease) -> str:
        if lease.is_removed or not lease.is_held:
            return self._report_late(lease, "unknown")
        if lease.destination.phase == "claimed":
            return "conflict"
        self._mark_unknown(lease.destination)
        return "recorded"

    def report_verified(self, lease: GrantedLease, finding: str) -> str:
        at = lease.destination
        is_held = at.phase == "unknown" and at.verification_token == lease.lease.token
        if lease.is_removed:
            return "lease_lost"
        if finding == "published":
            if lease.fence in at.evidence_fences:
                return "repeated"
            return self._publish(at, lease.fence, by_holder=is_held)
        if not is_held or _is_past(at.verifiable_at, self.now):
            return "lease_lost"
        at.verification_token = None
        if finding == "still_unknown":
            at.verifiable_at = self.now + VERIFICATION_INTERVAL
        elif at.counted_attempts >= 5 or self._is_older(at, DEFAULT_MAX_RETRY_AGE):
            at.phase, at.error_code = "failed", "NOT_PUBLISHED"
        else:
            at.phase, at.error_code, at.next_retry_at = "queued", "NOT_PUBLISHED", self.now
        return "recorded"

    def reconcile(self, post: ModelPost, destination: ModelDestination, *, is_published: bool) -> str:
        if post.is_deleted:
            return "not_found"
        if destination.phase != "unknown":
            return "conflict"
        if is_published:
            return self._publish(destination, destination.fence, by_holder=True)
        destination.phase, destination.error_code = "failed", "NOT_PUBLISHED"
        return "recorded"

    def record_result(  # noqa: PLR0911
        self, post: ModelPost, account: int, key: str, code: str | None
    ) -> str:
        """`code` is that of a failure; None of a publication."""
        if (post.is_deleted and code) or account not in post.destinations:
            return "not_found"
        at, told = post.destinations[account], "failed" if code else "published"
        if key in at.attempt_keys:
            return "repeated" if at.attempt_keys[key] == told else "conflict"
        if post.is_draft and code:
            return "conflict"
        if post.is_draft:
            self._submit_draft(post, at)
        if at.is_busy and not _is_past(at.lease_expires_at, self.now):
            return "leased"
        if code and at.phase in ("published", "failed", "unknown"):
            return "conflict"
        if at.phase == "started":
            at.reported_outcomes[at.fence].add("unknown")
        at.attempt_keys[key] = told
        at.fence += 1
        if at.phase == "published":
            at.evidence_fences.add(at.fence)
            return "duplicate"
        self._start_attempt(at)
        if code is None:
            return self._publish(at, at.fence, by_holder=True)
        if code == "AUTH":
            self.accounts[account] = False
        at.reported_outcomes[at.fence].add("failed")
        self._fail(at, code, self.now)
        return "recorded"

    def _submit_draft(self, post: ModelPost, destination: ModelDestination) -> None:
        """A draft of which something is published."""
        post.is_draft, post.submitted_now = False, post.scheduled_for is None
        post.reschedule(post.scheduled_for or self.now)
        for each in post.destinations.values():
            if each is not destination:
                each.phase, each.error_code = "failed", "CANCELLED"

    def _is_lease_lost(self, lease: GrantedLease) -> bool:
        return not lease.is_held or _is_past(lease.destination.lease_expires_at, self.now)

    def _start_attempt(self, destination: ModelDestination) -> None:
        destination.phase, destination.attempts, destination.counted_attempts = "started", destination.attempts + 1, destination.counted_attempts + 1
        destination.reported_outcomes[destination.fence], destination.started_at = set(), self.now

    def _requeue(self, destination: ModelDestination) -> None:
        destination.phase, destination.next_retry_at = "queued", self.now if destination.error_code else None

    def _mark_unknown(self, destination: ModelDestination) -> None:
        destination.reported_outcomes[destination.fence].add("unknown")
        destination.phase, destination.error_code, destination.verifiable_at, destination.verification_token = "unknown", "OUTCOME_UNKNOWN", self.now, None

    def _report_late(self, lease: GrantedLease, outcome: str) -> str:
        at = lease.destination
        if not lease.is_removed and lease.fence in at.evidence_fences:
            return "conflict"
        if lease.is_removed or lease.fence not in at.reported_outcomes:
            return "lease_lost"
        if outcome in at.reported_outcomes[lease.fence]:
            return "repeated"
        at.reported_outcomes[lease.fence].add(outcome)
        return "late"

    def _publish(self, destination: ModelDestination, fence: int, *, by_holder: bool) -> str:
        destination.evidence_fences.add(fence)
        if destination.phase == "published":
            return "duplicate"
        if destination.phase == "started" and not by_holder:
            destination.reported_outcomes[destination.fence].add("unknown")
        destination.phase, destination.error_code, destination.next_retry_at = "published", None, None
        return "recorded"

    def _fail(self, destination: ModelDestination, code: str, started_at: datetime) -> None:
        """By the policies of the contract, with every wait half of the longest."""
        if code == "RATE_LIMITED":
            destination.counted_attempts = max(destination.counted_attempts - 1, 0)
        since = destination.round_started_at or destination.due_at
        earlier = sum(since is not None and each >= since for each in destination.failure_times)
        destination.failure_times.append(started_at)
        destination.phase, destination.error_code, destination.next_retry_at = "failed", code, None
        wait = min(30 * 2**earlier, 3600) / 2 * SECOND
        may = code in ("RATE_LIMITED", "TIMEOUT") and destination.counted_attempts < 5
        if may and not self._is_older(destination, MAX_RETRY_AGES.get(code, DEFAULT_MAX_RETRY_AGE) - wait):
            destination.phase, destination.next_retry_at = "queued", max(self.now + wait, destination.due_at or self.now)

    def _is_older(self, destination: ModelDestination, age: timedelta) -> bool:
        began = destination.round_started_at or destination.due_at
        return began is not None and self.now > began + age


def _is_past(time: datetime | None, now: datetime) -> bool:
    return time is not None and time <= now
