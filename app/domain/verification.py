"""What is found out otherwise: by a look at the platform, by a person, by a publisher with its own queue.

As in publishing, each is a state with its history in, and out what is to be stored, or a refusal.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.attempts import Attempt, AttemptKind, Failure, Publication
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import NOT_PUBLISHED
from app.domain.errors import Conflict, DestinationLeased
from app.domain.ids import IdFactory
from app.domain.reports import ReportContext
from app.domain.settlement import (
    History,
    Receipt,
    RetryDecider,
    Transition,
    lease_lost_error,
    settle_failed,
    settle_published,
    settle_unknown,
    superseded_attempts,
)
from app.domain.transitions import failed, retry_scheduled, verification_inconclusive

VERIFICATION_RETRY_INTERVAL = timedelta(minutes=5)
"""When somebody may look again after a look that told nothing."""


class VerificationFinding(StrEnum):
    """What somebody who looked says of an unknown outcome."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"
    STILL_UNKNOWN = "still_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAttempt:
    """What a publisher with a queue of its own says: its attempt, and how that ended."""

    attempt_key: str
    worker: str | None
    started_at: datetime
    outcome: Outcome
    details: Publication | Failure
    """Where it is published, or what went wrong."""


def report_verified(
    state: DestinationState,
    history: History,
    report_context: ReportContext,
    finding: VerificationFinding,
    publication: Publication | None,
    retry_decider: RetryDecider,
) -> Transition:
    """What somebody found who looked at an unknown outcome; `where` goes with PUBLISHED, and it alone.

    What is not there is tried again at once, unless its attempts are spent. LeaseLost where the look was
    not finished in time, but for a publication.
    """
    if (finding is VerificationFinding.PUBLISHED) != (publication is not None):
        raise ValueError("a place goes with what is published")
    holds = state.verification_token == report_context.lease.token
    is_over = state.verifiable_at is None or state.verifiable_at <= report_context.now
    if publication is not None:
        if history.has_publication(report_context.lease.fence):
            return Transition(state=state, receipt=Receipt.REPEATED)
        log = [] if holds else superseded_attempts(state, history, report_context.now)
        return settle_published(
            state,
            publication,
            fence=report_context.lease.fence,
            ended_attempts=log,
            now=report_context.now,
        )
    if not holds or is_over:
        raise lease_lost_error()
    if finding is VerificationFinding.STILL_UNKNOWN:
        return Transition(
            state=verification_inconclusive(state, report_context.now + VERIFICATION_RETRY_INTERVAL)
        )
    policy = retry_decider.policies.policy_for(history.platform, ErrorCategory.UNCLASSIFIED)
    is_spent = policy.is_exhausted(state.round_attempts) or _has_exceeded_max_age(
        state, policy.max_age, report_context.now
    )
    if is_spent:
        return Transition(state=failed(state, _NOT_PUBLISHED_FAILURE, report_context.now))
    return Transition(state=retry_scheduled(state, _NOT_PUBLISHED_FAILURE, report_context.now))


def reconcile(
    state: DestinationState, publication: Publication | None, now: datetime
) -> Transition:
    """What a person found out about an unknown outcome; without a place, it is not published.

    It is then failed, and may be retried. Conflict for an outcome that is known.
    """
    if state.outcome is not Outcome.UNKNOWN:
        raise Conflict(
            f"Only an unknown outcome can be reconciled; this destination is {state.status}."
        )
    if publication is None:
        return Transition(state=failed(state, _NOT_PUBLISHED_FAILURE, now))
    return settle_published(state, publication, fence=state.fence, ended_attempts=[], now=now)


def record_external_attempt(
    state: DestinationState,
    history: History,
    external_attempt: ExternalAttempt,
    retry_decider: RetryDecider,
    *,
    new_id: IdFactory,
    now: datetime,
) -> Transition:
    """What a publisher did by itself, once for each of its attempts.

    Leased while another one holds the destination. Conflict for a draft, for a failure of what has ended,
    and for an attempt that has told something else, unless it did not know then. What failed before another
    attempt began is only logged.
    """
    known = history.attempt_by_key(external_attempt.attempt_key)
    if known is not None:
        return _replay(state, history, known, external_attempt, now)
    if state.due_at is None:
        raise Conflict("The post is a draft. Schedule it before you publish it.")
    if state.lease_expires_at is not None and state.lease_expires_at > now:
        raise DestinationLeased(
            "Another publisher holds this destination. Try again when its lease has ended."
        )
    if isinstance(external_attempt.details, Failure):
        if state.status.is_final:
            raise Conflict(
                f"The destination is {_describe_status(state)}; a failure cannot be recorded any more."
            )
        if any(each.started_at > external_attempt.started_at for each in history.attempts):
            after, late = _log_external_attempt(state, external_attempt, new_id, is_late=True)
            ended = late.ended(external_attempt.outcome, external_attempt.details, now)
            return Transition(state=after, receipt=Receipt.LATE, attempts=(ended,))
    is_late = state.status is DestinationStatus.PUBLISHED
    after, attempt = _log_external_attempt(state, external_attempt, new_id, is_late=is_late)
    log = superseded_attempts(state, history, now)
    if isinstance(external_attempt.details, Publication):
        log.append(attempt.ended(Outcome.PUBLISHED, None, now))
        return settle_published(
            after, external_attempt.details, fence=after.fence, ended_attempts=log, now=now
        )
    if external_attempt.outcome is Outcome.UNKNOWN:
        recorded = settle_unknown(after, attempt, external_attempt.details, now)
    else:
        recorded = settle_failed(
            after, history, attempt, external_attempt.details, retry_decider, now
        )
    return replace(recorded, attempts=(*log, *recorded.attempts))


def _replay(
    state: DestinationState,
    history: History,
    recorded_attempt: Attempt,
    external_attempt: ExternalAttempt,
    now: datetime,
) -> Transition:
    """The same; or where the post is, of which its publisher did not know at first whether it is there."""
    if recorded_attempt.outcome is external_attempt.outcome:
        return Transition(state=state, receipt=Receipt.REPEATED)
    is_found = recorded_attempt.outcome is Outcome.UNKNOWN and isinstance(
        external_attempt.details, Publication
    )
    if (
        not is_found
        or recorded_attempt.fence is None
        or isinstance(external_attempt.details, Failure)
    ):
        raise Conflict(
            f"The attempt with this attemptKey is on record as {recorded_attempt.outcome} already."
        )
    if history.has_publication(recorded_attempt.fence):
        return Transition(state=state, receipt=Receipt.REPEATED)
    log = superseded_attempts(state, history, now)
    return settle_published(
        state, external_attempt.details, fence=recorded_attempt.fence, ended_attempts=log, now=now
    )


_NOT_PUBLISHED_FAILURE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=NOT_PUBLISHED,
    message="Somebody looked on the platform: the post is not there.",
)


def _describe_status(state: DestinationState) -> str:
    return "of unknown outcome" if state.outcome is Outcome.UNKNOWN else str(state.status)


def _has_exceeded_max_age(state: DestinationState, max_age: timedelta, now: datetime) -> bool:
    return state.round_started_at is not None and now > state.round_started_at + max_age


def _log_external_attempt(
    state: DestinationState, external_attempt: ExternalAttempt, new_id: IdFactory, *, is_late: bool
) -> tuple[DestinationState, Attempt]:
    """With a number of its own, unless it is late: then it changes nothing, or is one too many."""
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
