"""In-memory model of the posts of a workspace, written without the domain functions.

Each command changes the model and returns None, or changes nothing and returns the error code.
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
    """Stored id; None until the destination was loaded."""
    phase: str = "queued"
    """"queued", "claimed", "started", "published", "failed" or "unknown"."""
    is_open: bool = True
    """May be claimed while queued; False on deleted posts."""
    attempts: int = 0
    counted_attempts: int = 0
    """Attempts of this round that count towards the limit."""
    round_started_at: datetime | None = None
    """None if the round starts at the due time."""
    error_code: str | None = None
    next_retry_at: datetime | None = None
    fence: int = 0
    lease_expires_at: datetime | None = None
    """Valid while claimed or started."""
    verifiable_at: datetime | None = None
    """Valid while the outcome is unknown."""
    unknown_since: datetime | None = None
    """Valid while the outcome is unknown."""
    verification_token: Any = None
    """Token of the current verification lease."""
    reported_outcomes: dict[int, set[str]] = field(default_factory=dict)
    """Outcomes in the attempt log, by the fence of the started claim."""
    attempt_keys: dict[str, str] = field(default_factory=dict)
    """Outcomes recorded by publishers with their own queue, by attempt key."""
    evidence_fences: set[int] = field(default_factory=set)
    """Fences of the claims that published."""
    failure_times: list[datetime] = field(default_factory=list)
    """Start times of the failed attempts."""
    started_at: datetime | None = None
    """Start of the running attempt."""

    @property
    def never_attempted(self) -> bool:
        return self.attempts == 0 and self.phase in ("queued", "failed")

    @property
    def is_busy(self) -> bool:
        return self.phase in ("claimed", "started")

    @property
    def claimable_at(self) -> datetime | None:
        if self.phase == "claimed":
            return self.lease_expires_at
        if self.phase != "queued" or not self.is_open or self.due_at is None:
            return None
        # A manual retry can be claimed from then on, after what was due before.
        return self.next_retry_at or max(self.due_at, self.round_started_at or self.due_at)

    def view(self) -> tuple[object, ...]:
        """The values that `machine.view_of_post` reads from a stored destination."""
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
    """By account id, in the order of the post."""
    version: int = 1
    is_deleted: bool = False

    def status(self) -> str:
        destinations = self.destinations.values()
        phases = [destination.phase for destination in destinations]
        settled = [phase for phase in phases if phase in ("published", "failed", "unknown")]
        if self.is_draft or not phases:
            return "draft"
        if set(phases) == {"published"}:
            return "published"
        if len(settled) == len(phases):
            return "partially_failed" if "published" in phases else "failed"
        has_begun = settled or any(each.attempts or each.is_busy for each in destinations)
        return "publishing" if has_begun or self.submitted_now else "scheduled"

    def view(self) -> tuple[object, ...]:
        return (
            self.status(),
            self.content,
            self.version,
            self.scheduled_for,
            self.is_deleted,
            [(account, destination.view()) for account, destination in self.destinations.items()],
        )

    def has_phase(self, *phases: str) -> bool:
        return any(destination.phase in phases for destination in self.destinations.values())

    @property
    def never_attempted(self) -> bool:
        return all(destination.never_attempted for destination in self.destinations.values())

    def reschedule(self, due_at: datetime | None) -> None:
        for destination in self.destinations.values():
            destination.due_at, destination.phase = due_at, "queued"
            destination.error_code = destination.round_started_at = None
            destination.counted_attempts = 0

    def busy_refusal(self) -> str | None:
        return "conflict" if self.has_phase("claimed", "started", "unknown") else None


@dataclass
class WorkspaceModel:
    now: datetime
    accounts: dict[int, bool]
    """Account id → whether it can post."""
    posts: dict[Any, ModelPost] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[object, Any, datetime]] = field(default_factory=dict)
    """(operation, idempotency key) → request, result and expiry."""

    def access_refusal(self, post: ModelPost, version: int | None) -> str | None:
        if post.is_deleted:
            return "not_found"
        return "stale_version" if version not in (None, post.version) else None

    def replay_result(
        self, operation: str, key: str | None, request: object
    ) -> tuple[str, Any] | None:
        """Error of a key that another request used, or the stored result of the first request."""
        if key is None or (operation, key) not in self.keys:
            return None
        first_request, result, expires_at = self.keys[operation, key]
        if expires_at <= self.now:
            return None
        return ("idempotency_key_reused", None) if first_request != request else ("", result)

    def store_result(
        self, operation: str, key: str | None, request: object, result: object
    ) -> None:
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
        self,
        content: str,
        accounts: Sequence[int],
        *,
        is_draft: bool,
        scheduled_for: datetime | None,
    ) -> ModelPost:
        due_at = None if is_draft else scheduled_for or self.now
        return ModelPost(
            content=content,
            is_draft=is_draft,
            submitted_now=not is_draft and scheduled_for is None,
            scheduled_for=scheduled_for,
            destinations={account: ModelDestination(due_at) for account in accounts},
        )

    def change(  # noqa: PLR0911 - one return per error
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
        scheduled_for = changes.get("scheduled_for", post.scheduled_for)
        if scheduled_for != post.scheduled_for:
            if scheduled_for is not None and scheduled_for <= self.now:
                return "past_schedule_time"
            if not post.is_draft and not post.never_attempted:
                return "conflict"
        if accounts is not None and (refusal := self._accounts_refusal(post, accounts)):
            return refusal
        if accounts == [] and not post.is_draft:
            return "validation_error"
        order = list(post.destinations) if accounts is None else list(accounts)
        content = changes.get("content", post.content)
        unchanged = (post.content, post.scheduled_for, list(post.destinations))
        if (content, scheduled_for, order) == unchanged:
            return None
        if scheduled_for != post.scheduled_for and not post.is_draft:
            post.submitted_now = scheduled_for is None
            post.reschedule(scheduled_for or self.now)
        post.content, post.scheduled_for = content, scheduled_for
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
        due_at = None if publish_now else scheduled_for or post.scheduled_for
        if (publish_now and scheduled_for is not None) or (due_at is None and not publish_now):
            return "validation_error"
        if due_at is not None and due_at <= self.now:
            return "past_schedule_time"
        order = list(post.destinations) if accounts is None else list(accounts)
        if not order:
            return "validation_error"
        if refusal := self._accounts_refusal(post, order):
            return refusal
        post.is_draft, post.submitted_now, post.scheduled_for = False, publish_now, due_at
        post.reschedule(due_at or self.now)
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
            for destination in post.destinations.values():
                if destination.phase == "queued":
                    destination.phase, destination.error_code = "failed", "CANCELLED"
                    destination.next_retry_at = None
        post.version += 1
        return None

    def delete(self, post: ModelPost, version: int | None) -> str | None:
        if refusal := self.access_refusal(post, version):
            return refusal
        if post.has_phase("published"):
            return "post_already_published"
        if post.busy_refusal():
            return "conflict"
        for destination in post.destinations.values():
            destination.is_open = False
        post.is_deleted = True
        post.version += 1
        return None

    def retry(
        self, post: ModelPost, accounts: Sequence[int] | None, *, force: bool
    ) -> tuple[str | None, list[str | None]]:
        """Error of the whole command, and the refusal of each selected destination."""
        if post.is_deleted:
            return "not_found", []
        if accounts is not None and not set(accounts) <= post.destinations.keys():
            return "validation_error", []
        selected = {
            account: destination
            for account, destination in post.destinations.items()
            if accounts is None or account in accounts
        }
        refusals = [
            self._retry_refusal(account, destination, force=force)
            for account, destination in selected.items()
        ]
        for destination, refusal in zip(selected.values(), refusals, strict=True):
            if refusal is None:
                destination.phase, destination.error_code = "queued", None
                destination.is_open = True
                destination.counted_attempts, destination.round_started_at = 0, self.now
        post.version += None in refusals
        return None, refusals

    def _retry_refusal(
        self, account: int, destination: ModelDestination, *, force: bool
    ) -> str | None:
        reasons = {"published": "already_published", "queued": "not_failed"}
        if destination.is_busy:
            return "in_flight"
        if destination.phase in reasons:
            return reasons[destination.phase]
        if destination.phase == "unknown" and not force:
            return "outcome_unknown"
        return None if self.accounts[account] else "account_needs_reconnection"

    def _accounts_refusal(self, post: ModelPost, accounts: Sequence[int]) -> str | None:
        if any(
            account not in accounts and not destination.never_attempted
            for account, destination in post.destinations.items()
        ):
            return "conflict"
        allowed = self.accounts.keys() | post.destinations.keys()
        return None if set(accounts) <= allowed else "validation_error"

    def _set_destinations(self, post: ModelPost, order: Sequence[int]) -> None:
        due_at = None if post.is_draft else max(post.scheduled_for or self.now, self.now)
        post.destinations = {
            account: post.destinations.get(account) or ModelDestination(due_at) for account in order
        }
