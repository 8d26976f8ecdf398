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
from app.domain.transitions import failed, published, unknown, waiting


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


def lease_lost() -> LeaseLost:
    return LeaseLost("The lease has ended, or somebody else has the destination by now.")


def settle_published(
    state: DestinationState,
    where: Publication,
    *,
    fence: int,
    log: Sequence[Attempt],
    now: datetime,
) -> Recorded:
    """The first report settles the destination, whatever was thought of it; another is a duplicate.

    LeaseLost of a draft's, which `Post.sent_after_all` makes one that can be published.
    """
    if state.due_at is None:
        raise lease_lost()
    is_first = state.status is not DestinationStatus.PUBLISHED
    return Recorded(
        state=published(state, where, now) if is_first else state,
        receipt=Receipt.RECORDED if is_first else Receipt.DUPLICATE,
        attempts=tuple(log),
        evidence=Evidence(fence=fence, counted=is_first, publication=where, reported_at=now),
    )


def settle_failed(
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
    if retry_at is not None and state.due_at is not None:
        retry_at = max(retry_at, state.due_at)  # elsewhere it may have been tried before its time
    after = failed(state, failure, now) if retry_at is None else waiting(state, failure, retry_at)
    return Recorded(
        state=after,
        attempts=(attempt.ended(Outcome.FAILED, failure, now),),
        lost_access=attempt.started_at if failure.category is ErrorCategory.AUTH else None,
    )


def settle_unknown(
    state: DestinationState, attempt: Attempt, failure: Failure, now: datetime
) -> Recorded:
    """Perhaps published, whatever the publisher calls it."""
    failure = replace(failure, category=ErrorCategory.UNCLASSIFIED, code=OUTCOME_UNKNOWN)
    return Recorded(
        state=unknown(state, failure, now),
        attempts=(attempt.ended(Outcome.UNKNOWN, failure, now),),
    )


def overtaken(state: DestinationState, history: History, now: datetime) -> list[Attempt]:
    """The attempt that runs under another lease, ended: what it will report is late."""
    running = None if state.started_at is None else history.attempt(state.fence)
    return [] if running is None else [running.ended(Outcome.UNKNOWN, _OVERTAKEN, now)]


_OVERTAKEN = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="Another publisher reported an outcome while this attempt was running.",
)
