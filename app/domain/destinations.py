"""A destination, one post on one account: its vocabulary and the invariants of its state. No storage.

queued ──claim──▶ publishing ──report──▶ published        outcome PUBLISHED
  ▲                  │  └──────report──▶ failed           outcome FAILED
  │                  └───lease lost after the start──▶ failed   outcome UNKNOWN
  └── an automatic retry waits as queued with next_retry_at set

From verifiable_at on, somebody may look what became of an UNKNOWN one; the answer settles it anew.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from app.domain.ids import AccountId, DestinationId

OVERDUE_AFTER = timedelta(minutes=5)
"""How long a due destination may wait for a publisher before it counts as overdue."""

IN_FLIGHT_POLL_INTERVAL = timedelta(seconds=2)
MAX_POLL_INTERVAL = timedelta(hours=1)


class DestinationStatus(StrEnum):
    QUEUED = "queued"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Final until somebody retries it or a verification answers."""
        return self in (DestinationStatus.PUBLISHED, DestinationStatus.FAILED)


class Outcome(StrEnum):
    """What is known of the platform; UNKNOWN means that it may or may not be published there."""

    NONE = "none"
    PUBLISHED = "published"
    FAILED = "failed"
    UNKNOWN = "unknown"


OUTCOMES_BY_STATUS: Mapping[DestinationStatus, frozenset[Outcome]] = MappingProxyType(
    {
        DestinationStatus.QUEUED: frozenset({Outcome.NONE}),
        DestinationStatus.PUBLISHING: frozenset({Outcome.NONE}),
        DestinationStatus.PUBLISHED: frozenset({Outcome.PUBLISHED}),
        DestinationStatus.FAILED: frozenset({Outcome.FAILED, Outcome.UNKNOWN}),
    }
)
"""What may be known of the platform where a destination stands."""


