"""Attempt histories that match destination states, and expected results of reports."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure, Publication
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import PostResultsError
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.leases import Lease
from app.domain.reports import ReportContext
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import History, Receipt, RetryDecider, Transition
from tests.factories import LEASE_DURATION, NOW

SECOND = timedelta(seconds=1)
DURING_LEASE = NOW + 60 * SECOND
"""A time at which the leases of all states are held."""
AFTER_LEASE = NOW + LEASE_DURATION
"""The time at which the leases of all states expire."""
NEW_ATTEMPT_ID = UUID(int=0xABC)
"""Id of the only new attempt."""
UNUSED_LEASE_TOKEN = UUID(int=0x70)
"""Token that no state holds."""

PUBLICATION = Publication(
    platform_post_id="1", platform_post_url="https://x.com/1", published_at=NOW + 30 * SECOND
)
TIMEOUT = Failure(
    category=ErrorCategory.TRANSIENT,
    code="TIMEOUT",
    message="The platform did not answer in time.",
)
UNKNOWN_OUTCOME = replace(TIMEOUT, category=ErrorCategory.UNCLASSIFIED, code="OUTCOME_UNKNOWN")
SUPERSEDED = replace(
    UNKNOWN_OUTCOME, message="Another publisher reported an outcome while this attempt was running."
)
LEASE_EXPIRED = replace(
    UNKNOWN_OUTCOME,
    message="The publisher did not report the platform's response in time.",
)
NOT_PUBLISHED = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code="NOT_PUBLISHED",
    message="A check found that the post is not on the platform.",
)
GONE = Failure(
    category=ErrorCategory.PERMANENT, code="GONE", message="The page is gone.", http_status=410
)
RETRY_DECIDER = RetryDecider(DEFAULT_POLICIES, lambda: 0.0)
"""Retries after half of the longest wait."""
LEASE_LOST = ("lease_lost", "The lease has ended, or another client holds the destination.")


def make_failure(
    category: ErrorCategory = ErrorCategory.TRANSIENT, retry_after: timedelta | None = None
) -> Failure:
    """A failure whose code is its category."""
    return Failure(
        category=category, code=category.name, message="Rejected.", retry_after=retry_after
    )


def make_lease(fence: int, token: UUID | None = None) -> Lease:
    return Lease(
        WorkspaceId(UUID(int=1)),
        PostId(UUID(int=3)),
        DestinationId(UUID(int=2)),
        fence,
        token or UNUSED_LEASE_TOKEN,
    )


def current_lease(state: DestinationState) -> Lease:
    """The lease that a state holds, or else one with its fence that is lost."""
    return make_lease(state.fence, state.lease_token)


def report_context(lease: Lease, now: datetime = DURING_LEASE) -> ReportContext:
    return ReportContext(lease, lambda: NEW_ATTEMPT_ID, now)


def make_attempt(number: int, *, fence: int, outcome: Outcome, failure: Failure | None) -> Attempt:
    """An attempt that started at NOW and, unless it runs, finished a second later."""
    return Attempt(
        id=UUID(int=fence),
        kind=AttemptKind.REGULAR,
        number=number,
        fence=fence,
        attempt_key=None,
        worker=f"worker-{fence}",
        started_at=NOW,
        outcome=outcome,
        failure=failure,
        finished_at=None if outcome is Outcome.NONE else NOW + SECOND,
    )


def make_history(state: DestinationState) -> History:
    """A history in which the last attempt matches the state and all others have failed."""
    fences = range(1, state.attempts + 1)
    if state.started_at is not None:
        fences = range(state.fence - state.attempts + 1, state.fence + 1)
    ends: dict[Outcome, tuple[Outcome, Failure | None]] = {
        Outcome.PUBLISHED: (Outcome.PUBLISHED, None),
        Outcome.UNKNOWN: (Outcome.UNKNOWN, LEASE_EXPIRED),
    }
    last = ends.get(state.outcome, (Outcome.FAILED, TIMEOUT))
    if state.started_at is not None:
        last = (Outcome.NONE, None)
    attempts = []
    for number, fence in enumerate(fences, 1):
        end = last if number == state.attempts else (Outcome.FAILED, TIMEOUT)
        attempts.append(make_attempt(number, fence=fence, outcome=end[0], failure=end[1]))
    return History("x", attempts, make_evidence(state))


def make_evidence(state: DestinationState) -> Sequence[Evidence]:
    if state.published_at is None or state.settled_at is None:
        return []
    publication = Publication(
        platform_post_id=state.platform_post_id,
        platform_post_url=state.platform_post_url,
        published_at=state.published_at,
    )
    return [
        Evidence(
            fence=state.fence, counted=True, publication=publication, reported_at=state.settled_at
        )
    ]


def with_lost_attempt(state: DestinationState) -> tuple[DestinationState, History, Lease]:
    """Insert a first attempt whose lease was lost; return the state, history and lost lease."""
    history = make_history(state)
    lost = make_attempt(1, fence=1, outcome=Outcome.UNKNOWN, failure=LEASE_EXPIRED)
    later = [
        replace(attempt, fence=(attempt.fence or 0) + 1, number=(attempt.number or 0) + 1)
        for attempt in history.attempts
    ]
    evidence = [replace(entry, fence=entry.fence + 1) for entry in history.evidence]
    after = replace(state, fence=state.fence + 1, attempts=state.attempts + 1)
    return after, History("x", [lost, *later], evidence), make_lease(1)


def new_attempt(state: DestinationState, worker: str | None, started_at: datetime) -> Attempt:
    """The attempt that a start of a claimed state creates."""
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.REGULAR,
        number=state.attempts + 1,
        fence=state.fence,
        attempt_key=None,
        worker=worker,
        started_at=started_at,
    )


def late_attempt(
    fence: int, outcome: Outcome, failure: Failure | None, lost: Attempt | None
) -> Attempt:
    """The attempt that a report of a lost lease creates at DURING_LEASE; `lost` is the started one."""
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.LATE if lost else AttemptKind.UNSTARTED,
        number=None,
        fence=fence,
        attempt_key=None,
        worker=lost.worker if lost else None,
        started_at=lost.started_at if lost else DURING_LEASE,
        outcome=outcome,
        failure=failure,
        finished_at=DURING_LEASE,
    )


def ended_as_superseded(history: History, now: datetime = DURING_LEASE) -> list[Attempt]:
    """The running attempts, ended by the report of another publisher."""
    return [
        attempt.ended(Outcome.UNKNOWN, SUPERSEDED, now)
        for attempt in history.attempts
        if attempt.outcome is Outcome.NONE
    ]


def new_evidence(fence: int, *, counted: bool, reported_at: datetime = DURING_LEASE) -> Evidence:
    return Evidence(fence=fence, counted=counted, publication=PUBLICATION, reported_at=reported_at)


def published_transition(
    state: DestinationState, fence: int, ended_attempts: Sequence[Attempt]
) -> Transition:
    """The transition of a publication reported at DURING_LEASE; the first one counts."""
    is_first = state.outcome is not Outcome.PUBLISHED
    return Transition(
        state=published_state(state, PUBLICATION, DURING_LEASE) if is_first else state,
        receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
        attempts=tuple(ended_attempts),
        evidence=new_evidence(fence, counted=is_first),
    )


_CLEARED_FIELDS = (
    "claimable_at next_retry_at lease_token lease_expires_at started_at settled_at verifiable_at"
    " verification_token due_day"
)


def without_lease(state: DestinationState, **changes: object) -> DestinationState:
    """The state without its lease, verification and outcome times."""
    return replace(state, **(dict.fromkeys(_CLEARED_FIELDS.split()) | changes))  # type: ignore[arg-type]


def started_state(state: DestinationState, now: datetime) -> DestinationState:
    return replace(
        state,
        claimable_at=None,
        started_at=now,
        attempts=state.attempts + 1,
        round_attempts=state.round_attempts + 1,
    )


def released_state(state: DestinationState, now: datetime) -> DestinationState:
    retry_at = None if state.error is None else now
    return without_lease(
        state,
        status=DestinationStatus.QUEUED,
        claimable_at=retry_at or state.due_at,
        next_retry_at=retry_at,
    )


def published_state(
    state: DestinationState, publication: Publication, now: datetime
) -> DestinationState:
    assert state.due_at is not None
    lateness = publication.published_at - state.due_at
    return without_lease(
        state,
        status=DestinationStatus.PUBLISHED,
        outcome=Outcome.PUBLISHED,
        published_at=publication.published_at,
        platform_post_id=publication.platform_post_id,
        platform_post_url=publication.platform_post_url,
        error=None,
        error_category=None,
        error_code=None,
        not_sent=False,
        settled_at=now,
        due_day=state.due_at.date(),
        lateness_ms=round(lateness.total_seconds() * 1000),
    )


def failed_state(
    state: DestinationState, failure: Failure, now: datetime, **changes: object
) -> DestinationState:
    assert state.due_at is not None
    values = {
        "status": DestinationStatus.FAILED,
        "outcome": Outcome.FAILED,
        "error": failure.message,
        "error_category": failure.category,
        "error_code": failure.code,
        "not_sent": failure.not_sent,
        "settled_at": now,
        "due_day": state.due_at.date(),
    }
    return without_lease(state, **(values | changes))


def unknown_state(state: DestinationState, failure: Failure, now: datetime) -> DestinationState:
    return failed_state(state, failure, now, outcome=Outcome.UNKNOWN, verifiable_at=now)


def retrying_state(
    state: DestinationState, failure: Failure, retry_at: datetime
) -> DestinationState:
    return without_lease(
        state,
        status=DestinationStatus.QUEUED,
        outcome=Outcome.NONE,
        claimable_at=retry_at,
        next_retry_at=retry_at,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
        not_sent=failure.not_sent,
    )


def result_or_error(run: Callable[[], Transition]) -> Transition | tuple[str, str]:
    """Return the transition, or code and message of the error."""
    try:
        return run()
    except PostResultsError as error:
        return str(error.code), error.message
