"""State transitions of a destination: each takes a state and returns the next one.

Preconditions are checked by the callers: `reports`, `verification`, the commands and the services.
"""

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
from app.domain.diagnosis import CANCELLED, INVALID_SETTING

DRAFT = DestinationState(
    status=DestinationStatus.QUEUED, due_at=None, claimable_at=None, round_started_at=None
)
"""State of a destination whose post is a draft."""


def queued(due_at: datetime) -> DestinationState:
    """Return the state of a submitted destination, claimable from its due time on."""
    return replace(DRAFT, due_at=due_at, claimable_at=due_at, round_started_at=due_at)


def rescheduled(state: DestinationState, due_at: datetime | None) -> DestinationState:
    """Change the due time of a destination without attempts; None makes it a draft's."""
    return replace(DRAFT if due_at is None else queued(due_at), fence=state.fence)


def unclaimable(state: DestinationState) -> DestinationState:
    """Forbid claims, because the post is deleted."""
    return replace(state, claimable_at=None, content_error=None)


def claimed(state: DestinationState, token: UUID, expires_at: datetime) -> DestinationState:
    """Give a lease to a publisher that has not called the platform yet.

    The destination is claimable again when the lease expires without a started attempt.
    """
    return replace(
        state,
        status=DestinationStatus.PUBLISHING,
        claimable_at=expires_at,
        next_retry_at=None,
        fence=state.fence + 1,
        lease_token=token,
        lease_expires_at=expires_at,
        content_error=None,
    )


def extended(state: DestinationState, expires_at: datetime) -> DestinationState:
    """Change the expiry of the lease."""
    claimable_at = expires_at if state.started_at is None else None
    return replace(state, claimable_at=claimable_at, lease_expires_at=expires_at)


def started(state: DestinationState, now: datetime) -> DestinationState:
    """Start an attempt: the lease holder will call the platform, so no one else may claim it."""
    return replace(
        state,
        claimable_at=None,
        started_at=now,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


def released(state: DestinationState, now: datetime) -> DestinationState:
    """End a lease without a call to the platform. A retry that was due stays due."""
    retry_at = now if state.error is not None else None
    return replace(
        _reset_to_queued(state),
        claimable_at=retry_at or _start_of_round(state),
        next_retry_at=retry_at,
    )


def published(state: DestinationState, publication: Publication, now: datetime) -> DestinationState:
    """Settle any destination, except a draft's, as published."""
    if state.due_at is None:
        raise ValueError("a draft cannot be published")
    return replace(
        _reset_to_queued(state),
        status=DestinationStatus.PUBLISHED,
        outcome=Outcome.PUBLISHED,
        next_retry_at=None,
        published_at=publication.published_at,
        platform_post_id=publication.platform_post_id,
        platform_post_url=publication.platform_post_url,
        error=None,
        error_category=None,
        error_code=None,
        not_sent=False,
        settled_at=now,
        due_day=due_day(state.due_at),
        lateness_ms=lateness_ms(state.due_at, publication.published_at),
    )


def retry_scheduled(
    state: DestinationState, failure: Failure, retry_at: datetime
) -> DestinationState:
    """Record a failure that is retried automatically."""
    return replace(
        _reset_to_queued(state),
        claimable_at=retry_at,
        next_retry_at=retry_at,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
        not_sent=failure.not_sent,
    )


def failed(state: DestinationState, failure: Failure, now: datetime) -> DestinationState:
    """Settle as failed until a manual retry."""
    if state.due_at is None:
        raise ValueError("a draft cannot fail")
    return replace(
        _reset_to_queued(state),
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        next_retry_at=None,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
        not_sent=failure.not_sent,
        settled_at=now,
        due_day=due_day(state.due_at),
    )


def unknown(state: DestinationState, failure: Failure, now: datetime) -> DestinationState:
    """Settle as unknown: no retry before a verification, which may be claimed immediately."""
    return replace(failed(state, failure, now), outcome=Outcome.UNKNOWN, verifiable_at=now)


def verification_claimed(
    state: DestinationState, token: UUID, expires_at: datetime
) -> DestinationState:
    """Give an unknown destination to a verifier until `expires_at`."""
    return replace(state, verifiable_at=expires_at, verification_token=token)


def verification_inconclusive(state: DestinationState, verifiable_at: datetime) -> DestinationState:
    """Leave the outcome unknown; it may be verified again from `verifiable_at` on."""
    return replace(state, verifiable_at=verifiable_at, verification_token=None)


def cancelled(state: DestinationState, now: datetime) -> DestinationState:
    """Fail a queued destination because its post was cancelled, before or between attempts."""
    failure = Failure(
        category=ErrorCategory.PERMANENT,
        code=CANCELLED,
        message="The post was cancelled before it was published.",
    )
    return failed(state, failure, now)


def auth_failed(state: DestinationState, message: str, now: datetime) -> DestinationState:
    """Fail a claimable destination whose account cannot post; the message is the reason."""
    category = ErrorCategory.AUTH
    return failed(state, Failure(category=category, code=category.name, message=message), now)


def content_rejected(state: DestinationState, message: str, now: datetime) -> DestinationState:
    """Fail a claimable destination whose content does not fit its platform; the message is the reason."""
    failure = Failure(
        category=ErrorCategory.CONTENT_REJECTED, code=INVALID_SETTING, message=message
    )
    return failed(state, failure, now)


def content_checked(state: DestinationState, error: str | None) -> DestinationState:
    """Record why the content of a destination does not fit its platform; only one that waits has a reason."""
    is_waiting = state.status is DestinationStatus.QUEUED and state.claimable_at is not None
    recorded = error if is_waiting else None
    return state if state.content_error == recorded else replace(state, content_error=recorded)


def retried(state: DestinationState, now: datetime) -> DestinationState:
    """Queue a failed or held destination for a new round: `attempts` continues, the limit restarts.

    It is claimable from now on, because an earlier time may be that of held destinations. Retries of unknown
    outcomes are counted, because only a forced retry gets here with one.
    """
    is_forced = state.outcome is Outcome.UNKNOWN
    state = replace(_reset_to_queued(state), round_started_at=now)
    return replace(
        state,
        claimable_at=_start_of_round(state),
        next_retry_at=None,
        round_attempts=0,
        forced_rounds=state.forced_rounds + is_forced,
        error=None,
        error_category=None,
        error_code=None,
        not_sent=False,
    )


def _start_of_round(state: DestinationState) -> datetime | None:
    """Return the due time, or the time of the last manual retry if that is later; None for a draft."""
    if state.due_at is None or state.round_started_at is None:
        return None
    return max(state.due_at, state.round_started_at)


def _reset_to_queued(state: DestinationState) -> DestinationState:
    """Return to queued, without lease, verification, outcome and claimable time."""
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
        content_error=None,
    )
