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
Command = Callable[["Kept"], Transition]


@dataclass
class Kept:
    """A destination as it is stored, and all that publishers were ever given of it."""

    state: DestinationState = field(default_factory=queued)
    attempts: list[Attempt] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=lambda: [make_lease(0)])
    looks: list[Lease] = field(default_factory=lambda: [make_lease(0)])
    now: datetime = NOW
    ids: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def history(self) -> History:
        return History("x", list(self.attempts), list(self.evidence))

    def new_id(self) -> UUID:
        return UUID(int=next(self.ids))

    def report(self, of: Lease) -> ReportContext:
        return ReportContext(of, self.new_id, self.now)

    def store(self, recorded: Transition) -> None:
        """As the database does, whose unique keys are asserted."""
        known = {each.id: each for each in self.attempts}
        for each in recorded.attempts:
            before = known.get(each.id)
            assert before is None or before.outcome is Outcome.NONE, "an attempt ends once"
            known[each.id] = each
        self.attempts = list(known.values())
        self.evidence += [recorded.evidence] if recorded.evidence else []
        self.state = recorded.state


rules = RetryDecider(DEFAULT_POLICIES, lambda: 0.5)


def failure(category: ErrorCategory) -> Failure:
    return replace(TIMEOUT, category=category, code=category.name)


def claim(kept: Kept) -> Transition:
    at = kept.state.claimable_at
    if at is None or at > kept.now:
        return Transition(state=kept.state)
    lost = expire_lease(kept.state, kept.history, kept.now)
    free = lost.state if lost else kept.state
    kept.leases.append(make_lease(free.fence + 1, kept.new_id()))
    return Transition(state=claimed(free, kept.leases[-1].token, kept.now + MINUTE))


def look(kept: Kept) -> Transition:
    at = kept.state.verifiable_at
    if at is None or at > kept.now:
        return Transition(state=kept.state)
    kept.looks.append(make_lease(kept.state.fence, kept.new_id()))
    return Transition(
        state=verification_claimed(kept.state, kept.looks[-1].token, kept.now + MINUTE)
    )


def tick(kept: Kept) -> Transition:
    return expire_lease(kept.state, kept.history, kept.now) or Transition(state=kept.state)


def by_hand(kept: Kept) -> Transition:
    """A cancellation of what waits, or a forced retry of what has failed."""
    match kept.state.status:
        case DestinationStatus.QUEUED:
            return Transition(state=cancelled(kept.state, kept.now))
        case DestinationStatus.FAILED:
            return Transition(state=retried(kept.state, kept.now))
        case _:
            return Transition(state=kept.state)


def wait(by: timedelta) -> Command:
    def later(kept: Kept) -> Transition:
        kept.now += by
        return Transition(state=kept.state)

    return later


def of_lease(tell: Callable[[Kept, ReportContext], Transition]) -> st.SearchStrategy[Command]:
    """By one of the latest three leases, the last one more often."""
    return st.sampled_from([-1, -1, -1, -2, -3]).map(
        lambda place: (
            lambda kept: tell(kept, kept.report(kept.leases[max(place, -len(kept.leases))]))
        )
    )


def of_look(finding: VerificationFinding) -> st.SearchStrategy[Command]:
    where = PUBLICATION if finding is VerificationFinding.PUBLISHED else None
    return st.sampled_from([-1, -1, -2]).map(
        lambda place: (
            lambda kept: report_verified(
                kept.state,
                kept.history,
                kept.report(kept.looks[max(place, -len(kept.looks))]),
                finding,
                where,
                rules,
            )
        )
    )


def elsewhere(told: Publication | Failure) -> st.SearchStrategy[Command]:
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
                rules,
                new_id=kept.new_id,
                now=kept.now,
            )
        )
    )


