"""What publishers tell of a destination, and what that makes of it. Who may ask, and storage, are elsewhere.

Each is a state with its history in, and out what is to be stored, or a refusal after which nothing has
changed. A lease is held while its token is in the state. Who has lost it gets LeaseLost, but for a report:
that a post is published is evidence and is kept, whenever it comes; a late failure is only logged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure, Publication
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import NOT_PUBLISHED, OUTCOME_UNKNOWN
from app.domain.errors import Conflict, Leased, LeaseLost
from app.domain.ids import NewId
from app.domain.leases import Lease
from app.domain.retry_policy import RetryPolicies, next_retry
from app.domain.transitions import (
    failed,
    published,
    released,
    started,
    unknown,
    unverified,
    waiting,
)

VERIFY_AGAIN_AFTER = timedelta(minutes=5)
"""When somebody may look again after a look that told nothing."""


class Receipt(StrEnum):
    """What became of a report."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    LATE = "late"
    DUPLICATE = "duplicate"


class Finding(StrEnum):
    """What somebody who looked says of an unknown outcome."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"
    STILL_UNKNOWN = "still_unknown"


@dataclass(frozen=True, slots=True)
class History:
    """What is on record of a destination besides its state."""

    platform: str
    attempts: Sequence[Attempt]
    evidence: Sequence[Evidence]

    def attempt(self, fence: int) -> Attempt | None:
        """The one of a claim, if it was started."""
        regular = (each for each in self.attempts if each.kind is AttemptKind.REGULAR)
        return next((each for each in regular if each.fence == fence), None)

    def with_key(self, key: str) -> Attempt | None:
        return next((each for each in self.attempts if each.attempt_key == key), None)

    def tells(self, fence: int, outcome: Outcome) -> bool:
        """Whether this was reported of a claim before, in time or late."""
        return any((each.fence, each.outcome) == (fence, outcome) for each in self.attempts)

    def is_evident(self, fence: int) -> bool:
        """Whether it was reported of a claim that it published."""
        return any(each.fence == fence for each in self.evidence)

    def failures_since(self, began: datetime | None) -> int:
        """Those of a round that have failed."""
        return sum(
            each.outcome is Outcome.FAILED
            and each.kind is AttemptKind.REGULAR
            and (began is None or each.started_at >= began)
            for each in self.attempts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What is to be stored, all of it or nothing."""

    state: DestinationState
    receipt: Receipt = Receipt.RECORDED
    attempts: tuple[Attempt, ...] = ()
    """New ones, and those that end by this."""
    evidence: Evidence | None = None
    lost_access: datetime | None = None
    """When the attempt began for which the platform refused the account."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """By what it is decided whether and when a failure is tried again."""

    policies: RetryPolicies
    random: Callable[[], float]
    """From 0 to below 1."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a publisher says of a lease, and how that is logged."""

    lease: Lease
    new_id: NewId
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a publisher with a queue of its own says: its attempt, and how that ended."""

    attempt_key: str
    worker: str | None
    started_at: datetime
    told: Publication | Failure


def require_lease(state: DestinationState, lease: Lease, now: datetime) -> None:
    """LeaseLost unless it is held and has not ended."""
    if not _holds(state, lease) or state.lease_expires_at is None or state.lease_expires_at <= now:
        raise lease_lost()


def start_attempt(
    state: DestinationState, history: History, report: Report, *, worker: str | None
) -> tuple[Recorded, Attempt]:
    """Log that a publisher is about to call the platform; the same attempt if it says so again."""
    require_lease(state, report.lease, report.now)
    running = history.attempt(report.lease.fence)
    if running is not None:
        return Recorded(state=state, receipt=Receipt.REPEATED), running
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
        log += _overtaken(state, history, report.now)
    return _published(state, where, fence=lease.fence, log=log, now=report.now)


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
    return _failed(state, history, attempt, failure, rules, report.now)


def report_unknown(
    state: DestinationState, history: History, report: Report, failure: Failure
) -> Recorded:
    """Perhaps published, as a publisher knows that got no answer: nobody tries again before a look."""
    if not _holds(state, report.lease):
        return _late_failure(state, history, report, Outcome.UNKNOWN, failure)
    if state.started_at is None:
        raise Conflict("The attempt was not started, so its outcome is known. Release the claim.")
    attempt = _attempt_or_late(history, report)
    failure = replace(failure, category=ErrorCategory.UNCLASSIFIED, code=OUTCOME_UNKNOWN)
    return Recorded(
        state=unknown(state, failure, report.now),
        attempts=(attempt.ended(Outcome.UNKNOWN, failure, report.now),),
    )


def report_verified(
    state: DestinationState,
    history: History,
    report: Report,
    finding: Finding,
    where: Publication | None,
    rules: RetryRules,
) -> Recorded:
    """What somebody found who looked at an unknown outcome; `where` goes with PUBLISHED, and it alone.

    What is not there is tried again at once, unless its attempts are spent.
    """
    if (finding is Finding.PUBLISHED) != (where is not None):
        raise ValueError("a place goes with what is published")
    holds = state.verification_token == report.lease.token
    if where is not None:
        if history.is_evident(report.lease.fence):
            return Recorded(state=state, receipt=Receipt.REPEATED)
        log = [] if holds else _overtaken(state, history, report.now)
        return _published(state, where, fence=report.lease.fence, log=log, now=report.now)
    if not holds:
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
    return _published(state, where, fence=state.fence, log=[], now=now)


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
    and for an attempt that has told something else.
    """
    outcome = Outcome.FAILED if isinstance(result.told, Failure) else Outcome.PUBLISHED
    known = history.with_key(result.attempt_key)
    if known is not None:
        if known.outcome is not outcome:
            raise Conflict(
                f"The attempt with this attemptKey is on record as {known.outcome} already."
            )
        return Recorded(state=state, receipt=Receipt.REPEATED)
    if state.due_at is None:
        raise Conflict("The post is a draft. Schedule it before you publish it.")
    if state.lease_expires_at is not None and state.lease_expires_at > now:
        raise Leased(
            "Another publisher holds this destination. Try again when its lease has ended."
        )
    if isinstance(result.told, Failure) and state.status.is_final:
        raise Conflict(
            f"The destination is {_known_as(state)}; a failure cannot be recorded any more."
        )
    after, attempt = _begun_elsewhere(state, result, new_id)
    log = _overtaken(state, history, now)
    if isinstance(result.told, Publication):
        log.append(attempt.ended(Outcome.PUBLISHED, None, now))
        return _published(after, result.told, fence=after.fence, log=log, now=now)
    recorded = _failed(after, history, attempt, result.told, rules, now)
    return replace(recorded, attempts=(*log, *recorded.attempts))


