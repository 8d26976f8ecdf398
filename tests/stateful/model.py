"""A workspace as far as its posts go, in dictionaries: what must come of each command. No domain function.

Each command returns None and changes the model, or returns the code of the refusal and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

KEY_LIFETIME = timedelta(hours=24)


@dataclass(eq=False)
class ModelDestination:
    due: datetime | None
    id: Any = None
    """As it is stored; whoever has loaded it says it."""
    phase: str = "queued"
    """queued, claimed, started, published, failed or unknown."""
    is_open: bool = True
    """Whether it may be claimed while it is queued."""
    attempts: int = 0
    counted: int = 0
    """Of the attempts of this round, those that count."""
    round_began: datetime | None = None
    """None where that is when it is due."""
    code: str | None = None
    retry_at: datetime | None = None
    fence: int = 0
    lease_expires: datetime | None = None
    """While it is claimed or started."""
    verifiable: datetime | None = None
    """While it is unknown."""
    look: Any = None
    """The token of who looks."""
    told: dict[int, set[str]] = field(default_factory=dict)
    """What was logged of each claim that was started."""
    keys: dict[str, str] = field(default_factory=dict)
    """What publishers with a queue of their own have told of their attempts."""
    evident: set[int] = field(default_factory=set)
    """The claims that have published."""
    failures: list[datetime] = field(default_factory=list)
    """When the attempts began that failed."""
    began: datetime | None = None
    """The attempt that runs."""

    @property
    def untouched(self) -> bool:
        """Whether no platform was asked."""
        return self.attempts == 0 and self.phase in ("queued", "failed")

    @property
    def is_busy(self) -> bool:
        return self.phase in ("claimed", "started")

    @property
    def claimable(self) -> datetime | None:
        if self.phase == "claimed":
            return self.lease_expires
        return (self.retry_at or self.due) if self.phase == "queued" and self.is_open else None

    def view(self) -> tuple[object, ...]:
        status = {"claimed": "publishing", "started": "publishing", "unknown": "failed"}
        return (
            status.get(self.phase, self.phase),
            self.phase if self.phase in ("published", "failed", "unknown") else "none",
            self.due,
            self.claimable,
            self.attempts,
            self.counted,
            self.retry_at,
            self.code,
            self.fence,
            self.lease_expires if self.is_busy else None,
            self.verifiable if self.phase == "unknown" else None,
        )


@dataclass
class ModelPost:
    content: str
    is_draft: bool
    submitted_now: bool
    scheduled: datetime | None
    on: dict[int, ModelDestination]
    """By account, in order."""
    version: int = 1
    is_deleted: bool = False

    def status(self) -> str:
        phases = [each.phase for each in self.on.values()]
        ended = [each for each in phases if each in ("published", "failed", "unknown")]
        if self.is_draft or not phases:
            return "draft"
        if set(phases) == {"published"}:
            return "published"
        if len(ended) == len(phases):
            return "partially_failed" if "published" in phases else "failed"
        begun = ended or any(each.attempts or each.is_busy for each in self.on.values())
        return "publishing" if begun or self.submitted_now else "scheduled"

    def view(self) -> tuple[object, ...]:
        return (
            self.status(),
            self.content,
            self.version,
            self.scheduled,
            self.is_deleted,
            [(account, each.view()) for account, each in self.on.items()],
        )

    def any(self, *phases: str) -> bool:
        return any(each.phase in phases for each in self.on.values())

    @property
    def untouched(self) -> bool:
        return all(each.untouched for each in self.on.values())

    def plan(self, due: datetime | None) -> None:
        for each in self.on.values():
            each.due, each.phase, each.code = due, "queued", None
            each.counted, each.round_began = 0, None

    def unsure(self) -> str | None:
        return "conflict" if self.any("claimed", "started", "unknown") else None


@dataclass
class Model:
    now: datetime
    accounts: dict[int, bool]
    """Whether each can post."""
    posts: dict[Any, ModelPost] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[object, Any, datetime]] = field(default_factory=dict)
    """What was asked for and answered, and until when, by operation and key."""

    def found(self, post: ModelPost, version: int | None) -> str | None:
        if post.is_deleted:
            return "not_found"
        return "stale_version" if version not in (None, post.version) else None

    def repeated(self, operation: str, key: str | None, request: object) -> tuple[str, Any] | None:
        """The refusal of a key that was used for something else, or what was answered the first time."""
        if key is None or (operation, key) not in self.keys:
            return None
        asked, answer, until = self.keys[operation, key]
        if until <= self.now:
            return None
        return ("idempotency_key_reused", None) if asked != request else ("", answer)

    def keep(self, operation: str, key: str | None, request: object, answer: object) -> None:
        if key is not None:
            self.keys[operation, key] = (request, answer, self.now + KEY_LIFETIME)

    def create_refusal(
        self, accounts: Sequence[int], *, is_draft: bool, when: datetime | None
    ) -> str | None:
        if not accounts and not is_draft:
            return "validation_error"
        if when is not None and when <= self.now:
            return "past_schedule_time"
        return None if set(accounts) <= self.accounts.keys() else "validation_error"

    def created(
        self, content: str, accounts: Sequence[int], *, is_draft: bool, when: datetime | None
    ) -> ModelPost:
        due = None if is_draft else when or self.now
        return ModelPost(
            content=content,
            is_draft=is_draft,
            submitted_now=not is_draft and when is None,
            scheduled=when,
            on={each: ModelDestination(due) for each in accounts},
        )

    def change(  # noqa: PLR0911 - a refusal each
        self,
        post: ModelPost,
        changes: Mapping[str, Any],
        accounts: Sequence[int] | None,
        version: int | None,
    ) -> str | None:
        if refusal := self.found(post, version):
            return refusal
        if post.any("published") or post.unsure():
            return "conflict"
        when = changes.get("scheduled_for", post.scheduled)
        if when != post.scheduled:
            if when is not None and when <= self.now:
                return "past_schedule_time"
            if not post.is_draft and not post.untouched:
                return "conflict"
        if accounts is not None and (refusal := self._placing_refusal(post, accounts)):
            return refusal
        if accounts == [] and not post.is_draft:
            return "validation_error"
        order = list(post.on) if accounts is None else list(accounts)
        content = changes.get("content", post.content)
        if (content, when, order) == (post.content, post.scheduled, list(post.on)):
            return None
        if when != post.scheduled and not post.is_draft:
            post.submitted_now = when is None
            post.plan(when or self.now)
        post.content, post.scheduled = content, when
        self._place(post, order)
        post.version += 1
        return None

    def schedule(  # noqa: PLR0911
        self,
        post: ModelPost,
        when: datetime | None,
        accounts: Sequence[int] | None,
        version: int | None,
        *,
        at_once: bool,
    ) -> str | None:
        if refusal := self.found(post, version):
            return refusal
        if not post.is_draft:
            return "conflict"
        due = None if at_once else when or post.scheduled
        if (at_once and when is not None) or (due is None and not at_once):
            return "validation_error"
        if due is not None and due <= self.now:
            return "past_schedule_time"
        order = list(post.on) if accounts is None else list(accounts)
        if not order:
            return "validation_error"
        if refusal := self._placing_refusal(post, order):
            return refusal
        post.is_draft, post.submitted_now, post.scheduled = False, at_once, due
        post.plan(due or self.now)
        self._place(post, order)
        post.version += 1
        return None

    def cancel(self, post: ModelPost, version: int | None) -> str | None:
        if refusal := self.found(post, version):
            return refusal
        if post.is_draft or post.unsure():
            return "conflict"
        if post.untouched:
            post.is_draft, post.submitted_now = True, False
            post.plan(None)
        elif not post.any("queued"):
            return "conflict"
        else:
            for each in post.on.values():
                if each.phase == "queued":
                    each.phase, each.code, each.retry_at = "failed", "CANCELLED", None
        post.version += 1
        return None

    def delete(self, post: ModelPost, version: int | None) -> str | None:
        if refusal := self.found(post, version):
            return refusal
        if post.any("published"):
            return "post_already_published"
        if post.unsure():
            return "conflict"
        for each in post.on.values():
            each.is_open = False
        post.is_deleted = True
        post.version += 1
        return None

    def retry(
        self, post: ModelPost, only: Sequence[int] | None, *, force: bool
    ) -> tuple[str | None, list[str | None]]:
        """The refusal of all, and of each destination that is looked at."""
        if post.is_deleted:
            return "not_found", []
        if only is not None and not set(only) <= post.on.keys():
            return "validation_error", []
        looked_at = [(key, each) for key, each in post.on.items() if only is None or key in only]
        refusals = [self._retry_refusal(key, each, force=force) for key, each in looked_at]
        for (_, each), refusal in zip(looked_at, refusals, strict=True):
            if refusal is None:
                each.phase, each.code, each.is_open = "queued", None, True
                each.counted, each.round_began = 0, self.now
        post.version += None in refusals
        return None, refusals

    def _retry_refusal(self, account: int, at: ModelDestination, *, force: bool) -> str | None:
        reasons = {"published": "already_published", "queued": "not_failed"}
        if at.is_busy:
            return "in_flight"
        if at.phase in reasons:
            return reasons[at.phase]
        if at.phase == "unknown" and not force:
            return "outcome_unknown"
        return None if self.accounts[account] else "account_needs_reconnection"

    def _placing_refusal(self, post: ModelPost, accounts: Sequence[int]) -> str | None:
        if any(not each.untouched for key, each in post.on.items() if key not in accounts):
            return "conflict"
        known = self.accounts.keys() | post.on.keys()
        return None if set(accounts) <= known else "validation_error"

    def _place(self, post: ModelPost, order: Sequence[int]) -> None:
        due = None if post.is_draft else max(post.scheduled or self.now, self.now)
        post.on = {each: post.on.get(each) or ModelDestination(due) for each in order}
