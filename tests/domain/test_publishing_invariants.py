"""Whatever publishers and people say, in any order and at any time: what is always so of a destination."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.attempts import Attempt, AttemptKind, Evidence, Failure, Publication
from app.domain.destinations import DestinationState, DestinationStatus, ErrorCategory, Outcome
from app.domain.errors import PostResultsError
from app.domain.leases import Lease
from app.domain.reports import (
    ReportContext,
    expire_lease,
    release_claim,
    report_failed,
    report_published,
    report_unknown,
    start_attempt,
)
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import History, Receipt, RetryDecider, Transition
from app.domain.transitions import cancelled, claimed, retried, verification_claimed
from app.domain.verification import (
    ExternalAttempt,
    VerificationFinding,
    reconcile,
    record_external_attempt,
    report_verified,
)
from tests.domain.attempt_histories import PUBLICATION, SECOND, TIMEOUT, make_lease
from tests.factories import NOW, queued

MINUTE = timedelta(minutes=1)
Command = Callable[["StoredDestination"], Transition]


@dataclass
class StoredDestination:
    """A destination as it is stored, and all that publishers were ever given of it."""

    state: DestinationState = field(default_factory=queued)
    attempts: list[Attempt] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=lambda: [make_lease(0)])
    verification_leases: list[Lease] = field(default_factory=lambda: [make_lease(0)])
    now: datetime = NOW
    ids: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def history(self) -> History:
        return History("x", list(self.attempts), list(self.evidence))

    def new_id(self) -> UUID:
        return UUID(int=next(self.ids))

    def report_context(self, lease: Lease) -> ReportContext:
        return ReportContext(lease, self.new_id, self.now)

    def store(self, transition: Transition) -> None:
        """As the database does, whose unique keys are asserted."""
        known = {each.id: each for each in self.attempts}
        for each in transition.attempts:
            before = known.get(each.id)
            assert before is None or before.outcome is Outcome.NONE, "an attempt ends once"
            known[each.id] = each
        self.attempts = list(known.values())
        self.evidence += [transition.evidence] if transition.evidence else []
        self.state = transition.state


retry_context_strategy = RetryDecider(DEFAULT_POLICIES, lambda: 0.5)


def make_failure(category: ErrorCategory) -> Failure:
    return replace(TIMEOUT, category=category, code=category.name)


def claim(stored: StoredDestination) -> Transition:
    at = stored.state.claimable_at
    if at is None or at > stored.now:
        return Transition(state=stored.state)
    lost = expire_lease(stored.state, stored.history, stored.now)
    free = lost.state if lost else stored.state
    stored.leases.append(make_lease(free.fence + 1, stored.new_id()))
    return Transition(state=claimed(free, stored.leases[-1].token, stored.now + MINUTE))


def claim_verification(stored: StoredDestination) -> Transition:
    at = stored.state.verifiable_at
    if at is None or at > stored.now:
        return Transition(state=stored.state)
    stored.verification_leases.append(make_lease(stored.state.fence, stored.new_id()))
    return Transition(
        state=verification_claimed(
            stored.state, stored.verification_leases[-1].token, stored.now + MINUTE
        )
    )


def settle_expired(stored: StoredDestination) -> Transition:
    return expire_lease(stored.state, stored.history, stored.now) or Transition(state=stored.state)


def edit_or_retry(stored: StoredDestination) -> Transition:
    """A cancellation of what waits, or a forced retry of what has failed."""
    match stored.state.status:
        case DestinationStatus.QUEUED:
            return Transition(state=cancelled(stored.state, stored.now))
        case DestinationStatus.FAILED:
            return Transition(state=retried(stored.state, stored.now))
        case _:
            return Transition(state=stored.state)


def wait_command(duration: timedelta) -> Command:
    def later(kept: StoredDestination) -> Transition:
        kept.now += duration
        return Transition(state=kept.state)

    return later


def lease_command(
    tell: Callable[[StoredDestination, ReportContext], Transition],
) -> st.SearchStrategy[Command]:
    """By one of the latest three leases, the last one more often."""
    return st.sampled_from([-1, -1, -1, -2, -3]).map(
        lambda place: (
            lambda kept: tell(kept, kept.report_context(kept.leases[max(place, -len(kept.leases))]))
        )
    )


def verification_command(finding: VerificationFinding) -> st.SearchStrategy[Command]:
    where = PUBLICATION if finding is VerificationFinding.PUBLISHED else None
    return st.sampled_from([-1, -1, -2]).map(
        lambda place: (
            lambda kept: report_verified(
                kept.state,
                kept.history,
                kept.report_context(
                    kept.verification_leases[max(place, -len(kept.verification_leases))]
                ),
                finding,
                where,
                retry_context_strategy,
            )
        )
    )


def external_result_command(told: Publication | Failure) -> st.SearchStrategy[Command]:
    return st.sampled_from(["a", "b", "c"]).map(
        lambda key: (
            lambda kept: record_external_attempt(
                kept.state,
                kept.history,
                ExternalAttempt(
                    attempt_key=key,
                    worker=None,
                    started_at=kept.now,
                    outcome=Outcome.PUBLISHED if told is PUBLICATION else Outcome.FAILED,
                    details=told,
                ),
                retry_context_strategy,
                new_id=kept.new_id,
                now=kept.now,
            )
        )
    )


REPORTS = st.one_of(
    lease_command(lambda kept, of: report_published(kept.state, kept.history, of, PUBLICATION)),
    *(
        lease_command(
            lambda kept, of, category=category: report_failed(  # type: ignore[misc]
                kept.state, kept.history, of, make_failure(category), retry_context_strategy
            )
        )
        for category in ErrorCategory
    ),
    lease_command(lambda kept, of: report_unknown(kept.state, kept.history, of, TIMEOUT)),
    external_result_command(PUBLICATION),
    external_result_command(TIMEOUT),
)
STARTS = lease_command(
    lambda kept, of: start_attempt(kept.state, kept.history, of, worker=None, blocking_reason=None)[
        0
    ]
)
COMMANDS = st.one_of(
    st.just(claim),
    STARTS,
    REPORTS,
    st.sampled_from([claim, claim_verification, settle_expired, edit_or_retry]),
    st.sampled_from([SECOND, MINUTE, timedelta(hours=30)]).map(wait_command),
    lease_command(
        lambda kept, of: Transition(state=release_claim(kept.state, of.lease, of.now)),
    ),
    *map(verification_command, VerificationFinding),
    st.sampled_from([PUBLICATION, None]).map(
        lambda where: lambda kept: reconcile(kept.state, where, kept.now)
    ),
)


def assert_invariants(before: DestinationState, stored: StoredDestination) -> None:
    """A state that is impossible cannot be made; the rest is said here."""
    after = stored.state
    regular = [each for each in stored.attempts if each.kind is AttemptKind.REGULAR]
    running = [each for each in regular if each.outcome is Outcome.NONE]
    assert after.fence >= before.fence
    assert after.attempts >= before.attempts
    assert after.attempts == len(regular)
    assert sorted(each.number or 0 for each in regular) == list(range(1, len(regular) + 1))
    assert len({each.fence for each in regular}) == len(regular)
    assert all(each.fence is not None and each.fence <= after.fence for each in stored.attempts)
    assert [each.fence for each in running] == ([] if after.started_at is None else [after.fence])
    if before.status is DestinationStatus.PUBLISHED:
        assert replace(after, fence=before.fence) == before
    counting = [each for each in stored.evidence if each.counted]
    assert len(counting) == (after.status is DestinationStatus.PUBLISHED)
    assert bool(stored.evidence) == bool(counting)
    assert len({each.fence for each in stored.evidence}) == len(stored.evidence)


def apply_command(stored: StoredDestination, command: Command) -> Transition | None:
    """What was stored; None for a refusal, after which nothing has changed."""
    before = snapshot(stored)
    try:
        recorded = command(stored)
    except PostResultsError:
        assert (stored.state, stored.attempts, stored.evidence) == before
        return None
    stored.store(recorded)
    return recorded


def snapshot(stored: StoredDestination) -> tuple[DestinationState, list[Attempt], list[Evidence]]:
    return stored.state, list(stored.attempts), list(stored.evidence)


@settings(max_examples=400)
@given(st.lists(COMMANDS, max_size=25))
def test_whatever_is_said_the_record_stays_sound(commands: Sequence[Command]) -> None:
    kept = StoredDestination()
    for command in commands:
        before = kept.state
        apply_command(kept, command)
        assert_invariants(before, kept)


@settings(max_examples=200)
@given(st.lists(COMMANDS, max_size=15), STARTS | REPORTS, st.timedeltas(timedelta(0), MINUTE))
def test_a_start_or_a_report_that_is_repeated_changes_nothing(
    commands: Sequence[Command], report: Command, later: timedelta
) -> None:
    kept = StoredDestination()
    for command in commands:
        apply_command(kept, command)
    if apply_command(kept, report) is None:
        return
    if kept.state.started_at is None:  # a lease that runs may end
        kept.now += later
    before = snapshot(kept)

    again = apply_command(kept, report)

    assert again == Transition(state=kept.state, receipt=Receipt.REPEATED)
    assert snapshot(kept) == before


@settings(max_examples=200)
@given(st.lists(COMMANDS, max_size=20))
def test_whatever_is_said_it_can_still_be_published_or_somebody_has_to_look(
    commands: Sequence[Command],
) -> None:
    """Nothing is stuck: time alone leads from everywhere to a claim, a look, or an end."""
    kept = StoredDestination()
    for command in commands:
        apply_command(kept, command)
    kept.now += timedelta(days=30)
    apply_command(kept, settle_expired)

    match kept.state:
        case DestinationState(status=DestinationStatus.QUEUED):
            assert apply_command(kept, claim) is not None
            assert kept.state.status is DestinationStatus.PUBLISHING
        case DestinationState(outcome=Outcome.UNKNOWN):
            apply_command(kept, claim_verification)
            assert kept.state.verification_token == kept.verification_leases[-1].token
        case state:
            assert state.status.is_final
