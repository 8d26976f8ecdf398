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
    due_at: datetime | None
    id: Any = None
    """As it is stored; whoever has loaded it says it."""
    phase: str = "queued"
    """queued, claimed, started, published, failed or unknown."""
    is_open: bool = True
    """Whether it may be claimed while it is queued."""
    attempts: int = 0
    counted_attempts: int = 0
    """Of the attempts of this round, those that count."""
    round_started_at: datetime | None = None
    """None where that is when it is due."""
    error_code: str | None = None
    next_retry_at: datetime | None = None
    fence: int = 0
    lease_expires_at: datetime | None = None
    """While it is claimed or started."""
    verifiable_at: datetime | None = None
    """While it is unknown."""
    verification_token: Any = None
    """The token of who looks."""
    reported_outcomes: dict[int, set[str]] = field(default_factory=dict)
    """What was logged of each claim that was started."""
    attempt_keys: dict[str, str] = field(default_factory=dict)
    """What publishers with a queue of their own have told of their attempts."""
    evidence_fences: set[int] = field(default_factory=set)
    """The claims that have published."""
    failure_times: list[datetime] = field(default_factory=list)
    """When the attempts began that failed."""
    started_at: datetime | None = None
    """The attempt that runs."""

    @property
    def never_attempted(self) -> bool:
        """Whether no platform was asked."""
        return self.attempts == 0 and self.phase in ("queued", "failed")

    @property
    def is_busy(self) -> bool:
        return self.phase in ("claimed", "started")

    @property
    def claimable_at(self) -> datetime | None:
        if self.phase == "claimed":
            return self.lease_expires_at
        return (self.next_retry_at or self.due_at) if self.phase == "queued" and self.is_open else None

    def view(self) -> tuple[object, ...]:
        status = {"claimed": "publishing", "started": "publishing", "unknown": "failed"}
        return (
            status.get(self.phase, self.phase),
            self.phase if self.phase in ("published", "failed", "unknown") else "none",
            self.due_at,
            self.claimable_at,
            self.attempts,
            self.counted_attempts,
            self.next_retry_at,
            self.error_code,
            self.fence,
            self.lease_expires_at if self.is_busy else None,
            self.verifiable_at if self.phase == "unknown" else None,
        )


@dataclass
class ModelPost:
    content: str
    is_draft: bool
    submitted_now: bool
    scheduled_for: datetime | None
    destinations: dict[int, ModelDestination]
    """By account, in order."""
    version: int = 1
    is_deleted: bool = False

    def status(self) -> str:
        phases = [each.phase for each in self.destinations.values()]
        ended = [each for each in phases if each in ("published", "failed", "unknown")]
        if self.is_draft or not phases:
            return "draft"
        if set(phases) == {"published"}:
            return "published"
        if len(ended) == len(phases):
            return "partially_failed" if "published" in phases else "failed"
        begun = ended or any(each.attempts or each.is_busy for each in self.destinations.values())
        return "publishing" if begun or self.submitted_now else "scheduled"

    def view(self) -> tuple[object, ...]:
        return (
            self.status(),
            self.content,
            self.version,
            self.scheduled_for,
            self.is_deleted,
            [(account, each.view()) for account, each in self.destinations.items()],
        )

    def has_phase(self, *phases: str) -> bool:
        return any(each.phase in phases for each in self.destinations.values())

    @property
    def never_attempted(self) -> bool:
        return all(each.never_attempted for each in self.destinations.values())

    def reschedule(self, due_at: datetime | None) -> None:
        for each in self.destinations.values():
            each.due_at, each.phase, each.error_code = due_at, "queued", None
            each.counted_attempts, each.round_started_at = 0, None

    def busy_refusal(self) -> str | None:
        return "conflict" if self.has_phase("claimed", "started", "unknown") else None


