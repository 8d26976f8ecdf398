"""Settling attempts: the state, attempts and evidence to store for each outcome.

Preconditions of a report, such as the lease, are checked in `reports` and `verification`.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure, Publication
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import OUTCOME_UNKNOWN
from app.domain.errors import LeaseLost
from app.domain.ids import IdFactory
from app.domain.retry_policy import RetryPolicies, next_retry
from app.domain.transitions import failed, published, retry_scheduled, unknown

DUPLICATE_CHECK_DELAY = timedelta(minutes=20)
"""Time after a publication in which requests of earlier attempts are delivered or given up.

Linux gives up sending data after about 16 minutes.
"""

MAX_DUPLICATE_AGE = timedelta(days=1)
"""Longest time from a publication to its duplicate.

What an attempt may have published is compared with the publications since this time before its start.
"""


class Receipt(StrEnum):
    """Way in which a report was processed."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    LATE = "late"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class History:
    """Stored attempts and evidence of a destination."""

    platform: str
    attempts: Sequence[Attempt]
    evidence: Sequence[Evidence]

    def attempt_by_fence(self, fence: int) -> Attempt | None:
        """Return the attempt of the claim with this fence, or None if it was not started."""
        regular = (attempt for attempt in self.attempts if attempt.kind is AttemptKind.REGULAR)
        return next((attempt for attempt in regular if attempt.fence == fence), None)

    def attempt_by_key(self, attempt_key: str) -> Attempt | None:
        return next((a for a in self.attempts if a.attempt_key == attempt_key), None)

    def has_report(self, fence: int, outcome: Outcome) -> bool:
        """Return whether a claim's outcome was reported before, in time or late."""
        return any((a.fence, a.outcome) == (fence, outcome) for a in self.attempts)

    def evidence_by_fence(self, fence: int | None) -> Evidence | None:
        """Return the first report of a publication by a claim, or None without one."""
        return next((each for each in self.evidence if each.fence == fence), None)

    @property
    def unconfirmed_fences(self) -> list[int]:
        """Fences of attempts that may have published, though no publication by them was reported."""
        unknown = {a.fence for a in self.attempts if a.outcome is Outcome.UNKNOWN}
        reported = {evidence.fence for evidence in self.evidence}
        return sorted(fence for fence in unknown - reported if fence is not None)

    def after(self, transition: "Transition") -> "History":
        """Return the history with the attempts and evidence of a transition."""
        attempts = {a.id: a for a in (*self.attempts, *transition.attempts)}
        written = (transition.evidence, transition.completed_evidence)
        evidence = {e.fence: e for e in (*self.evidence, *written) if e is not None}
        return replace(self, attempts=[*attempts.values()], evidence=[*evidence.values()])

    def count_failures_of_round(self, round_started_at: datetime | None) -> int:
        """Count the failed regular attempts since the start of a round, or all of them if it is None."""
        return sum(
            attempt.outcome is Outcome.FAILED
            and attempt.kind is AttemptKind.REGULAR
            and (round_started_at is None or attempt.started_at >= round_started_at)
            for attempt in self.attempts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Changes to a destination, stored in one transaction."""

    state: DestinationState
    receipt: Receipt = Receipt.RECORDED
    attempts: tuple[Attempt, ...] = ()
    """New attempts, and those that end by this transition."""
    evidence: Evidence | None = None
    """New evidence."""
    completed_evidence: Evidence | None = None
    """Stored evidence, with the id or the URL that a repeated report added."""
    auth_failed_attempt_started_at: datetime | None = None
    """Start of the attempt in which the platform rejected the account's access."""

    @property
    def has_unstarted_attempt(self) -> bool:
        """True if a publisher reported a publication without starting an attempt."""
        return any(attempt.kind is AttemptKind.UNSTARTED for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class RetryDecider:
    """Decides whether and when a failed attempt is retried, by the retry policies and with jitter."""

    policies: RetryPolicies
    random: Callable[[], float]
    """Returns a number from 0 to below 1."""
    has_backoff: bool = True
    """False for a destination that waits for a circuit breaker, and is due as soon as that closes."""

    def state_after_failure(
        self, state: DestinationState, history: History, failure: Failure, now: datetime
    ) -> DestinationState:
        """Return the state with a retry scheduled, or the failed state if the policy allows none."""
        policy = self.policies.policy_for(
            history.platform, failure.category, not_sent=failure.not_sent
        )
        if not policy.counts_attempts:
            state = replace(state, round_attempts=max(state.round_attempts - 1, 0))
        retry_at = next_retry(
            policy,
            failures=history.count_failures_of_round(state.round_started_at) + 1,
            counted_attempts=state.round_attempts,
            round_started_at=state.round_started_at or now,
            retry_after=failure.retry_after,
            random=self.random,
            now=now,
        )
        if retry_at is None:
            return failed(state, failure, now)
        if failure.not_sent and not self.has_backoff:
            retry_at = now
        # A publisher with its own queue may call the platform before the due time.
        return retry_scheduled(state, failure, max(retry_at, state.due_at or retry_at))


def lease_lost_error() -> LeaseLost:
    return LeaseLost("The lease has ended, or another client holds the destination.")


def settle_published(
    state: DestinationState,
    publication: Publication,
    *,
    fence: int,
    ended_attempts: Sequence[Attempt],
    now: datetime,
) -> Transition:
    """Settle a destination by its first published report; flag any further one as a duplicate.

    Raises LeaseLost for a draft's destination, unless `Post.resubmitted_for` was applied first.
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


def settle_repeated_publication(
    state: DestinationState,
    history: History,
    known: Evidence,
    publication: Publication,
    *,
    new_id: IdFactory,
    now: datetime,
) -> Transition:
    """Process a further report of a publication by the claim of `known`, its first report.

    The report completes the stored one of the same publication with the id or the URL that it lacked. If it
    certainly names a publication without a report, that one is a duplicate, which gets a fence of its own.
    """
    known = _report_of_same_publication(history, known, publication)
    if not publication.is_certainly_another(known.publication):
        publication = known.publication.completed_by(publication)
        if publication == known.publication:
            return Transition(state=state, receipt=Receipt.REPEATED)
        if known.counted:
            state = replace(
                state,
                platform_post_id=publication.platform_post_id,
                platform_post_url=publication.platform_post_url,
            )
        return Transition(
            state=state,
            receipt=Receipt.REPEATED,
            completed_evidence=replace(known, publication=publication),
        )
    return _settle_further_publication(
        state, history, known.fence, publication, new_id=new_id, now=now
    )


def _settle_further_publication(
    state: DestinationState,
    history: History,
    fence: int | None,
    publication: Publication,
    *,
    new_id: IdFactory,
    now: datetime,
) -> Transition:
    """Settle one more publication by the attempt with `fence`, which gets a fence of its own."""
    first = next((each for each in history.attempts if each.fence == fence), None)
    new_fence = state.fence + 1
    attempt = Attempt(
        id=new_id(),
        kind=AttemptKind.LATE,
        fence=new_fence,
        worker=None if first is None else first.worker,
        started_at=now if first is None else first.started_at,
    )
    return settle_published(
        replace(state, fence=new_fence),
        publication,
        fence=new_fence,
        ended_attempts=[attempt.ended(Outcome.PUBLISHED, None, now)],
        now=now,
    )


def _report_of_same_publication(
    history: History, first: Evidence, publication: Publication
) -> Evidence:
    """Return the stored report with the id of a publication, or with its URL; otherwise `first`."""
    reports = (first, *history.evidence)
    same = [each for each in reports if each.publication.has_same_id(publication)] or [
        each for each in reports if each.publication.has_same_url(publication)
    ]
    return same[0] if same else first


def first_attempt_to_check(
    history: History, transition: Transition, *, may_be_repeated: bool
) -> datetime | None:
    """Return the start of the first attempt of a destination whose publication may appear twice.

    None if the transition does not publish the destination, if no other attempt may publish it and the
    platform would not publish a repeated request again, and for a publication without its id on the
    platform, which could not be distinguished from a duplicate. Its id may follow by a later report.
    """
    evidence = transition.evidence or transition.completed_evidence
    if evidence is None or not evidence.counted or evidence.publication.platform_post_id is None:
        return None
    known = history.evidence_by_fence(evidence.fence)
    if known is not None and known.publication.platform_post_id is not None:
        return None
    history = history.after(transition)
    if not history.unconfirmed_fences and not may_be_repeated:
        return None
    return min((attempt.started_at for attempt in history.attempts), default=None)


def settle_duplicates(
    state: DestinationState,
    history: History,
    found: Sequence[Publication],
    *,
    reported: Set[str],
    new_id: IdFactory,
    now: datetime,
) -> list[Transition]:
    """Flag publications of a published destination that were found on its platform as duplicates.

    `reported` has the ids and URLs that are reported for any account of the platform user. Each duplicate
    is assigned to an attempt of unknown outcome. Further ones are of a request that the network repeated.
    """
    further = sorted(
        (
            each
            for each in found
            if reported.isdisjoint((each.platform_post_id, each.platform_post_url))
        ),
        key=lambda each: each.published_at,
    )
    unconfirmed = history.unconfirmed_fences
    counted = next((each.fence for each in history.evidence if each.counted), None)
    transitions: list[Transition] = []
    for publication in further:
        if unconfirmed:
            fence = unconfirmed.pop(0)
            transition = settle_published(
                state, publication, fence=fence, ended_attempts=[], now=now
            )
        else:
            transition = _settle_further_publication(
                state, history, counted, publication, new_id=new_id, now=now
            )
        state = transition.state
        transitions.append(transition)
    return transitions


def settle_failed(
    state: DestinationState,
    history: History,
    attempt: Attempt,
    failure: Failure,
    retry_decider: RetryDecider,
    now: datetime,
) -> Transition:
    """End an attempt as failed, and schedule a retry if the retry policy allows one."""
    return Transition(
        state=retry_decider.state_after_failure(state, history, failure, now),
        attempts=(attempt.ended(Outcome.FAILED, failure, now),),
        auth_failed_attempt_started_at=attempt.started_at
        if failure.category is ErrorCategory.AUTH
        else None,
    )


def settle_unknown(
    state: DestinationState, attempt: Attempt, failure: Failure, now: datetime
) -> Transition:
    """End an attempt as unknown. The publisher's own category and code are replaced."""
    failure = replace(
        failure, category=ErrorCategory.UNCLASSIFIED, code=OUTCOME_UNKNOWN, not_sent=False
    )
    return Transition(
        state=unknown(state, failure, now),
        attempts=(attempt.ended(Outcome.UNKNOWN, failure, now),),
    )


def end_superseded_attempts(
    state: DestinationState, history: History, now: datetime
) -> list[Attempt]:
    """Return the attempt that runs under another lease, ended as unknown; an empty list if none runs."""
    running = None if state.started_at is None else history.attempt_by_fence(state.fence)
    return [] if running is None else [running.ended(Outcome.UNKNOWN, _SUPERSEDED, now)]


_SUPERSEDED = Failure(
    category=ErrorCategory.UNCLASSIFIED,
    code=OUTCOME_UNKNOWN,
    message="Another publisher reported an outcome while this attempt was running.",
)