_GONE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="The publisher went away before it reported what the platform answered.",
)
_OVERTAKEN = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="Another publisher reported an outcome while this attempt was running.",
)
_NOT_THERE = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=NOT_PUBLISHED,
    message="Somebody looked on the platform: the post is not there.",
)


def lease_lost() -> LeaseLost:
    return LeaseLost("The lease has ended, or somebody else has the destination by now.")


def _holds(state: DestinationState, lease: Lease) -> bool:
    return state.lease_token == lease.token


def _known_as(state: DestinationState) -> str:
    return "of unknown outcome" if state.outcome is Outcome.UNKNOWN else str(state.status)


def _is_old(state: DestinationState, max_age: timedelta, now: datetime) -> bool:
    return state.round_started_at is not None and now > state.round_started_at + max_age


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


def _begun_elsewhere(
    state: DestinationState, result: Result, new_id: NewId
) -> tuple[DestinationState, Attempt]:
    """With a number of its own, unless the destination is published: then it is one too many."""
    is_late = state.status is DestinationStatus.PUBLISHED
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


def _overtaken(state: DestinationState, history: History, now: datetime) -> list[Attempt]:
    """The attempt that runs under another lease, ended: what it will report is late."""
    running = None if state.started_at is None else history.attempt(state.fence)
    return [] if running is None else [running.ended(Outcome.UNKNOWN, _OVERTAKEN, now)]


def _published(
    state: DestinationState,
    where: Publication,
    *,
    fence: int,
    log: Sequence[Attempt],
    now: datetime,
) -> Recorded:
    """The first report settles the destination, whatever was thought of it; another is a duplicate."""
    if state.due_at is None:
        raise lease_lost()  # taken back before it was started
    is_first = state.status is not DestinationStatus.PUBLISHED
    return Recorded(
        state=published(state, where, now) if is_first else state,
        receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
        attempts=tuple(log),
        evidence=Evidence(fence=fence, counted=is_first, publication=where, reported_at=now),
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


def _failed(
    state: DestinationState,
    history: History,
    attempt: Attempt,
    failure: Failure,
    rules: RetryRules,
    now: datetime,
) -> Recorded:
    """The end of an attempt that counts, or does not, as its policy says."""
    policy = rules.policies.of(history.platform, failure.category)
    if not policy.counts_attempts:
        state = replace(state, round_attempts=max(state.round_attempts - 1, 0))
    retry_at = next_retry(
        policy,
        failures=history.failures_since(state.round_started_at) + 1,
        counted=state.round_attempts,
        round_started_at=state.round_started_at or now,
        retry_after=failure.retry_after,
        random=rules.random,
        now=now,
    )
    after = failed(state, failure, now) if retry_at is None else waiting(state, failure, retry_at)
    return Recorded(
        state=after,
        attempts=(attempt.ended(Outcome.FAILED, failure, now),),
        lost_access=attempt.started_at if failure.category is ErrorCategory.AUTH else None,
    )