@dataclass
class WorkspaceModel:
    now: datetime
    accounts: dict[int, bool]
    """Whether each can post."""
    posts: dict[Any, ModelPost] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[object, Any, datetime]] = field(default_factory=dict)
    """What was asked for and answered, and until when, by operation and key."""

    def access_refusal(self, post: ModelPost, version: int | None) -> str | None:
        if post.is_deleted:
            return "not_found"
        return "stale_version" if version not in (None, post.version) else None

    def replay_result(self, operation: str, key: str | None, request: object) -> tuple[str, Any] | None:
        """The refusal of a key that was used for something else, or what was answered the first time."""
        if key is None or (operation, key) not in self.keys:
            return None
        asked, answer, until = self.keys[operation, key]
        if until <= self.now:
            return None
        return ("idempotency_key_reused", None) if asked != request else ("", answer)

    def store_result(self, operation: str, key: str | None, request: object, result: object) -> None:
        if key is not None:
            self.keys[operation, key] = (request, result, self.now + KEY_LIFETIME)

    def create_refusal(
        self, accounts: Sequence[int], *, is_draft: bool, scheduled_for: datetime | None
    ) -> str | None:
        if not accounts and not is_draft:
            return "validation_error"
        if scheduled_for is not None and scheduled_for <= self.now:
            return "past_schedule_time"
        return None if set(accounts) <= self.accounts.keys() else "validation_error"

    def add_post(
        self, content: str, accounts: Sequence[int], *, is_draft: bool, scheduled_for: datetime | None
    ) -> ModelPost:
        due = None if is_draft else scheduled_for or self.now
        return ModelPost(
            content=content,
            is_draft=is_draft,
            submitted_now=not is_draft and scheduled_for is None,
            scheduled_for=scheduled_for,
            destinations={each: ModelDestination(due) for each in accounts},
        )

    def change(  # noqa: PLR0911 - a refusal each
        self,
        post: ModelPost,
        changes: Mapping[str, Any],
        accounts: Sequence[int] | None,
        version: int | None,
    ) -> str | None:
        if refusal := self.access_refusal(post, version):
            return refusal
        if post.has_phase("published") or post.busy_refusal():
            return "conflict"
        when = changes.get("scheduled_for", post.scheduled_for)
        if when != post.scheduled_for:
            if when is not None and when <= self.now:
                return "past_schedule_time"
            if not post.is_draft and not post.never_attempted:
                return "conflict"
        if accounts is not None and (refusal := self._accounts_refusal(post, accounts)):
            return refusal
        if accounts == [] and not post.is_draft:
            return "validation_error"
        order = list(post.destinations) if accounts is None else list(accounts)
        content = changes.get("content", post.content)
        if (content, when, order) == (post.content, post.scheduled_for, list(post.destinations)):
            return None
        if when != post.scheduled_for and not post.is_draft:
            post.submitted_now = when is None
            post.reschedule(when or self.now)
        post.content, post.scheduled_for = content, when
        self._set_destinations(post, order)
        post.version += 1
        return None

    def schedule(  # noqa: PLR0911
        self,
        post: ModelPost,
        scheduled_for: datetime | None,
        accounts: Sequence[int] | None,
        version: int | None,
        *,
        publish_now: bool,
    ) -> str | None:
        if refusal := self.access_refusal(post, version):
            return refusal
        if not post.is_draft:
            return "conflict"
        due = None if publish_now else scheduled_for or post.scheduled_for
        if (publish_now and scheduled_for is not None) or (due is None and not publish_now):
            return "validation_error"
        if due is not None and due <= self.now:
            return "past_schedule_time"
        order = list(post.destinations) if accounts is None else list(accounts)
        if not order:
            return "validation_error"
        if refusal := self._accounts_refusal(post, order):
            return refusal
        post.is_draft, post.submitted_now, post.scheduled_for = False, publish_now, due
        post.reschedule(due or self.now)
        self._set_destinations(post, order)
        post.version += 1
        return None

    def cancel(self, post: ModelPost, version: int | None) -> str | None:
        if refusal := self.access_refusal(post, version):
            return refusal
        if post.is_draft or post.busy_refusal():
            return "conflict"
        if post.never_attempted:
            post.is_draft, post.submitted_now = True, False
            post.reschedule(None)
        elif not post.has_phase("queued"):
            return "conflict"
        else:
            for each in post.destinations.values():
                if each.phase == "queued":
                    each.phase, each.error_code, each.next_retry_at = "failed", "CANCELLED", None
        post.version += 1
        return None

    def delete(self, post: ModelPost, version: int | None) -> str | None:
        if refusal := self.access_refusal(post, version):
            return refusal
        if post.has_phase("published"):
            return "post_already_published"
        if post.busy_refusal():
            return "conflict"
        for each in post.destinations.values():
            each.is_open = False
        post.is_deleted = True
        post.version += 1
        return None

    def retry(
        self, post: ModelPost, accounts: Sequence[int] | None, *, force: bool
    ) -> tuple[str | None, list[str | None]]:
        """The refusal of all, and of each destination that is looked at."""
        if post.is_deleted:
            return "not_found", []
        if accounts is not None and not set(accounts) <= post.destinations.keys():
            return "validation_error", []
        looked_at = [(key, each) for key, each in post.destinations.items() if accounts is None or key in accounts]
        refusals = [self._retry_refusal(key, each, force=force) for key, each in looked_at]
        for (_, each), refusal in zip(looked_at, refusals, strict=True):
            if refusal is None:
                each.phase, each.error_code, each.is_open = "queued", None, True
                each.counted_attempts, each.round_started_at = 0, self.now
        post.version += None in refusals
        return None, refusals

    def _retry_refusal(self, account: int, destination: ModelDestination, *, force: bool) -> str | None:
        reasons = {"published": "already_published", "queued": "not_failed"}
        if destination.is_busy:
            return "in_flight"
        if destination.phase in reasons:
            return reasons[destination.phase]
        if destination.phase == "unknown" and not force:
            return "outcome_unknown"
        return None if self.accounts[account] else "account_needs_reconnection"

    def _accounts_refusal(self, post: ModelPost, accounts: Sequence[int]) -> str | None:
        if any(not each.never_attempted for key, each in post.destinations.items() if key not in accounts):
            return "conflict"
        known = self.accounts.keys() | post.destinations.keys()
        return None if set(accounts) <= known else "validation_error"

    def _set_destinations(self, post: ModelPost, order: Sequence[int]) -> None:
        due = None if post.is_draft else max(post.scheduled_for or self.now, self.now)
        post.destinations = {each: post.destinations.get(each) or ModelDestination(due) for each in order}
