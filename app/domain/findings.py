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
from app.domain.errors import Conflict, Leased
from app.domain.ids import NewId
from app.domain.publishing import Report
from app.domain.transitions import failed, unverified, waiting

VERIFY_AGAIN_AFTER = timedelta(minutes=5)
"""When somebody may look again after a look that told nothing."""


class Finding(StrEnum):
    """What somebody who looked says of an unknown outcome."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"
    STILL_UNKNOWN = "still_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a publisher with a queue of its own says: its attempt, and how that ended."""

    attempt_key: str
    worker: str | None
    started_at: datetime
    outcome: Outcome
    told: Publication | Failure
    """Where it is published, or what went wrong."""


def report_verified(
    state: DestinationState,
    history: History,
    report: Report,
    finding: Finding,
    where: Publication | None,
    rules: RetryRules,
) -> Recorded:
    """What somebody found who looked at an unknown outcome; `where` goes with PUBLISHED, and it alone.

    What is not there is tried again at once, unless its attempts are spent. LeaseLost where the look was
    not finished in time, but for a publication.
    """
    if (finding is Finding.PUBLISHED) != (where is not None):
        raise ValueError("a place goes with what is published")
    holds = state.verification_token == report.lease.token
    is_over = state.verifiable_at is None or state.verifiable_at <= report.now
    if where is not None:
        if history.is_evident(report.lease.fence):
            return Recorded(state=state, receipt=Receipt.REPEATED)
        log = [] if holds else overtaken(state, history, report.now)
        return settle_published(state, where, fence=report.lease.fence, log=log, now=report.now)
    if not holds or is_over:
        raise lease_lost()
    if finding is Finding.STILL_UNKNOWN:
        return Recorded(state=unverified(state, report.now + VERIFY_AGAIN_AFTER))
    policy = rules.policies.of(history.platform, ErrorCategory.UNCLASSIFIED)
    is_spent = policy.is_spent(state.round_attempts) or _is_old(state, policy.max_age, report.now)
    if is_spent:
        return Recorded(state=failed(state, _NOT_THERE, report.now))
    return Recorded(state=waiting(state, _NOT_THERE, report.now))


def reconcile(state: DestinationState, where: Publication | None, now: datetime) -> Recorded:
    """What a person found out about an unknown outcome; without a place, it is not published.

    It is then failed, and may be retried. Conflict for an outcome that is known.
    """
    if state.outcome is not Outcome.UNKNOWN:
        raise Conflict(
            f"Only an unknown outcome can be reconciled; this destination is {state.status}."
        )
    if where is None:
        return Recorded(state=failed(state, _NOT_THERE, now))
    return settle_published(state, where, fence=state.fence, log=[], now=now)


def record_result(
    state: DestinationState,
    history: History,
    result: Result,
    rules: RetryRules,
    *,
    new_id: NewId,
    now: datetime,
) -> Recorded:
    """What a publisher did by itself, once for each of its attempts.

    Leased while another one holds the destination. Conflict for a draft, for a failure of what has ended,
    and for an attempt that has told something else, unless it did not know then. What failed before another
    attempt began is only logged.
    """
    known = history.with_key(result.attempt_key)
    if known is not None:
        return _told_again(state, history, known, result, now)
    if state.due_at is None:
        raise Conflict("The post is a draft. Schedule it before you publish it.")
    if state.lease_expires_at is not None and state.lease_expires_at > now:
        raise Leased(
            "Another publisher holds this destination. Try again when its lease has ended."
        )
    if isinstance(result.told, Failure):
        if state.status.is_final:
            raise Conflict(
                f"The destination is {_known_as(state)}; a failure cannot be recorded any more."
            )
        if any(each.started_at > result.started_at for each in history.attempts):
            after, late = _begun_elsewhere(state, result, new_id, is_late=True)
            ended = late.ended(result.outcome, result.told, now)
            return Recorded(state=after, receipt=Receipt.LATE, attempts=(ended,))
    is_late = state.status is DestinationStatus.PUBLISHED
    after, attempt = _begun_elsewhere(state, result, new_id, is_late=is_late)
    log = overtaken(state, history, now)
    if isinstance(result.told, Publication):
        log.append(attempt.ended(Outcome.PUBLISHED, None, now))
        return settle_published(after, result.told, fence=after.fence, log=log, now=now)
    if result.outcome is Outcome.UNKNOWN:
        recorded = settle_unknown(after, attempt, result.told, now)
    else:
        recorded = settle_failed(after, history, attempt, result.told, rules, now)
    return replace(recorded, attempts=(*log, *recorded.attempts))


def _told_again(
    state: DestinationState, history: History, known: Attempt, result: Result, now: datetime
) -> Recorded:
    """The same; or where the post is, of which its publisher did not know at first whether it is there."""
    if known.outcome is result.outcome:
        return Recorded(state=state, receipt=Receipt.REPEATED)
    is_found = known.outcome is Outcome.UNKNOWN and isinstance(result.told, Publication)
    if not is_found or known.fence is None or isinstance(result.told, Failure):
        raise Conflict(f"The attempt with this attemptKey is on record as {known.outcome} already.")
    if history.is_evident(known.fence):
        return Recorded(state=state, receipt=Receipt.REPEATED)
    log = overtaken(state, history, now)
    return settle_published(state, result.told, fence=known.fence, log=log, now=now)


_NOT_THERE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=NOT_PUBLISHED,
    message="Somebody looked on the platform: the post is not there.",
)


def _known_as(state: DestinationState) -> str:
    return "of unknown outcome" if state.outcome is Outcome.UNKNOWN else str(state.status)


def _is_old(state: DestinationState, max_age: timedelta, now: datetime) -> bool:
    return state.round_started_at is not None and now > state.round_started_at + max_age


def _begun_elsewhere(
    state: DestinationState, result: Result, new_id: NewId, *, is_late: bool
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
        attempt_key=result.attempt_key,
        worker=result.worker,
        started_at=result.started_at,
    )
    return after, attempt
