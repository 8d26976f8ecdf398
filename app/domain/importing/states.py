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
from app.domain.importing.records import DestinationRecord

MISSING_REASON_MESSAGE = "The service that this was imported from gave no reason."

_RANKS = {
    DestinationStatus.QUEUED: 0,
    DestinationStatus.PUBLISHING: 1,
    DestinationStatus.FAILED: 3,
    DestinationStatus.PUBLISHED: 4,
}
_RANK_BETWEEN_ATTEMPTS = 2


class Recency(Enum):
    """Of a record, against what is known of its post."""

    NEWER = auto()
    SAME = auto()
    """Or unknown."""
    OLDER = auto()


def state_from_record(
    record: DestinationRecord,
    current: DestinationState | None,
    *,
    due_at: datetime,
    learned_at: datetime,
) -> DestinationState:
    """The state as it is told; what is not told of an end that is known already stays as it is known."""
    again = current if current is not None and _has_same_result(record, current) else None
    error = _error_message(record, again)
    unfinished = DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=due_at,
        claimable_at=None,
        attempts=record.attempts,
        round_started_at=due_at,
        error=error,
        error_category=None if error is None else ErrorCategory.UNCLASSIFIED,
        error_code=None if error is None else ErrorCategory.UNCLASSIFIED.name,
    )
    match record.status:
        case DestinationStatus.QUEUED:
            return replace(unfinished, next_retry_at=record.next_retry_at)
        case DestinationStatus.PUBLISHING:
            return replace(unfinished, status=record.status)
        case DestinationStatus.FAILED:
            return replace(
                unfinished,
                status=record.status,
                outcome=Outcome.FAILED,
                settled_at=again.settled_at if again else learned_at,
                due_day=due_day(due_at),
            )
        case DestinationStatus.PUBLISHED:
            published_at = record.published_at or (again and again.published_at) or learned_at
            return replace(
                unfinished,
                status=record.status,
                outcome=Outcome.PUBLISHED,
                published_at=published_at,
                platform_post_id=record.platform_post_id
                or (again.platform_post_id if again else None),
                platform_post_url=record.platform_post_url
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


def supersedes(new: DestinationState, current: DestinationState, recency: Recency) -> bool:
    """Whether the new state may follow the known one; the same again may.

    What happened once stays: attempts grow, and a publication is not taken back. Only what is newer tells
    of a retry by hand; else the state at the same count of attempts does not go back either.
    """
    match recency:
        case Recency.NEWER:
            return _progress(new) >= _progress(current)
        case Recency.SAME:
            return (*_progress(new), _rank(new)) >= (*_progress(current), _rank(current))
        case Recency.OLDER:
            return _progress(new) > _progress(current)


def is_equivalent(one: DestinationState, other: DestinationState) -> bool:
    """Whether answers tell the two alike; the rest follows from it, or is known only where it happened."""
    return _comparable_fields(one) == _comparable_fields(other)


def _has_same_result(record: DestinationRecord, current: DestinationState) -> bool:
    return record.status is current.status and (
        record.status is DestinationStatus.PUBLISHED or record.attempts == current.attempts
    )


def _error_message(record: DestinationRecord, previous: DestinationState | None) -> str | None:
    if record.status is DestinationStatus.PUBLISHED:
        return None
    will_be_retried = record.status is DestinationStatus.QUEUED and record.next_retry_at is not None
    if record.status is DestinationStatus.FAILED or will_be_retried:
        return record.error or (previous and previous.error) or MISSING_REASON_MESSAGE
    return record.error


def _progress(state: DestinationState) -> tuple[bool, int]:
    return state.status is DestinationStatus.PUBLISHED, state.attempts


def _rank(state: DestinationState) -> int:
    """What follows what while nobody retries by hand."""
    waits_for_a_retry = state.status is DestinationStatus.QUEUED and state.error is not None
    return _RANK_BETWEEN_ATTEMPTS if waits_for_a_retry else _RANKS[state.status]


def _comparable_fields(state: DestinationState) -> tuple[object, ...]:
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
