"""What becomes of a destination by each command: a state in, a state out. Whether it may is asked before."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from app.domain.attempts import Failure, Publication
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.diagnosis import CANCELLED

DRAFT = DestinationState(
    status=DestinationStatus.QUEUED, due_at=None, claimable_at=None, round_started_at=None
)
"""Of a post that nobody has submitted."""


def queued(due_at: datetime) -> DestinationState:
    """Submitted: somebody may claim it from its due time on."""
    return replace(DRAFT, due_at=due_at, claimable_at=due_at, round_started_at=due_at)


def rescheduled(state: DestinationState, due_at: datetime | None) -> DestinationState:
    """One that was never attempted, due then, whatever it waits for; None makes it a draft's."""
    return replace(DRAFT if due_at is None else queued(due_at), fence=state.fence)


def unclaimable(state: DestinationState) -> DestinationState:
    """The same, but nobody may claim it any more: its post is deleted."""
    return replace(state, claimable_at=None)


def claimed(state: DestinationState, token: UUID, expires_at: datetime) -> DestinationState:
    """Held by a publisher that has not called the platform yet; anybody's from the lease's end on.

    So may one be whose lease has ended before it was started.
    """
    return replace(
        state,
        status=DestinationStatus.PUBLISHING,
        claimable_at=expires_at,
        next_retry_at=None,
        fence=state.fence + 1,
        lease_token=token,
        lease_expires_at=expires_at,
    )


def extended(state: DestinationState, expires_at: datetime) -> DestinationState:
    """A held one, for longer or shorter."""
    claimable_at = expires_at if state.started_at is None else None
    return replace(state, claimable_at=claimable_at, lease_expires_at=expires_at)


def started(state: DestinationState, now: datetime) -> DestinationState:
    """A held one whose publisher is about to call the platform: nobody else may, whatever becomes of it."""
    return replace(
        state,
        claimable_at=None,
        started_at=now,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


def released(state: DestinationState, now: datetime) -> DestinationState:
    """A held one that nobody called the platform for. Where a retry was due, it is still."""
    retry_at = now if state.error is not None else None
    return replace(
        _clear_lease(state), claimable_at=retry_at or state.due_at, next_retry_at=retry_at
    )


def published(state: DestinationState, publication: Publication, now: datetime) -> DestinationState:
    """On its platform, whatever was known before; it is no draft's."""
    if state.due_at is None:
        raise ValueError("a draft cannot be published")
    return replace(
        _clear_lease(state),
        status=DestinationStatus.PUBLISHED,
        outcome=Outcome.PUBLISHED,
        next_retry_at=None,
        published_at=publication.published_at,
        platform_post_id=publication.platform_post_id,
        platform_post_url=publication.platform_post_url,
        error=None,
        error_category=None,
        error_code=None,
        settled_at=now,
        due_day=due_day(state.due_at),
        lateness_ms=lateness_ms(state.due_at, publication.published_at),
    )


def retry_scheduled(
    state: DestinationState, failure: Failure, retry_at: datetime
) -> DestinationState:
    """Failed for now: it is tried again by itself."""
    return replace(
        _clear_lease(state),
        claimable_at=retry_at,
        next_retry_at=retry_at,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
    )


def failed(state: DestinationState, failure: Failure, now: datetime) -> DestinationState:
    """Failed until somebody retries it."""
    if state.due_at is None:
        raise ValueError("a draft cannot fail")
    return replace(
        _clear_lease(state),
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        next_retry_at=None,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
        settled_at=now,
        due_day=due_day(state.due_at),
    )


def unknown(state: DestinationState, failure: Failure, now: datetime) -> DestinationState:
    """Perhaps published: it is not tried again before somebody has looked, which may be at once."""
    return replace(failed(state, failure, now), outcome=Outcome.UNKNOWN, verifiable_at=now)


def verification_claimed(
    state: DestinationState, token: UUID, expires_at: datetime
) -> DestinationState:
    """An unknown one, at which somebody looks until then."""
    return replace(state, verifiable_at=expires_at, verification_token=token)


def verification_inconclusive(state: DestinationState, verifiable_at: datetime) -> DestinationState:
    """An unknown one of which it could not be said; from then on somebody may look again."""
    return replace(state, verifiable_at=verifiable_at, verification_token=None)


def cancelled(state: DestinationState, now: datetime) -> DestinationState:
    """A queued one that somebody took back before it went out, or between two attempts."""
    failure = Failure(
        category=ErrorCategory.PERMANENT,
        code=CANCELLED,
        message="Somebody cancelled it before it went out.",
    )
    return failed(state, failure, now)


def auth_failed(state: DestinationState, message: str, now: datetime) -> DestinationState:
    """One that may be claimed, while its account cannot post; the message says why it cannot."""
    category = ErrorCategory.AUTH
    return failed(state, Failure(category=category, code=category.name, message=message), now)


def retried(state: DestinationState, now: datetime) -> DestinationState:
    """A failed one in a new round of attempts; their number goes on, their limit begins anew."""
    return replace(
        _clear_lease(state),
        claimable_at=state.due_at,
        round_attempts=0,
        round_started_at=now,
        error=None,
        error_category=None,
        error_code=None,
    )


def _clear_lease(state: DestinationState) -> DestinationState:
    """Queued, without a lease, a verification or an outcome; nobody may claim it yet."""
    return replace(
        state,
        status=DestinationStatus.QUEUED,
        outcome=Outcome.NONE,
        claimable_at=None,
        lease_token=None,
        lease_expires_at=None,
        started_at=None,
        settled_at=None,
        verifiable_at=None,
        verification_token=None,
        due_day=None,
    )
