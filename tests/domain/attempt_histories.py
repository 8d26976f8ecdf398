"""What is on record of each state of a destination, and what a publisher may say of it; for tests."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure, Publication
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import PostResultsError
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.leases import Lease
from app.domain.reports import ReportContext
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import History, RetryDecider, Transition
from tests.factories import LEASE_DURATION, NOW

SECOND = timedelta(seconds=1)
DURING_LEASE = NOW + 60 * SECOND
"""When the leases of all states are held."""
AFTER_LEASE = NOW + LEASE_DURATION
"""When they have ended."""
NEW_ATTEMPT_ID = UUID(int=0xABC)
"""The id of the one new attempt."""
UNUSED_LEASE_TOKEN = UUID(int=0x70)
"""Of no lease that is held."""

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
    message="The lease ended before the publisher reported the platform's response.",
)
NOT_PUBLISHED = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code="NOT_PUBLISHED",
    message="A check found that the post is not on the platform.",
)
RETRY_CONTEXT = RetryDecider(DEFAULT_POLICIES, lambda: 0.5)
LEASE_LOST_MESSAGE = "The lease has ended, or another client holds the destination."


def make_lease(fence: int, token: UUID | None = None) -> Lease:
    return Lease(
        WorkspaceId(UUID(int=1)), DestinationId(UUID(int=2)), fence, token or UNUSED_LEASE_TOKEN
    )


def current_lease(state: DestinationState) -> Lease:
    """The one of the state; of one that nobody holds, the last one."""
    return make_lease(state.fence, state.lease_token)


def report_context(lease: Lease, now: datetime = DURING_LEASE) -> ReportContext:
    return ReportContext(lease, lambda: NEW_ATTEMPT_ID, now)


def make_attempt(number: int, *, fence: int, outcome: Outcome, failure: Failure | None) -> Attempt:
    """One that began when it was due, and ended a second later."""
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
    """All attempts but the last have failed; the last one ended as the state says, or runs."""
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
    where = Publication(
        platform_post_id=state.platform_post_id,
        platform_post_url=state.platform_post_url,
        published_at=state.published_at,
    )
    return [
        Evidence(fence=state.fence, counted=True, publication=where, reported_at=state.settled_at)
    ]


def with_lost_attempt(state: DestinationState) -> tuple[DestinationState, History, Lease]:
    """As it is after a claim more that was started and lost before, and the lease of that one."""
    history = make_history(state)
    known = [replace(each, fence=(each.fence or 0) + 1) for each in history.attempts]
    stale = make_attempt(1, fence=1, outcome=Outcome.UNKNOWN, failure=LEASE_EXPIRED)
    evidence = [replace(each, fence=each.fence + 1) for each in history.evidence]
    attempts = [stale, *(replace(each, number=(each.number or 0) + 1) for each in known)]
    after = replace(state, fence=state.fence + 1, attempts=state.attempts + 1)
    return after, History("x", attempts, evidence), make_lease(1)


def without_lease(state: DestinationState, **changes: object) -> DestinationState:
    """The state without a lease and whatever else ends with it."""
    nothing = dict.fromkeys(
        (
            "claimable_at",
            "next_retry_at",
            "lease_token",
            "lease_expires_at",
            "started_at",
            "settled_at",
            "verifiable_at",
            "verification_token",
            "due_day",
        )
    )
    return replace(state, **(nothing | changes))  # type: ignore[arg-type]


def published_state(
    state: DestinationState, publication: Publication, now: datetime
) -> DestinationState:
    assert state.due_at is not None
    late = publication.published_at - state.due_at
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
        settled_at=now,
        due_day=state.due_at.date(),
        lateness_ms=round(late.total_seconds() * 1000),
    )


def failed_state(
    state: DestinationState, failure: Failure, now: datetime, **changes: object
) -> DestinationState:
    assert state.due_at is not None
    facts = {
        "status": DestinationStatus.FAILED,
        "outcome": Outcome.FAILED,
        "error": failure.message,
        "error_category": failure.category,
        "error_code": failure.code,
        "settled_at": now,
        "due_day": state.due_at.date(),
    }
    return without_lease(state, **(facts | changes))


def retrying_state(state: DestinationState, failure: Failure, until: datetime) -> DestinationState:
    return without_lease(
        state,
        status=DestinationStatus.QUEUED,
        outcome=Outcome.NONE,
        claimable_at=until,
        next_retry_at=until,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
    )


def result_or_error(work: Callable[[], Transition]) -> Transition | tuple[str, str]:
    """What is recorded, or the code and the message of the refusal."""
    try:
        return work()
    except PostResultsError as error:
        return str(error.code), error.message
