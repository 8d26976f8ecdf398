"""What becomes of a destination by each command: a state in, a state out. Whether it may is asked before."""

from dataclasses import replace
from datetime import datetime

from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    due_day,
)
from app.domain.diagnosis import CANCELLED

DRAFT = DestinationState(
    status=DestinationStatus.QUEUED, due_at=None, claimable_at=None, round_started_at=None
)
"""Of a post that nobody has submitted."""


def queued(due_at: datetime) -> DestinationState:
    """Submitted: somebody may claim it from its due time on."""
    return replace(DRAFT, due_at=due_at, claimable_at=due_at, round_started_at=due_at)


def planned(state: DestinationState, due_at: datetime | None) -> DestinationState:
    """One that was never attempted, due then, whatever it waits for; None makes it a draft's."""
    return replace(DRAFT if due_at is None else queued(due_at), fence=state.fence)


def suspended(state: DestinationState) -> DestinationState:
    """The same, but nobody may claim it any more: its post is deleted."""
    return replace(state, claimable_at=None)


def cancelled(state: DestinationState, now: datetime) -> DestinationState:
    """A queued one that somebody took back before it went out, or between two attempts."""
    return _failed(
        state,
        now,
        error="Somebody cancelled it before it went out.",
        category=ErrorCategory.PERMANENT,
        code=CANCELLED,
    )


def without_access(state: DestinationState, message: str, now: datetime) -> DestinationState:
    """A queued one that fell due while its account could not post; the message says why it could not."""
    return _failed(
        state, now, error=message, category=ErrorCategory.AUTH, code=ErrorCategory.AUTH.name
    )


def retried(state: DestinationState, now: datetime) -> DestinationState:
    """A failed one in a new round of attempts; their number goes on, their limit begins anew."""
    return replace(
        state,
        status=DestinationStatus.QUEUED,
        outcome=Outcome.NONE,
        claimable_at=state.due_at,
        round_attempts=0,
        round_started_at=now,
        error=None,
        error_category=None,
        error_code=None,
        settled_at=None,
        verifiable_at=None,
        verification_token=None,
        due_day=None,
    )


def _failed(
    state: DestinationState,
    now: datetime,
    *,
    error: str,
    category: ErrorCategory,
    code: str,
) -> DestinationState:
    if state.due_at is None:
        raise ValueError("a draft cannot fail")
    return replace(
        state,
        status=DestinationStatus.FAILED,
        outcome=Outcome.FAILED,
        claimable_at=None,
        next_retry_at=None,
        error=error,
        error_category=category,
        error_code=code,
        settled_at=now,
        due_day=due_day(state.due_at),
    )
