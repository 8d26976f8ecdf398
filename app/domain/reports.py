"""Reports by lease holders: start, release, and the outcome of an attempt.

Each function takes a state and its history and returns the transition to store, or raises an error.
A lease is held while its token is in the state. LeaseLost is raised once the lease is lost, except for
reports: a late publication is evidence and is stored, a late failure is only logged.
"""

from dataclasses import dataclass
from datetime import datetime

from app.domain.accounts import HealthReason, blocking_message
from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.diagnosis import OUTCOME_UNKNOWN
from app.domain.errors import Conflict, LeaseLost
from app.domain.ids import IdFactory
from app.domain.leases import Lease
from app.domain.settlement import (
    History,
    Receipt,
    RetryDecider,
    Transition,
    end_superseded_attempts,
    lease_lost_error,
    settle_failed,
    settle_published,
    settle_repeated_publication,
    settle_unknown,
)
from app.domain.transitions import released, started, unknown


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Lease and time of a report, and the source of ids for its log entries."""

    lease: Lease
    new_id: IdFactory
    now: datetime


def require_lease(state: DestinationState, lease: Lease, now: datetime) -> None:
    """Raise LeaseLost unless the lease is held and has not expired."""
    if (
        not _holds_lease(state, lease)
        or state.lease_expires_at is None
        or state.lease_expires_at <= now
    ):
        raise lease_lost_error()


def start_attempt(
    state: DestinationState,
    history: History,
    context: ReportContext,
    *,
    worker: str | None,
    blocking_reason: HealthReason | None,
) -> tuple[Transition, Attempt]:
    """Log that a publisher will call the platform; a repeated call returns the same attempt.

    Raises LeaseLost if the lease is lost, or if the account cannot publish for a `blocking_reason`. In
    that case the destination fails for the same reason when the lease has expired.
    """
    require_lease(state, context.lease, context.now)
    running = history.attempt_by_fence(context.lease.fence)
    if running is not None:
        return Transition(state=state, receipt=Receipt.REPEATED), running
    if blocking_reason is not None:
        raise LeaseLost(f"This account cannot publish now. {blocking_message(blocking_reason)}")
    after, attempt = _log_start(state, context, kind=AttemptKind.REGULAR, worker=worker)
    return Transition(state=after, attempts=(attempt,)), attempt


def release_claim(state: DestinationState, _history: History, context: ReportContext) -> Transition:
    """End a lease whose attempt was not started; raises Conflict if it was."""
    require_lease(state, context.lease, context.now)
    if state.started_at is not None:
        raise Conflict("The attempt was started, so it cannot be released. Report its outcome.")
    return Transition(state=released(state, context.now))


def expire_lease(state: DestinationState, history: History, now: datetime) -> Transition | None:
    """Settle an expired lease: unknown if the attempt was started, otherwise claimable again.

    Returns None if no lease has expired.
    """
    if state.lease_expires_at is None or state.lease_expires_at > now:
        return None
    if state.started_at is None:
        return Transition(state=released(state, now))
    running = history.attempt_by_fence(state.fence)
    return Transition(
        state=unknown(state, _LEASE_EXPIRED_FAILURE, now),
        attempts=()
        if running is None
        else (running.ended(Outcome.UNKNOWN, _LEASE_EXPIRED_FAILURE, now),),
    )


def report_published(
    state: DestinationState,
    history: History,
    context: ReportContext,
    publication: Publication,
) -> Transition:
    """Report a publication, with or without holding the lease; the first one of a destination counts.

    A publication by a claim that was not started is accepted, because the post is out, and logged as
    UNSTARTED. Further reports of a claim complete the first one, or are duplicates.
    """
    lease = context.lease
    known = history.evidence_by_fence(lease.fence)
    if known is not None:
        return settle_repeated_publication(
            state, history, known, publication, new_id=context.new_id, now=context.now
        )
    if _holds_lease(state, lease) and state.started_at is None:
        state, attempt = _log_start(state, context, kind=AttemptKind.UNSTARTED, worker=None)
    else:
        attempt = _attempt_to_end(history, context)
    ended_attempts = [attempt.ended(Outcome.PUBLISHED, None, context.now)]
    if state.started_at is not None and not _holds_lease(state, lease):
        ended_attempts += end_superseded_attempts(state, history, context.now)
    return settle_published(
        state, publication, fence=lease.fence, ended_attempts=ended_attempts, now=context.now
    )


def report_failed(
    state: DestinationState,
    history: History,
    context: ReportContext,
    failure: Failure,
    retry_decider: RetryDecider,
) -> Transition:
    """Report a failure, which is retried or final; with a lost lease, it is only logged.

    Raises Conflict if the same lease has reported a publication, which is final.
    """
    lease = context.lease
    if not _holds_lease(state, lease):
        return _record_late_failure(state, history, context, Outcome.FAILED, failure)
    if state.started_at is None:
        state, attempt = _log_start(state, context, kind=AttemptKind.REGULAR, worker=None)
    else:
        attempt = _attempt_to_end(history, context)
    return settle_failed(state, history, attempt, failure, retry_decider, context.now)


def report_unknown(
    state: DestinationState, history: History, context: ReportContext, failure: Failure
) -> Transition:
    """Report an unknown outcome: no response came, so a verification precedes any retry."""
    if not _holds_lease(state, context.lease):
        return _record_late_failure(state, history, context, Outcome.UNKNOWN, failure)
    if state.started_at is None:
        raise Conflict("The attempt was not started, so its outcome is known. Release the claim.")
    return settle_unknown(state, _attempt_to_end(history, context), failure, context.now)


_LEASE_EXPIRED_FAILURE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="The publisher did not report the platform's response in time.",
)


def _holds_lease(state: DestinationState, lease: Lease) -> bool:
    return state.lease_token == lease.token


def _log_start(
    state: DestinationState,
    context: ReportContext,
    *,
    kind: AttemptKind,
    worker: str | None,
) -> tuple[DestinationState, Attempt]:
    after = started(state, context.now)
    attempt = Attempt(
        id=context.new_id(),
        kind=kind,
        number=after.attempts,
        fence=after.fence,
        worker=worker,
        started_at=context.now,
    )
    return after, attempt


def _attempt_to_end(history: History, context: ReportContext) -> Attempt:
    """Return the running attempt of a lease, else a new LATE or UNSTARTED one: an attempt ends only once."""
    stored = history.attempt_by_fence(context.lease.fence)
    if stored is not None and stored.outcome is Outcome.NONE:
        return stored
    return Attempt(
        id=context.new_id(),
        kind=AttemptKind.UNSTARTED if stored is None else AttemptKind.LATE,
        fence=context.lease.fence,
        worker=None if stored is None else stored.worker,
        started_at=context.now if stored is None else stored.started_at,
    )


def _record_late_failure(
    state: DestinationState,
    history: History,
    context: ReportContext,
    outcome: Outcome,
    failure: Failure,
) -> Transition:
    fence = context.lease.fence
    if history.evidence_by_fence(fence) is not None:
        raise Conflict("This lease has already reported the post as published, which is final.")
    if history.attempt_by_fence(fence) is None:
        raise lease_lost_error()
    if history.has_report(fence, outcome):
        return Transition(state=state, receipt=Receipt.REPEATED)
    late = _attempt_to_end(history, context).ended(outcome, failure, context.now)
    return Transition(state=state, receipt=Receipt.LATE, attempts=(late,))
