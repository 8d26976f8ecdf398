"""What a record makes of the state of one destination, and which of two states tells more. No posts."""

from dataclasses import replace
from datetime import datetime
from enum import Enum, auto

from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.imports.records import DestinationRecord

NO_REASON = "The service that this was imported from gave no reason."

_RANKS = {
    DestinationStatus.QUEUED: 0,
    DestinationStatus.PUBLISHING: 1,
    DestinationStatus.FAILED: 3,
    DestinationStatus.PUBLISHED: 4,
}
_RANK_BETWEEN_ATTEMPTS = 2


class Age(Enum):
    """Of a record, against what is known of its post."""

    NEWER = auto()
    SAME = auto()
    """Or unknown."""
    OLDER = auto()


def told_state(
    told: DestinationRecord,
    known: DestinationState | None,
    *,
    due_at: datetime,
    learned_at: datetime,
) -> DestinationState:
    """The state as it is told; what is not told of an end that is known already stays as it is known."""
    again = known if known is not None and _is_same_end(told, known) else None
    error = _error(told, again)
    unfinished = DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=due_at,
        claimable_at=None,
        attempts=told.attempts,
        round_started_at=due_at,
        error=error,
        error_category=None if error is None else ErrorCategory.UNCLASSIFIED,
        error_code=None if error is None else ErrorCategory.UNCLASSIFIED.name,
    )
    match told.status:
        case DestinationStatus.QUEUED:
            return replace(unfinished, next_retry_at=told.next_retry_at)
        case DestinationStatus.PUBLISHING:
            return replace(unfinished, status=told.status)
        case DestinationStatus.FAILED:
            return replace(
                unfinished,
                status=told.status,
                outcome=Outcome.FAILED,
                settled_at=again.settled_at if again else learned_at,
                due_day=due_day(due_at),
            )
        case DestinationStatus.PUBLISHED:
            published_at = told.published_at or (again and again.published_at) or learned_at
            return replace(
                unfinished,
                status=told.status,
                outcome=Outcome.PUBLISHED,
                published_at=published_at,
                platform_post_id=told.platform_post_id
                or (again.platform_post_id if again else None),
                platform_post_url=told.platform_post_url
                or (again.platform_post_url if again else None),
                settled_at=published_at,
                due_day=due_day(due_at),
                lateness_ms=lateness_ms(due_at, published_at),
            )


def with_due_at(state: DestinationState, due_at: datetime | None) -> DestinationState:
    """The same with another due time, and so as an import keeps it: without claims and leases."""
    if state.due_at == due_at:
        return state
    return replace(
        state,
        due_at=due_at,
        claimable_at=None,
        round_started_at=due_at,
        lease_token=None,
        lease_expires_at=None,
        started_at=None,
        due_day=due_day(due_at) if due_at and state.status.is_final else None,
        lateness_ms=lateness_ms(due_at, state.published_at)
        if due_at and state.published_at
        else None,
    )


def tells_more(new: DestinationState, known: DestinationState, age: Age) -> bool:
    """Whether the new state may follow the known one; the same again may.

    What happened once stays: attempts grow, and a publication is not taken back. Only what is newer tells
    of a retry by hand; else the state at the same count of attempts does not go back either.
    """
    match age:
        case Age.NEWER:
            return _happened(new) >= _happened(known)
        case Age.SAME:
            return (*_happened(new), _rank(new)) >= (*_happened(known), _rank(known))
        case Age.OLDER:
            return _happened(new) > _happened(known)


def says_the_same(one: DestinationState, other: DestinationState) -> bool:
    """Whether answers tell the two alike; the rest follows from it, or is known only where it happened."""
    return _told(one) == _told(other)


def _is_same_end(told: DestinationRecord, known: DestinationState) -> bool:
    return told.status is known.status and (
        told.status is DestinationStatus.PUBLISHED or told.attempts == known.attempts
    )


def _error(told: DestinationRecord, again: DestinationState | None) -> str | None:
    if told.status is DestinationStatus.PUBLISHED:
        return None
    will_be_retried = told.status is DestinationStatus.QUEUED and told.next_retry_at is not None
    if told.status is DestinationStatus.FAILED or will_be_retried:
        return told.error or (again and again.error) or NO_REASON
    return told.error


def _happened(state: DestinationState) -> tuple[bool, int]:
    return state.status is DestinationStatus.PUBLISHED, state.attempts


def _rank(state: DestinationState) -> int:
    """What follows what while nobody retries by hand."""
    waits_for_a_retry = state.status is DestinationStatus.QUEUED and state.error is not None
    return _RANK_BETWEEN_ATTEMPTS if waits_for_a_retry else _RANKS[state.status]


def _told(state: DestinationState) -> tuple[object, ...]:
    return (
        state.status,
        state.due_at,
        state.published_at,
        state.platform_post_id,
        state.platform_post_url,
        state.error,
        state.attempts,
        state.next_retry_at,
    )
