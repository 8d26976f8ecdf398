"""Invariants of a destination under any sequence of commands by publishers and people."""

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
from app.domain.external_attempts import ExternalAttempt, record_external_attempt
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
from app.domain.settlement import History, Receipt, Transition
from app.domain.transitions import cancelled, claimed, retried, verification_claimed
from app.domain.verification import VerificationFinding, reconcile, report_verified
from tests.domain.attempt_histories import (
    PUBLICATION,
    RETRY_DECIDER,
    SECOND,
    TIMEOUT,
    make_failure,
    make_lease,
)
from tests.factories import NOW, queued

MINUTE = timedelta(minutes=1)
Command = Callable[["StoredDestination"], Transition]


@dataclass
class StoredDestination:
    """A stored destination, its log, and all leases ever issued for it."""

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
        """Store a transition as the database does; an attempt is ended only once."""
        stored = {attempt.id: attempt for attempt in self.attempts}
        for attempt in transition.attempts:
            before = stored.get(attempt.id)
            assert before is None or before.outcome is Outcome.NONE, "attempt ended twice"
            stored[attempt.id] = attempt
        self.attempts = list(stored.values())
        self.evidence += [transition.evidence] if transition.evidence else []
        self.state = transition.state


def claim_if_due(stored: StoredDestination) -> Transition:
    claimable_at = stored.state.claimable_at
    if claimable_at is None or claimable_at > stored.now:
        return Transition(state=stored.state)
    expired = expire_lease(stored.state, stored.history, stored.now)
    state = expired.state if expired else stored.state
    lease = make_lease(state.fence + 1, stored.new_id())
    stored.leases.append(lease)
    return Transition(state=claimed(state, lease.token, stored.now + MINUTE))


def claim_verification_if_due(stored: StoredDestination) -> Transition:
    verifiable_at = stored.state.verifiable_at
    if verifiable_at is None or verifiable_at > stored.now:
        return Transition(state=stored.state)
    lease = make_lease(stored.state.fence, stored.new_id())
    stored.verification_leases.append(lease)
    return Transition(state=verification_claimed(stored.state, lease.token, stored.now + MINUTE))


def settle_expired(stored: StoredDestination) -> Transition:
    return expire_lease(stored.state, stored.history, stored.now) or Transition(state=stored.state)


def cancel_or_retry(stored: StoredDestination) -> Transition:
    """Cancel a queued destination, or force a retry of a failed one."""
    match stored.state.status:
        case DestinationStatus.QUEUED:
            return Transition(state=cancelled(stored.state, stored.now))
        case DestinationStatus.FAILED:
            return Transition(state=retried(stored.state, stored.now))
        case _:
            return Transition(state=stored.state)


def wait_command(duration: timedelta) -> Command:
    def wait(stored: StoredDestination) -> Transition:
        stored.now += duration
        return Transition(state=stored.state)

    return wait


Report = Callable[[DestinationState, History, ReportContext], Transition]


def lease_command(
    report: Report,
    issued_leases: Callable[[StoredDestination], list[Lease]] = lambda stored: stored.leases,
) -> st.SearchStrategy[Command]:
    """Report with one of the latest three leases, most often the last one."""

    def command_for(index: int) -> Command:
        def run(stored: StoredDestination) -> Transition:
            leases = issued_leases(stored)
            lease = leases[max(index, -len(leases))]
            return report(stored.state, stored.history, stored.report_context(lease))

        return run

    return st.sampled_from([-1, -1, -1, -2, -3]).map(command_for)


def failure_command(category: ErrorCategory) -> st.SearchStrategy[Command]:
    return lease_command(
        lambda state, history, context: report_failed(
            state, history, context, make_failure(category), RETRY_DECIDER
        )
    )


def verification_command(finding: VerificationFinding) -> st.SearchStrategy[Command]:
    publication = PUBLICATION if finding is VerificationFinding.PUBLISHED else None
    return lease_command(
        lambda state, history, context: report_verified(
            state, history, context, finding, publication, RETRY_DECIDER
        ),
        lambda stored: stored.verification_leases,
    )


def external_attempt_command(details: Publication | Failure) -> st.SearchStrategy[Command]:
    def command_for(key: str) -> Command:
        def run(stored: StoredDestination) -> Transition:
            attempt = ExternalAttempt(
                attempt_key=key,
                worker=None,
                started_at=stored.now,
                outcome=Outcome.PUBLISHED if details is PUBLICATION else Outcome.FAILED,
                details=details,
            )
            return record_external_attempt(
                stored.state,
                stored.history,
                attempt,
                RETRY_DECIDER,
                new_id=stored.new_id,
                now=stored.now,
            )

        return run

    return st.sampled_from(["a", "b", "c"]).map(command_for)


