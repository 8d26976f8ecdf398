"""Attempts of publishers that have their own queue and therefore no lease."""

from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.errors import Conflict, DestinationLeased
from app.domain.ids import IdFactory
from app.domain.settlement import (
    History,
    Receipt,
    RetryDecider,
    Transition,
    end_superseded_attempts,
    settle_failed,
    settle_published,
    settle_repeated_publication,
    settle_unknown,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAttempt:
    """An attempt and its outcome, reported by a publisher with its own queue."""

    attempt_key: str
    worker: str | None
    started_at: datetime
    outcome: Outcome
    details: Publication | Failure


def record_external_attempt(
    state: DestinationState,
    history: History,
    external_attempt: ExternalAttempt,
    retry_decider: RetryDecider,
    *,
    new_id: IdFactory,
    now: datetime,
) -> Transition:
    """Record an attempt of a publisher with its own queue, once per attempt key.

    A failure older than another attempt is only logged. Raises DestinationLeased while another publisher
    holds the destination. Raises Conflict for a draft, for a failure of a final destination, and for a
    key on record with another outcome, unless that was unknown and is now published.
    """
    recorded_attempt = history.attempt_by_key(external_attempt.attempt_key)
    if recorded_attempt is not None:
        return _settle_repeated_report(
            state, history, recorded_attempt, external_attempt, new_id=new_id, now=now
        )
    if state.due_at is None:
        raise Conflict("The post is a draft. Schedule it before you publish it.")
    if state.lease_expires_at is not None and state.lease_expires_at > now:
        raise DestinationLeased(
            "Another publisher holds this destination. Try again when its lease has ended."
        )
    details = external_attempt.details
    superseded = end_superseded_attempts(state, history, now)
    if isinstance(details, Publication):
        is_late = state.status is DestinationStatus.PUBLISHED
        after, attempt = _log_external_attempt(state, external_attempt, new_id, is_late=is_late)
        ended = [*superseded, attempt.ended(Outcome.PUBLISHED, None, now)]
        return settle_published(after, details, fence=after.fence, ended_attempts=ended, now=now)
    if state.status.is_final:
        status = "of unknown outcome" if state.outcome is Outcome.UNKNOWN else state.status
        raise Conflict(f"The destination is {status}; a failure can no longer be recorded.")
    is_late = any(a.started_at > external_attempt.started_at for a in history.attempts)
    after, attempt = _log_external_attempt(state, external_attempt, new_id, is_late=is_late)
    if is_late:
        late = attempt.ended(external_attempt.outcome, details, now)
        return Transition(state=after, receipt=Receipt.LATE, attempts=(late,))
    if external_attempt.outcome is Outcome.UNKNOWN:
        transition = settle_unknown(after, attempt, details, now)
    else:
        transition = settle_failed(after, history, attempt, details, retry_decider, now)
    return replace(transition, attempts=(*superseded, *transition.attempts))


def _settle_repeated_report(
    state: DestinationState,
    history: History,
    recorded_attempt: Attempt,
    external_attempt: ExternalAttempt,
    *,
    new_id: IdFactory,
    now: datetime,
) -> Transition:
    """Accept a repeated report, or a publication that resolves an unknown outcome; else raise Conflict."""
    recorded, fence = recorded_attempt.outcome, recorded_attempt.fence
    details = external_attempt.details
    if recorded is not external_attempt.outcome and (
        recorded is not Outcome.UNKNOWN or fence is None or isinstance(details, Failure)
    ):
        raise Conflict(f"The attempt with this attemptKey is on record as {recorded} already.")
    known = history.evidence_by_fence(fence)
    if known is not None and isinstance(details, Publication):
        return settle_repeated_publication(state, history, known, details, new_id=new_id, now=now)
    if fence is None or recorded is external_attempt.outcome or isinstance(details, Failure):
        return Transition(state=state, receipt=Receipt.REPEATED)
    return settle_published(
        state,
        details,
        fence=fence,
        ended_attempts=end_superseded_attempts(state, history, now),
        now=now,
    )


def _log_external_attempt(
    state: DestinationState, external_attempt: ExternalAttempt, new_id: IdFactory, *, is_late: bool
) -> tuple[DestinationState, Attempt]:
    """Create the attempt and count it, unless it is late: a late one has no number."""
    after = replace(state, fence=state.fence + 1)
    if not is_late:
        after = replace(after, attempts=state.attempts + 1, round_attempts=state.round_attempts + 1)
    attempt = Attempt(
        id=new_id(),
        kind=AttemptKind.LATE if is_late else AttemptKind.REGULAR,
        number=None if is_late else after.attempts,
        fence=after.fence,
        attempt_key=external_attempt.attempt_key,
        worker=external_attempt.worker,
        started_at=external_attempt.started_at,
    )
    return after, attempt
