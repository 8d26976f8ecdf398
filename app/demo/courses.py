"""What can become of a destination: its state together with the log behind it. No posts, no dice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from app.domain.attempts import AttemptKind
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
    due_day,
    lateness_ms,
)
from app.domain.diagnosis import CANCELLED, OUTCOME_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a publisher reports when a call did not publish."""

    category: ErrorCategory
    code: str
    message: str
    http_status: int | None = None
    retry_after: timedelta | None = None
    """How long the platform asked to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a publisher reports when a call published."""

    published_at: datetime
    platform_post_id: str
    platform_post_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt: it published, it failed, or, with neither, it still runs."""

    fence: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    publication: Publication | None = None
    failure: Failure | None = None
    kind: AttemptKind = AttemptKind.REGULAR

    @property
    def rate_limited(self) -> bool:
        return self.failure is not None and self.failure.category is ErrorCategory.RATE_LIMITED

    @property
    def outcome(self) -> Outcome:
        if self.publication is not None:
            return Outcome.PUBLISHED
        if self.failure is None:
            return Outcome.NONE
        return Outcome.UNKNOWN if self.failure.code == OUTCOME_UNKNOWN else Outcome.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A destination's state, its attempts in order, and when it last changed."""

    state: DestinationState
    tries: tuple[Try, ...] = ()
    changed_at: datetime | None
    """None: not since the post was created."""


LOST = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="The publisher went away before it reported what the platform answered.",
)

_CANCELLATION = Failure(
    category=ErrorCategory.PERMANENT,
    code=CANCELLED,
    message="Cancelled before it went out.",
)


def failed_try(fence: int, finished_at: datetime, failure: Failure) -> Try:
    """A call that took two seconds and failed at that instant."""
    return Try(
        fence=fence,
        worker=f"publisher-{fence}",
        started_at=finished_at - timedelta(seconds=2),
        finished_at=finished_at,
        failure=failure,
    )


def not_submitted() -> Course:
    """Of a draft."""
    return Course(state=_queued(None, ()), changed_at=None)


def waiting(due_at: datetime, *, submitted_at: datetime | None = None) -> Course:
    """For its due time, and from then on for a publisher."""
    state = replace(_queued(due_at, ()), claimable_at=due_at)
    return Course(state=state, changed_at=submitted_at)


def withdrawn(due_at: datetime, *, withdrawn_at: datetime) -> Course:
    """Its post was deleted while it waited, so that nobody may claim it any more."""
    return Course(state=_queued(due_at, ()), changed_at=withdrawn_at)


def claimed(
    due_at: datetime, *, claimed_at: datetime, token: UUID, lease_expires_at: datetime
) -> Course:
    """By a publisher that has not called the platform yet."""
    state = replace(
        _queued(due_at, ()),
        status=DestinationStatus.PUBLISHING,
        claimable_at=lease_expires_at,
        fence=1,
        lease_token=token,
        lease_expires_at=lease_expires_at,
    )
    return Course(state=state, changed_at=claimed_at)


def publishing(
    due_at: datetime, tries: Sequence[Try], *, token: UUID, lease_expires_at: datetime
) -> Course:
    """The last of the tries still runs."""
    state = replace(
        _queued(due_at, tries),
        status=DestinationStatus.PUBLISHING,
        lease_token=token,
        lease_expires_at=lease_expires_at,
        started_at=tries[-1].started_at,
    )
    return Course(state=state, tries=tuple(tries), changed_at=tries[-1].started_at)


def retrying(due_at: datetime, tries: Sequence[Try], *, next_retry_at: datetime) -> Course:
    """It failed so far and will be tried again by itself."""
    failure = _last_failure(tries)
    state = replace(
        _queued(due_at, tries),
        claimable_at=next_retry_at,
        next_retry_at=next_retry_at,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
    )
    return Course(state=state, tries=tuple(tries), changed_at=tries[-1].finished_at)


def published(
    due_at: datetime, tries: Sequence[Try], *, retried_at: datetime | None = None
) -> Course:
    """One of the tries published; `retried_at` is when somebody asked for the last round."""
    reports = ((each.finished_at, each.publication) for each in tries if each.publication)
    reported_at, publication = next(reports)
    state = replace(
        _queued(due_at, tries, round_started_at=retried_at),
        status=DestinationStatus.PUBLISHED,
        outcome=Outcome.PUBLISHED,
        published_at=publication.published_at,
        platform_post_id=publication.platform_post_id,
        platform_post_url=publication.platform_post_url,
        settled_at=reported_at,
        due_day=due_day(due_at),
        lateness_ms=lateness_ms(due_at, publication.published_at),
    )
    return Course(state=state, tries=tuple(tries), changed_at=tries[-1].finished_at)


def failed(due_at: datetime, tries: Sequence[Try]) -> Course:
    """For good, or nobody knows: as the last of the tries ended."""
    last = tries[-1]
    state = _failed(due_at, tries, _last_failure(tries), last.outcome, settled_at=last.finished_at)
    return Course(state=state, tries=tuple(tries), changed_at=last.finished_at)


def cancelled(due_at: datetime, *, cancelled_at: datetime) -> Course:
    """Somebody stopped it before it was tried."""
    state = _failed(due_at, (), _CANCELLATION, Outcome.FAILED, settled_at=cancelled_at)
    return Course(state=state, changed_at=cancelled_at)


def _failed(
    due_at: datetime,
    tries: Sequence[Try],
    failure: Failure,
    outcome: Outcome,
    *,
    settled_at: datetime | None,
) -> DestinationState:
    return replace(
        _queued(due_at, tries),
        status=DestinationStatus.FAILED,
        outcome=outcome,
        error=failure.message,
        error_category=failure.category,
        error_code=failure.code,
        settled_at=settled_at,
        verifiable_at=settled_at if outcome is Outcome.UNKNOWN else None,
        due_day=due_day(due_at),
    )


def _last_failure(tries: Sequence[Try]) -> Failure:
    failure = tries[-1].failure
    if failure is None:
        raise ValueError("the last try did not fail")
    return failure


def _queued(
    due_at: datetime | None,
    tries: Iterable[Try],
    *,
    round_started_at: datetime | None = None,
) -> DestinationState:
    """After these tries, claimable by nobody: what every other state is made from."""
    started = [each for each in tries if each.kind is AttemptKind.REGULAR]
    round_started_at = round_started_at or due_at
    return DestinationState(
        status=DestinationStatus.QUEUED,
        due_at=due_at,
        claimable_at=None,
        attempts=len(started),
        round_attempts=sum(_counts(each, round_started_at) for each in started),
        round_started_at=round_started_at,
        fence=max((each.fence for each in started), default=0),
    )


def _counts(attempt: Try, round_started_at: datetime | None) -> bool:
    """Whether it counts towards the round's limit of attempts: a rate-limited one does not."""
    in_round = round_started_at is not None and attempt.started_at >= round_started_at
    return in_round and not attempt.rate_limited