REPORTS = st.one_of(
    of_lease(lambda kept, of: report_published(kept.state, kept.history, of, PUBLICATION)),
    *(
        of_lease(
            lambda kept, of, category=category: report_failed(  # type: ignore[misc]
                kept.state, kept.history, of, failure(category), rules
            )
        )
        for category in ErrorCategory
    ),
    of_lease(lambda kept, of: report_unknown(kept.state, kept.history, of, TIMEOUT)),
    elsewhere(PUBLICATION),
    elsewhere(TIMEOUT),
)
STARTS = of_lease(
    lambda kept, of: start_attempt(kept.state, kept.history, of, worker=None, blocking_reason=None)[
        0
    ]
)
COMMANDS = st.one_of(
    st.just(claim),
    STARTS,
    REPORTS,
    st.sampled_from([claim, look, tick, by_hand]),
    st.sampled_from([SECOND, MINUTE, timedelta(hours=30)]).map(wait),
    of_lease(
        lambda kept, of: Transition(state=release_claim(kept.state, of.lease, of.now)),
    ),
    *map(of_look, VerificationFinding),
    st.sampled_from([PUBLICATION, None]).map(
        lambda where: lambda kept: reconcile(kept.state, where, kept.now)
    ),
)


def assert_sound(before: DestinationState, kept: Kept) -> None:
    """A state that is impossible cannot be made; the rest is said here."""
    after = kept.state
    regular = [each for each in kept.attempts if each.kind is AttemptKind.REGULAR]
    running = [each for each in regular if each.outcome is Outcome.NONE]
    assert after.fence >= before.fence
    assert after.attempts >= before.attempts
    assert after.attempts == len(regular)
    assert sorted(each.number or 0 for each in regular) == list(range(1, len(regular) + 1))
    assert len({each.fence for each in regular}) == len(regular)
    assert all(each.fence is not None and each.fence <= after.fence for each in kept.attempts)
    assert [each.fence for each in running] == ([] if after.started_at is None else [after.fence])
    if before.status is DestinationStatus.PUBLISHED:
        assert replace(after, fence=before.fence) == before
    counting = [each for each in kept.evidence if each.counted]
    assert len(counting) == (after.status is DestinationStatus.PUBLISHED)
    assert bool(kept.evidence) == bool(counting)
    assert len({each.fence for each in kept.evidence}) == len(kept.evidence)


def obeyed(kept: Kept, command: Command) -> Transition | None:
    """What was stored; None for a refusal, after which nothing has changed."""
    before = replace_lists(kept)
    try:
        recorded = command(kept)
    except PostResultsError:
        assert (kept.state, kept.attempts, kept.evidence) == before
        return None
    kept.store(recorded)
    return recorded


def replace_lists(kept: Kept) -> tuple[DestinationState, list[Attempt], list[Evidence]]:
    return kept.state, list(kept.attempts), list(kept.evidence)


@settings(max_examples=400)
@given(st.lists(COMMANDS, max_size=25))
def test_whatever_is_said_the_record_stays_sound(commands: Sequence[Command]) -> None:
    kept = Kept()
    for command in commands:
        before = kept.state
        obeyed(kept, command)
        assert_sound(before, kept)


@settings(max_examples=200)
@given(st.lists(COMMANDS, max_size=15), STARTS | REPORTS, st.timedeltas(timedelta(0), MINUTE))
def test_a_start_or_a_report_that_is_repeated_changes_nothing(
    commands: Sequence[Command], report: Command, later: timedelta
) -> None:
    kept = Kept()
    for command in commands:
        obeyed(kept, command)
    if obeyed(kept, report) is None:
        return
    if kept.state.started_at is None:  # a lease that runs may end
        kept.now += later
    before = replace_lists(kept)

    again = obeyed(kept, report)

    assert again == Transition(state=kept.state, receipt=Receipt.REPEATED)
    assert replace_lists(kept) == before


@settings(max_examples=200)
@given(st.lists(COMMANDS, max_size=20))
def test_whatever_is_said_it_can_still_be_published_or_somebody_has_to_look(
    commands: Sequence[Command],
) -> None:
    """Nothing is stuck: time alone leads from everywhere to a claim, a look, or an end."""
    kept = Kept()
    for command in commands:
        obeyed(kept, command)
    kept.now += timedelta(days=30)
    obeyed(kept, tick)

    match kept.state:
        case DestinationState(status=DestinationStatus.QUEUED):
            assert obeyed(kept, claim) is not None
            assert kept.state.status is DestinationStatus.PUBLISHING
        case DestinationState(outcome=Outcome.UNKNOWN):
            obeyed(kept, look)
            assert kept.state.verification_token == kept.looks[-1].token
        case state:
            assert state.status.is_final