REPORTS = st.one_of(
    lease_command(
        lambda state, history, context: report_published(state, history, context, PUBLICATION)
    ),
    *map(failure_command, ErrorCategory),
    lease_command(lambda state, history, context: report_unknown(state, history, context, TIMEOUT)),
    external_attempt_command(PUBLICATION),
    external_attempt_command(TIMEOUT),
)
STARTS = lease_command(
    lambda state, history, context: start_attempt(
        state, history, context, worker=None, blocking_reason=None
    )[0]
)
COMMANDS = st.one_of(
    st.just(claim_if_due),
    STARTS,
    REPORTS,
    st.sampled_from([claim_if_due, claim_verification_if_due, settle_expired, cancel_or_retry]),
    st.sampled_from([SECOND, MINUTE, timedelta(hours=30)]).map(wait_command),
    lease_command(release_claim),
    *map(verification_command, VerificationFinding),
    st.sampled_from([PUBLICATION, None]).map(
        lambda publication: lambda stored: reconcile(stored.state, publication, stored.now)
    ),
)


def assert_invariants(before: DestinationState, stored: StoredDestination) -> None:
    """Assert what `DestinationState` itself does not check."""
    after = stored.state
    numbered = [a for a in stored.attempts if a.number is not None]
    running = [a for a in numbered if a.outcome is Outcome.NONE]
    assert after.fence >= before.fence
    assert after.attempts >= before.attempts
    assert after.attempts == len(numbered)
    assert sorted(a.number or 0 for a in numbered) == list(range(1, len(numbered) + 1))
    assert len({a.fence for a in numbered}) == len(numbered)
    assert all(a.kind is not AttemptKind.LATE for a in numbered)
    assert all(a.fence is not None and a.fence <= after.fence for a in stored.attempts)
    assert [a.fence for a in running] == ([] if after.started_at is None else [after.fence])
    if before.status is DestinationStatus.PUBLISHED:
        assert replace(after, fence=before.fence) == before
    counted = [evidence for evidence in stored.evidence if evidence.counted]
    assert len(counted) == (after.status is DestinationStatus.PUBLISHED)
    assert bool(stored.evidence) == bool(counted)
    assert len({evidence.fence for evidence in stored.evidence}) == len(stored.evidence)


def apply_command(stored: StoredDestination, command: Command) -> Transition | None:
    """Store and return the transition; None for an error, which changes nothing."""
    before = snapshot(stored)
    try:
        transition = command(stored)
    except PostResultsError:
        assert snapshot(stored) == before
        return None
    stored.store(transition)
    return transition


def after_commands(commands: Sequence[Command]) -> StoredDestination:
    stored = StoredDestination()
    for command in commands:
        before = stored.state
        apply_command(stored, command)
        assert_invariants(before, stored)
    return stored


def snapshot(stored: StoredDestination) -> tuple[DestinationState, list[Attempt], list[Evidence]]:
    return stored.state, list(stored.attempts), list(stored.evidence)


@settings(max_examples=400)
@given(st.lists(COMMANDS, max_size=25))
def test_invariants_hold_after_any_commands(commands: Sequence[Command]) -> None:
    after_commands(commands)


@settings(max_examples=200)
@given(st.lists(COMMANDS, max_size=15), STARTS | REPORTS, st.timedeltas(timedelta(0), MINUTE))
def test_repeated_start_or_report_changes_nothing(
    commands: Sequence[Command], report: Command, delay: timedelta
) -> None:
    stored = after_commands(commands)
    if apply_command(stored, report) is None:
        return
    if stored.state.started_at is None:  # a running lease could expire
        stored.now += delay
    before = snapshot(stored)

    repeated = apply_command(stored, report)

    assert repeated == Transition(state=stored.state, receipt=Receipt.REPEATED)
    assert snapshot(stored) == before


@settings(max_examples=200)
@given(st.lists(COMMANDS, max_size=20))
def test_destination_is_never_stuck(commands: Sequence[Command]) -> None:
    """Time alone makes every destination claimable, verifiable or final."""
    stored = after_commands(commands)
    stored.now += timedelta(days=30)
    apply_command(stored, settle_expired)

    match stored.state:
        case DestinationState(status=DestinationStatus.QUEUED):
            assert apply_command(stored, claim_if_due) is not None
            assert stored.state.status is DestinationStatus.PUBLISHING
        case DestinationState(outcome=Outcome.UNKNOWN):
            apply_command(stored, claim_verification_if_due)
            assert stored.state.verification_token == stored.verification_leases[-1].token
        case state:
            assert state.status.is_final
