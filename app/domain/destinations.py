"""Destinations (one post on one account): vocabulary, state and the invariants of the state.

queued ──claim──▶ publishing ──report──▶ published        outcome PUBLISHED
  ▲                  │  └──────report──▶ failed           outcome FAILED
  │                  └───lease lost after the start──▶ failed   outcome UNKNOWN
  └── an automatic retry waits as queued with next_retry_at set

From `verifiable_at` on, a client may claim the verification of an UNKNOWN outcome and settle it.

Terms:
- due: the planned time of publication, `due_at`, has passed.
- lease: exclusive right to a destination for a limited time, identified by its token.
- fence: counter of claims and external attempts. A report with an older fence is late.
- outcome: result on the platform, as far as it is known. To settle a destination is to record it.
- evidence: report that the post is published. The first one counts, any further one is a duplicate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Self
from uuid import UUID

from app.domain.accounts import MAX_RECONNECTION_WAIT, AccountPublisher, ReconnectionState
from app.domain.ids import AccountId, DestinationId

OVERDUE_AFTER = timedelta(minutes=5)
"""Time that a due destination may wait for a publisher before it is overdue."""

MAX_DUE, MAX_OVERDUE = 10_000, 1_000
"""Numbers up to which destinations of all workspaces are counted, because counting takes time."""

IN_FLIGHT_POLL_INTERVAL = timedelta(seconds=2)
MAX_POLL_INTERVAL = timedelta(hours=1)


class DestinationStatus(StrEnum):
    QUEUED = "queued"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """True if the status stays until a manual retry or a verification."""
        return self in (DestinationStatus.PUBLISHED, DestinationStatus.FAILED)


class Outcome(StrEnum):
    """Result on the platform, as far as it is known. UNKNOWN: the post may or may not be published there."""

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
"""Outcomes that each status allows."""


class ErrorCategory(StrEnum):
    """Kind of a failure, which decides whether an automatic retry follows."""

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
"""Failures without an automatic retry: a person has to change something first."""

TEMPORARY_CATEGORIES = (ErrorCategory.TRANSIENT, ErrorCategory.RATE_LIMITED)
"""Failures after which the same request may succeed later."""

NOT_SENT_CATEGORIES = (*TEMPORARY_CATEGORIES, ErrorCategory.UNCLASSIFIED)
"""Failures that are retried, and may have happened before the post was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationState:
    """Mutable part of a destination. Creating an impossible combination raises ValueError."""

    status: DestinationStatus
    outcome: Outcome = Outcome.NONE
    due_at: datetime | None
    """Planned time of publication; None while the post is a draft."""
    claimable_at: datetime | None
    """Time from which a publisher may claim the destination; None if none may."""
    attempts: int = 0
    """Number of started attempts, in all rounds."""
    round_attempts: int = 0
    """Attempts of the current round that count towards its limit.

    A round is a series of attempts that share the limits of a retry policy. It starts at the due time, and
    again at a manual retry. Failures whose retry policy does not count attempts, such as rate limits, are
    subtracted.
    """
    round_started_at: datetime | None
    """Due time, or time of the last manual retry; None for a draft."""
    forced_rounds: int = 0
    """Number of rounds that a manual retry of an unknown outcome began: each may publish the post again."""
    next_retry_at: datetime | None = None
    fence: int = 0
    """Number of claims and external attempts. A report with an older fence has lost its lease."""
    lease_token: UUID | None = None
    lease_expires_at: datetime | None = None
    started_at: datetime | None = None
    """Time at which the holder of the lease announced its call to the platform."""
    published_at: datetime | None = None
    platform_post_id: str | None = None
    platform_post_url: str | None = None
    error: str | None = None
    error_category: ErrorCategory | None = None
    error_code: str | None = None
    not_sent: bool = False
    """True if the failure that `error` describes certainly came before the post was sent."""
    settled_at: datetime | None = None
    """Time at which this service recorded the outcome; a manual retry clears both."""
    verifiable_at: datetime | None = None
    """Time from which an unknown outcome may be verified, or expiry of the running verification."""
    verification_token: UUID | None = None
    """Lease of the running verification."""
    due_day: date | None = None
    """UTC day of the due time; set with a final outcome."""
    lateness_ms: int | None = None
    """published_at − due_at; negative when a mirror reports an early publication."""
    content_error: str | None = None
    """Reason for which the next claim fails a waiting destination: its content does not fit its platform."""

    @property
    def is_unattempted(self) -> bool:
        """True if the destination is queued and no attempt was made."""
        return self.status is DestinationStatus.QUEUED and self.attempts == 0 and self.error is None

    @property
    def may_have_evidence(self) -> bool:
        """True if published: evidence is stored with the publication, and the destination stays published."""
        return self.status is DestinationStatus.PUBLISHED

    def __post_init__(self) -> None:
        if names := list(broken_invariants(self)):
            raise ValueError(f"impossible destination state: {', '.join(names)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One post on one account; part of its post."""

    id: DestinationId
    account_id: AccountId
    platform: str
    publisher: AccountPublisher
    """That of the account."""
    is_mirrored: bool
    """True in a mirror: the mirrored service publishes the post, and no one here may claim it."""
    position: int
    """Index among the destinations of the post."""
    state: DestinationState
    created_at: datetime
    updated_at: datetime

    def with_state(self, state: DestinationState, now: datetime) -> Self:
        """Return the destination in another state; itself if the state is the same."""
        return self if state == self.state else replace(self, state=state, updated_at=now)


def broken_invariants(state: DestinationState) -> Iterator[str]:
    """Yield the names of violated invariants. The database has a CHECK of the same name for each."""
    queued = state.status is DestinationStatus.QUEUED
    publishing = state.status is DestinationStatus.PUBLISHING
    published = state.status is DestinationStatus.PUBLISHED
    failed = state.status is DestinationStatus.FAILED
    leased = state.lease_token is not None
    final = state.outcome is not Outcome.NONE
    unknown = state.outcome is Outcome.UNKNOWN

    holds_by_name = {
        "outcome_published": published == (state.outcome is Outcome.PUBLISHED),
        "outcome_failed": failed == (state.outcome in (Outcome.FAILED, Outcome.UNKNOWN)),
        "published_at": published == (state.published_at is not None),
        "platform_post_id": published or state.platform_post_id is None,
        "platform_post_url": published or state.platform_post_url is None,
        "error_failed": not failed or state.error is not None,
        "error_published": not published or state.error is None,
        "error_category": (state.error is None) == (state.error_category is None),
        "error_code": (state.error is None) == (state.error_code is None),
        "not_sent": not state.not_sent or state.error_category in NOT_SENT_CATEGORIES,
        "next_retry_at": state.next_retry_at is None or (queued and state.error is not None),
        "round_started_at": (state.due_at is None) == (state.round_started_at is None),
        "attempts": 0 <= state.round_attempts <= state.attempts,
        "forced_rounds": 0 <= state.forced_rounds <= state.attempts,
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
        "content_error": state.content_error is None or (queued and state.claimable_at is not None),
    }
    return (name for name, holds in holds_by_name.items() if not holds)


def _is_claimable_at_valid(state: DestinationState) -> bool:
    if state.status is DestinationStatus.QUEUED:
        if state.claimable_at is None:
            return True
        if state.next_retry_at is not None:
            return state.claimable_at == state.next_retry_at
        # Later after a manual retry.
        return state.due_at is not None and state.claimable_at >= state.due_at
    if state.lease_token is not None and state.started_at is None:
        return state.claimable_at == state.lease_expires_at
    return state.claimable_at is None


def awaits_outcome(
    *,
    settled_at: datetime | None,
    due_at: datetime | None,
    claimable_at: datetime | None,
    lease_expires_at: datetime | None,
    is_mirrored: bool,
) -> bool:
    """Return whether a publisher of this server works on a destination, now or from its due time on.

    In a mirror, the mirrored service does that. False for a draft, after the outcome, and for what was
    imported into a local workspace: it has the last state at its source, and no one may claim it.
    """
    if settled_at is not None or due_at is None:
        return False
    return is_mirrored or claimable_at is not None or lease_expires_at is not None


def lateness_ms(due_at: datetime | None, published_at: datetime | None) -> int | None:
    """Return the whole milliseconds from the due time to the publication; None without either."""
    if due_at is None or published_at is None:
        return None
    return (published_at - due_at) // timedelta(milliseconds=1)


def lateness_seconds(
    *, lateness_ms: int | None, awaits_outcome: bool, due_at: datetime | None, now: datetime
) -> float | None:
    """Return the seconds from the due time to the publication, or to now if it is due and awaited."""
    if lateness_ms is not None:
        return lateness_ms / 1000
    if not awaits_outcome or due_at is None or due_at > now:
        return None
    return (now - due_at).total_seconds()


def due_day(due_at: datetime) -> date:
    """Return the UTC day under which statistics count a destination."""
    return due_at.astimezone(UTC).date()


def is_overdue(
    *,
    claimable_at: datetime | None,
    round_started_at: datetime | None,
    started_at: datetime | None,
    lease_expires_at: datetime | None,
    waited_until: datetime | None,
    account: ReconnectionState | None,
    now: datetime,
) -> bool:
    """Return whether OVERDUE_AFTER has passed since a claim was possible or a started lease expired.

    A manual retry keeps the past due time, so the time also counts from the start of the round, from
    `waited_until`, the end of the last pause of the account and of its open circuit breakers, and from the
    end of its wait for a reconnection.
    """
    limit = now - OVERDUE_AFTER
    if claimable_at is not None:
        if round_started_at is None or (waited_until is not None and waited_until > limit):
            return False
        if account is not None and account.waited_after(limit, claimable_at):
            return False
        return max(claimable_at, round_started_at) <= limit
    return started_at is not None and lease_expires_at is not None and lease_expires_at <= limit


def is_held_on(state: DestinationState, account: ReconnectionState) -> bool:
    """Return whether a queued destination waits for a manual retry on its account."""
    return (
        state.status is DestinationStatus.QUEUED
        and state.claimable_at is not None
        and account.holds(state.claimable_at)
    )


def has_waited_too_long(state: DestinationState, now: datetime) -> bool:
    """Return whether MAX_RECONNECTION_WAIT has passed since the due time, or the last manual retry."""
    return (
        state.round_started_at is not None and reconnection_deadline(state.round_started_at) <= now
    )


def reconnection_deadline(round_started_at: datetime) -> datetime:
    """Return when a destination fails that waits for a reconnection, or after it for a manual retry."""
    return round_started_at + MAX_RECONNECTION_WAIT


class Backlog(NamedTuple):
    """Destinations of all workspaces that wait for a publisher."""

    due: int
    """Destinations that can be claimed, up to MAX_DUE."""
    overdue: int
    """Overdue destinations, up to MAX_OVERDUE."""
    oldest_overdue_since: datetime | None
    """Time since which the oldest overdue destination waits; None if none is overdue."""


def poll_after(
    *,
    status: DestinationStatus,
    awaits_outcome: bool,
    due_at: datetime | None,
    next_retry_at: datetime | None,
    now: datetime,
) -> timedelta | None:
    """Return how long a polling client may wait; None if no outcome is awaited."""
    expected = next_retry_at or due_at
    if not awaits_outcome or expected is None:
        return None
    if status is DestinationStatus.PUBLISHING:
        return IN_FLIGHT_POLL_INTERVAL
    return min(max(expected - now, IN_FLIGHT_POLL_INTERVAL), MAX_POLL_INTERVAL)
