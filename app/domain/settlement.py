"""How what publishers do ends, and what is on record of it. Who tells, and whether one may, are elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure, Publication
from app.domain.destinations import (
    DestinationState,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import OUTCOME_UNKNOWN
from app.domain.errors import LeaseLost
from app.domain.retry_policy import RetryPolicies, next_retry
from app.domain.transitions import failed, published, retry_scheduled, unknown


class Receipt(StrEnum):
    """What became of a report."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    LATE = "late"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class History:
    """What is on record of a destination besides its state."""

    platform: str
    attempts: Sequence[Attempt]
    evidence: Sequence[Evidence]

    def attempt_by_fence(self, fence: int) -> Attempt | None:
        """The one of a claim, if it was started."""
        regular = (each for each in self.attempts if each.kind is AttemptKind.REGULAR)
        return next((each for each in regular if each.fence == fence), None)

    def attempt_by_key(self, attempt_key: str) -> Attempt | None:
        return next((each for each in self.attempts if each.attempt_key == attempt_key), None)

    def has_report(self, fence: int, outcome: Outcome) -> bool:
        """Whether this was reported of a claim before, in time or late."""
        return any((each.fence, each.outcome) == (fence, outcome) for each in self.attempts)

    def has_publication(self, fence: int) -> bool:
        """Whether it was reported of a claim that it published."""
        return any(each.fence == fence for each in self.evidence)

    def count_failures_since(self, round_started_at: datetime | None) -> int:
        """Those of a round that have failed."""
        return sum(
            each.outcome is Outcome.FAILED
            and each.kind is AttemptKind.REGULAR
            and (round_started_at is None or each.started_at >= round_started_at)
            for each in self.attempts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What is to be stored, all of it or nothing."""

    state: DestinationState
    receipt: Receipt = Receipt.RECORDED
    attempts: tuple[Attempt, ...] = ()
    """New ones, and those that end by this."""
    evidence: Evidence | None = None
    auth_failed_attempt_started_at: datetime | None = None
    """When the attempt began for which the platform refused the account."""


@dataclass(frozen=True, slots=True)
class RetryDecider:
    """By what it is decided whether and when a failure is tried again."""

    policies: RetryPolicies
    random: Callable[[], float]
    """From 0 to below 1."""


def lease_lost_error() -> LeaseLost:
    return LeaseLost("The lease has ended, or somebody else has the destination by now.")


def settle_published(
    state: DestinationState,
    publication: Publication,
    *,
    fence: int,
    ended_attempts: Sequence[Attempt],
    now: datetime,
) -> Transition:
    """The first report settles the destination, whatever was thought of it; another is a duplicate.

    LeaseLost of a draft's, which `Post.sent_after_all` makes one that can be published.
    """
    if state.due_at is None:
        raise lease_lost_error()
    is_first = state.status is not DestinationStatus.PUBLISHED
    return Transition(
        state=published(state, publication, now) if is_first else state,
        receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
        attempts=tuple(ended_attempts),
        evidence=Evidence(fence=fence, counted=is_first, publication=publication, reported_at=now),
    )


def settle_failed(
    state: DestinationState,
    history: History,
    attempt: Attempt,
    failure: Failure,
    retry_decider: RetryDecider,
    now: datetime,
) -> Transition:
    """The end of an attempt that counts, or does not, as its policy says."""
    policy = retry_decider.policies.policy_for(history.platform, failure.category)
    if not policy.counts_attempts:
        state = replace(state, round_attempts=max(state.round_attempts - 1, 0))
    retry_at = next_retry(
        policy,
        failures=history.count_failures_since(state.round_started_at) + 1,
        counted_attempts=state.round_attempts,
        round_started_at=state.round_started_at or now,
        retry_after=failure.retry_after,
        random=retry_decider.random,
        now=now,
    )
    if retry_at is not None and state.due_at is not None:
        retry_at = max(retry_at, state.due_at)  # elsewhere it may have been tried before its time
    after = (
        failed(state, failure, now)
        if retry_at is None
        else retry_scheduled(state, failure, retry_at)
    )
    return Transition(
        state=after,
        attempts=(attempt.ended(Outcome.FAILED, failure, now),),
        auth_failed_attempt_started_at=attempt.started_at
        if failure.category is ErrorCategory.AUTH
        else None,
    )


def settle_unknown(
    state: DestinationState, attempt: Attempt, failure: Failure, now: datetime
) -> Transition:
    """Perhaps published, whatever the publisher calls it."""
    failure = replace(failure, category=ErrorCategory.UNCLASSIFIED, code=OUTCOME_UNKNOWN)
    return Transition(
        state=unknown(state, failure, now),
        attempts=(attempt.ended(Outcome.UNKNOWN, failure, now),),
    )


def superseded_attempts(state: DestinationState, history: History, now: datetime) -> list[Attempt]:
    """The attempt that runs under another lease, ended: what it will report is late."""
    running = None if state.started_at is None else history.attempt_by_fence(state.fence)
    return [] if running is None else [running.ended(Outcome.UNKNOWN, _SUPERSEDED, now)]


_SUPERSEDED = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="Another publisher reported an outcome while this attempt was running.",
)