class ErrorCategory(StrEnum):
    """What kind of failure a publisher met; it decides whether a retry follows."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    AUTH = "auth"
    CONTENT_REJECTED = "content_rejected"
    PERMANENT = "permanent"
    UNCLASSIFIED = "unclassified"


PERMANENT_CATEGORIES = (
    ErrorCategory.AUTH,
    ErrorCategory.CONTENT_REJECTED,
    ErrorCategory.PERMANENT,
)
"""Failures that no automatic retry follows: somebody has to change something first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationState:
    """Everything about a destination that changes; an impossible combination cannot be made."""

    status: DestinationStatus
    outcome: Outcome = Outcome.NONE
    due_at: datetime | None
    """When it should go out; None while the post is a draft."""
    claimable_at: datetime | None
    """From when a worker may claim it; None when nobody may."""
    attempts: int = 0
    """Starts of a call to the platform, over all rounds."""
    round_attempts: int = 0
    """Starts that count towards the limit of attempts, since it fell due or since the last manual retry.

    One that the platform rate-limited is taken off again.
    """
    round_started_at: datetime | None
    next_retry_at: datetime | None = None
    fence: int = 0
    """Counts claims; a report with an older fence has lost its lease."""
    lease_token: UUID | None = None
    lease_expires_at: datetime | None = None
    started_at: datetime | None = None
    """When the holder of the lease was about to call the platform."""
    published_at: datetime | None = None
    platform_post_id: str | None = None
    platform_post_url: str | None = None
    error: str | None = None
    error_category: ErrorCategory | None = None
    error_code: str | None = None
    settled_at: datetime | None = None
    """When this service learned the outcome; None while there is none, so a manual retry clears it."""
    verifiable_at: datetime | None = None
    """From when a verification of an unknown outcome may be claimed, or when the running one expires."""
    verification_token: UUID | None = None
    """The lease of the running verification."""
    due_day: date | None = None
    """The UTC day on which it was due; set with a final outcome."""
    lateness_ms: int | None = None
    """published_at − due_at; negative when a mirror reports an early publication."""

    @property
    def is_unattempted(self) -> bool:
        """Whether nothing was ever tried."""
        return self.status is DestinationStatus.QUEUED and self.attempts == 0 and self.error is None

    def __post_init__(self) -> None:
        if broken := list(broken_invariants(self)):
            raise ValueError(f"impossible destination state: {', '.join(broken)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One post on one account; the post holds it."""

    id: DestinationId
    account_id: AccountId
    platform: str
    position: int
    """Among those of its post, counted from 0."""
    state: DestinationState
    created_at: datetime
    updated_at: datetime


def broken_invariants(state: DestinationState) -> Iterator[str]:
    """The names of the invariants that do not hold; the database has a CHECK of each name."""
    queued = state.status is DestinationStatus.QUEUED
    publishing = state.status is DestinationStatus.PUBLISHING
    published = state.status is DestinationStatus.PUBLISHED
    failed = state.status is DestinationStatus.FAILED
    leased = state.lease_token is not None
    final = state.outcome is not Outcome.NONE
    unknown = state.outcome is Outcome.UNKNOWN

    rules = {
        "outcome_published": published == (state.outcome is Outcome.PUBLISHED),
        "outcome_failed": failed == (state.outcome in (Outcome.FAILED, Outcome.UNKNOWN)),
        "published_at": published == (state.published_at is not None),
        "platform_post_id": published or state.platform_post_id is None,
        "platform_post_url": published or state.platform_post_url is None,
        "error_failed": not failed or state.error is not None,
        "error_published": not published or state.error is None,
        "error_category": (state.error is None) == (state.error_category is None),
        "error_code": (state.error is None) == (state.error_code is None),
        "next_retry_at": state.next_retry_at is None or (queued and state.error is not None),
        "round_started_at": (state.due_at is None) == (state.round_started_at is None),
        "attempts": 0 <= state.round_attempts <= state.attempts,
        "fence": state.fence >= 0,
        "lease": leased == (state.lease_expires_at is not None),
        "lease_publishing": publishing or not leased,
        "started_at": leased or state.started_at is None,
        "claimable_at": _is_claimable_at_valid(state),
        "settled_at": final == (state.settled_at is not None),
        "verifiable_at": unknown == (state.verifiable_at is not None),
        "verification_token": unknown or state.verification_token is None,
        "due_day": final == (state.due_day is not None),
        "lateness_ms": published == (state.lateness_ms is not None),
    }
    return (name for name, holds in rules.items() if not holds)


def _is_claimable_at_valid(state: DestinationState) -> bool:
    if state.status is DestinationStatus.QUEUED:
        return state.claimable_at in (None, state.next_retry_at or state.due_at)
    if state.lease_token is not None and state.started_at is None:
        return state.claimable_at == state.lease_expires_at
    return state.claimable_at is None


def lateness_ms(due_at: datetime, published_at: datetime) -> int:
    """Whole milliseconds between the due time and the publication."""
    return (published_at - due_at) // timedelta(milliseconds=1)


def due_day(due_at: datetime) -> date:
    """The UTC day that statistics count a destination under."""
    return due_at.astimezone(UTC).date()


def is_overdue(
    *,
    claimable_at: datetime | None,
    round_started_at: datetime | None,
    started_at: datetime | None,
    lease_expires_at: datetime | None,
    now: datetime,
) -> bool:
    """Whether a publisher should long have taken it up, or its started attempt has lost its lease.

    A manual retry keeps the due time, which is long past; so the round must have begun long ago too.
    """
    latest = now - OVERDUE_AFTER
    if claimable_at is not None:
        return round_started_at is not None and max(claimable_at, round_started_at) <= latest
    return started_at is not None and lease_expires_at is not None and lease_expires_at <= latest


def poll_after(
    *,
    status: DestinationStatus,
    due_at: datetime | None,
    next_retry_at: datetime | None,
    now: datetime,
) -> timedelta | None:
    """How long a client that polls may wait; None for what does not change by itself: final or draft."""
    if status is DestinationStatus.PUBLISHING:
        return IN_FLIGHT_POLL_INTERVAL
    expected = next_retry_at or due_at
    if status.is_final or expected is None:
        return None
    return min(max(expected - now, IN_FLIGHT_POLL_INTERVAL), MAX_POLL_INTERVAL)
