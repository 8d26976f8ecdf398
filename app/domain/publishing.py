"""What publishers tell of a destination, and what that makes of it. Who may ask, and storage, are elsewhere.

Each is a state with its history in, and out what is to be stored, or a refusal after which nothing has
changed. A lease is held while its token is in the state. Who has lost it gets LeaseLost, but for a report:
that a post is published is evidence and is kept, whenever it comes; a late failure is only logged.
"""

from dataclasses import dataclass
from datetime import datetime

from app.domain.accounts import HealthReason, blocking_message
from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.diagnosis import OUTCOME_UNKNOWN
from app.domain.endings import (
    History,
    Receipt,
    Recorded,
    RetryRules,
    lease_lost,
    overtaken,
    settle_failed,
    settle_published,
    settle_unknown,
)
from app.domain.errors import Conflict, LeaseLost
from app.domain.ids import NewId
from app.domain.leases import Lease
from app.domain.transitions import released, started, unknown


@dataclass(frozen=True, slots=True)
class Report:
    """What a publisher says of a lease, and how that is logged."""

    lease: Lease
    new_id: NewId
    now: datetime


def require_lease(state: DestinationState, lease: Lease, now: datetime) -> None:
    """LeaseLost unless it is held and has not ended."""
    if not _holds(state, lease) or state.lease_expires_at is None or state.lease_expires_at <= now:
        raise lease_lost()


def start_attempt(
    state: DestinationState,
    history: History,
    report: Report,
    *,
    worker: str | None,
    obstacle: HealthReason | None,
) -> tuple[Recorded, Attempt]:
    """Log that a publisher is about to call the platform; the same attempt if it says so again.

    `obstacle` is why nothing goes out on the account any more: then LeaseLost, and when the lease has
    ended, the destination fails for it.
    """
    require_lease(state, report.lease, report.now)
    running = history.attempt(report.lease.fence)
    if running is not None:
        return Recorded(state=state, receipt=Receipt.REPEATED), running
    if obstacle is not None:
        raise LeaseLost(f"Nothing goes out on this account now. {blocking_message(obstacle)}")
    after, attempt = _started(state, report, worker=worker)
    return Recorded(state=after, attempts=(attempt,)), attempt


def release_claim(state: DestinationState, lease: Lease, now: datetime) -> DestinationState:
    """Conflict once the attempt was started: what came of that has to be reported."""
    require_lease(state, lease, now)
    if state.started_at is not None:
        raise Conflict("The attempt was started. Report what came of it; it cannot be released.")
    return released(state, now)


def lose_lease(state: DestinationState, history: History, now: datetime) -> Recorded | None:
    """What becomes of a lease that has ended: unknown once the attempt was started, else anybody's.

    None where none has ended.
    """
    if state.lease_expires_at is None or state.lease_expires_at > now:
        return None
    if state.started_at is None:
        return Recorded(state=released(state, now))
    running = history.attempt(state.fence)
    return Recorded(
        state=unknown(state, _GONE, now),
        attempts=() if running is None else (running.ended(Outcome.UNKNOWN, _GONE, now),),
    )


def report_published(
    state: DestinationState, history: History, report: Report, where: Publication
) -> Recorded:
    """Published, whoever holds the destination by now; the first such report of a destination counts."""
    lease = report.lease
    if history.is_evident(lease.fence):
        return Recorded(state=state, receipt=Receipt.REPEATED)
    if _holds(state, lease) and state.started_at is None:
        state, attempt = _started(state, report, worker=None)
    else:
        attempt = _attempt_or_late(history, report)
    log = [attempt.ended(Outcome.PUBLISHED, None, report.now)]
    if state.started_at is not None and not _holds(state, lease):
        log += overtaken(state, history, report.now)
    return settle_published(state, where, fence=lease.fence, log=log, now=report.now)


def report_failed(
    state: DestinationState,
    history: History,
    report: Report,
    failure: Failure,
    rules: RetryRules,
) -> Recorded:
    """Failed, for now or for good; of a lease that is lost, it is only logged.

    Conflict if the same lease has reported a publication: that stands.
    """
    lease = report.lease
    if not _holds(state, lease):
        return _late_failure(state, history, report, Outcome.FAILED, failure)
    if state.started_at is None:
        state, attempt = _started(state, report, worker=None)
    else:
        attempt = _attempt_or_late(history, report)
    return settle_failed(state, history, attempt, failure, rules, report.now)


def report_unknown(
    state: DestinationState, history: History, report: Report, failure: Failure
) -> Recorded:
    """Perhaps published, as a publisher knows that got no answer: nobody tries again before a look."""
    if not _holds(state, report.lease):
        return _late_failure(state, history, report, Outcome.UNKNOWN, failure)
    if state.started_at is None:
        raise Conflict("The attempt was not started, so its outcome is known. Release the claim.")
    return settle_unknown(state, _attempt_or_late(history, report), failure, report.now)


_GONE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="The publisher went away before it reported what the platform answered.",
)


def _holds(state: DestinationState, lease: Lease) -> bool:
    return state.lease_token == lease.token


def _started(
    state: DestinationState, report: Report, *, worker: str | None
) -> tuple[DestinationState, Attempt]:
    after = started(state, report.now)
    attempt = Attempt(
        id=report.new_id(),
        kind=AttemptKind.REGULAR,
        number=after.attempts,
        fence=after.fence,
        attempt_key=None,
        worker=worker,
        started_at=report.now,
    )
    return after, attempt


def _attempt_or_late(history: History, report: Report) -> Attempt:
    """The attempt of a lease if it still runs, else a late one: how an attempt ended is written once."""
    known = history.attempt(report.lease.fence)
    if known is not None and known.outcome is Outcome.NONE:
        return known
    return Attempt(
        id=report.new_id(),
        kind=AttemptKind.LATE,
        number=None,
        fence=report.lease.fence,
        attempt_key=None,
        worker=None if known is None else known.worker,
        started_at=report.now if known is None else known.started_at,
    )


def _late_failure(
    state: DestinationState,
    history: History,
    report: Report,
    outcome: Outcome,
    failure: Failure,
) -> Recorded:
    fence = report.lease.fence
    if history.is_evident(fence):
        raise Conflict("This lease has reported that the post is published; that stands.")
    if history.attempt(fence) is None:
        raise lease_lost()
    if history.tells(fence, outcome):
        return Recorded(state=state, receipt=Receipt.REPEATED)
    late = _attempt_or_late(history, report).ended(outcome, failure, report.now)
    return Recorded(state=state, receipt=Receipt.LATE, attempts=(late,))
