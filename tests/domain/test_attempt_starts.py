"""What comes of a claim: started, extended, released, lost. Every state, and the whole of what is stored."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.attempts import Attempt, AttemptKind
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.errors import LeaseLost
from app.domain.reports import expire_lease, release_claim, require_lease, start_attempt
from app.domain.settlement import Receipt, Transition
from app.domain.transitions import claimed, extended, verification_claimed
from tests.domain.attempt_histories import (
    AFTER_LEASE,
    DURING_LEASE,
    LEASE_EXPIRED,
    LEASE_LOST_MESSAGE,
    NEW_ATTEMPT_ID,
    SECOND,
    current_lease,
    failed_state,
    make_history,
    make_lease,
    report_context,
    result_or_error,
    with_lost_attempt,
    without_lease,
)
from tests.domain.destination_states import (
    ALL_STATES,
    NEVER_ATTEMPTED,
    PUBLISHED,
    RETRY_SCHEDULED,
    SUBMITTED,
    UNKNOWN,
)
from tests.factories import NOW

CLAIMED = {name: ALL_STATES[name] for name in ("claimed", "claimed after a failure")}
STARTED = {name: ALL_STATES[name] for name in ("started", "started after several failures")}
LEASED_STATES = CLAIMED | STARTED
LEASE_LOST = ("lease_lost", LEASE_LOST_MESSAGE)
all_states = pytest.mark.parametrize("name", ALL_STATES)


def expected_attempt(state: DestinationState, worker: str | None, at: datetime) -> Attempt:
    return Attempt(
        id=NEW_ATTEMPT_ID,
        kind=AttemptKind.REGULAR,
        number=state.attempts + 1,
        fence=state.fence,
        attempt_key=None,
        worker=worker,
        started_at=at,
    )


def start_command(name: str, now: datetime) -> tuple[object, Attempt | None]:
    """What comes of a start with the state's own lease."""
    state, begun = ALL_STATES[name], []

    def start() -> Transition:
        recorded, attempt = start_attempt(
            state,
            make_history(state),
            report_context(current_lease(state), now),
            worker="w",
            blocking_reason=None,
        )
        begun.append(attempt)
        return recorded

    told = result_or_error(start)
    return told, begun[0] if begun else None


@all_states
def test_a_claim_is_started_once_and_by_its_holder_alone(name: str) -> None:
    state = ALL_STATES[name]
    told, attempt = start_command(name, DURING_LEASE)

    if name in CLAIMED:
        assert attempt == expected_attempt(state, "w", DURING_LEASE)
        assert told == Transition(
            state=replace(
                state,
                claimable_at=None,
                started_at=DURING_LEASE,
                attempts=state.attempts + 1,
                round_attempts=state.round_attempts + 1,
            ),
            attempts=(attempt,),
        )
    elif name in STARTED:
        assert attempt == make_history(state).attempts[-1]
        assert told == Transition(state=state, receipt=Receipt.REPEATED)
    else:
        assert (told, attempt) == (LEASE_LOST, None)


@all_states
def test_a_lease_that_has_ended_starts_nothing(name: str) -> None:
    assert start_command(name, AFTER_LEASE) == (LEASE_LOST, None)
    early, _ = start_command(name, AFTER_LEASE - SECOND)
    assert (early == LEASE_LOST) == (name not in LEASED_STATES)


@all_states
@pytest.mark.parametrize("fence", [0, 1, 2, 9])
def test_a_lease_of_another_claim_starts_releases_and_extends_nothing(
    name: str, fence: int
) -> None:
    state, other = ALL_STATES[name], make_lease(fence)
    history = make_history(state)

    assert (
        result_or_error(
            lambda: start_attempt(
                state, history, report_context(other), worker=None, blocking_reason=None
            )[0]
        )
        == LEASE_LOST
    )
    assert (
        result_or_error(lambda: Transition(state=release_claim(state, other, DURING_LEASE)))
        == LEASE_LOST
    )
    with pytest.raises(LeaseLost):
        require_lease(state, other, DURING_LEASE)


@all_states
def test_a_lease_is_extended_or_cut_short_by_its_holder_while_it_lasts(name: str) -> None:
    state = ALL_STATES[name]
    if name not in LEASED_STATES:
        with pytest.raises(LeaseLost):
            require_lease(state, current_lease(state), DURING_LEASE)
        return
    require_lease(state, current_lease(state), DURING_LEASE)
    with pytest.raises(LeaseLost):
        require_lease(state, current_lease(state), AFTER_LEASE)
    for until in (DURING_LEASE + SECOND, AFTER_LEASE + SECOND):
        claimable_at = until if name in CLAIMED else None
        assert extended(state, until) == replace(
            state, lease_expires_at=until, claimable_at=claimable_at
        )


@all_states
def test_a_claim_is_released_by_its_holder_until_it_is_started(name: str) -> None:
    state = ALL_STATES[name]
    told = result_or_error(
        lambda: Transition(state=release_claim(state, current_lease(state), DURING_LEASE))
    )

    if name in CLAIMED:
        retry_at = None if state.error is None else DURING_LEASE
        assert told == Transition(
            state=without_lease(
                state,
                status=DestinationStatus.QUEUED,
                claimable_at=retry_at or state.due_at,
                next_retry_at=retry_at,
            )
        )
    elif name in STARTED:
        assert told == (
            "conflict",
            "The attempt was started, so it cannot be released. Report its outcome.",
        )
    else:
        assert told == LEASE_LOST
    late = result_or_error(
        lambda: Transition(state=release_claim(state, current_lease(state), AFTER_LEASE))
    )
    assert late == LEASE_LOST


@all_states
def test_a_lease_that_has_ended_is_anybodys_or_its_outcome_is_unknown(name: str) -> None:
    state, history = ALL_STATES[name], make_history(ALL_STATES[name])
    assert expire_lease(state, history, AFTER_LEASE - SECOND) is None
    lost = expire_lease(state, history, AFTER_LEASE)

    if name in CLAIMED:
        retry_at = None if state.error is None else AFTER_LEASE
        assert lost == Transition(
            state=without_lease(
                state,
                status=DestinationStatus.QUEUED,
                claimable_at=retry_at or state.due_at,
                next_retry_at=retry_at,
            )
        )
    elif name in STARTED:
        ended = history.attempts[-1].ended(Outcome.UNKNOWN, LEASE_EXPIRED, AFTER_LEASE)
        assert lost == Transition(
            state=failed_state(
                state,
                LEASE_EXPIRED,
                AFTER_LEASE,
                outcome=Outcome.UNKNOWN,
                verifiable_at=AFTER_LEASE,
            ),
            attempts=(ended,),
        )
    else:
        assert lost is None


@pytest.mark.parametrize("name", STARTED)
def test_a_started_one_whose_attempt_nobody_logged_is_unknown_too(name: str) -> None:
    state = ALL_STATES[name]
    lost = expire_lease(state, replace(make_history(state), attempts=[]), AFTER_LEASE)
    assert lost == Transition(
        state=failed_state(
            state, LEASE_EXPIRED, AFTER_LEASE, outcome=Outcome.UNKNOWN, verifiable_at=AFTER_LEASE
        )
    )


@pytest.mark.parametrize("name", [*NEVER_ATTEMPTED, *RETRY_SCHEDULED])
def test_what_is_claimed_has_the_next_fence_and_is_anybodys_when_its_lease_ends(name: str) -> None:
    state = ALL_STATES[name]
    assert claimed(state, UUID(int=5), AFTER_LEASE) == replace(
        state,
        status=DestinationStatus.PUBLISHING,
        claimable_at=AFTER_LEASE,
        next_retry_at=None,
        fence=state.fence + 1,
        lease_token=UUID(int=5),
        lease_expires_at=AFTER_LEASE,
    )


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_somebody_looks_at_keeps_its_fence(name: str) -> None:
    state = ALL_STATES[name]
    assert verification_claimed(state, UUID(int=5), AFTER_LEASE) == replace(
        state, verifiable_at=AFTER_LEASE, verification_token=UUID(int=5)
    )


@pytest.mark.parametrize("name", SUBMITTED)
def test_a_history_tells_attempts_apart_by_fence_and_key(name: str) -> None:
    _, history, stale = with_lost_attempt(SUBMITTED[name])

    assert history.attempt_by_fence(stale.fence) is history.attempts[0]
    assert history.attempt_by_fence(99) is None
    assert history.attempt_by_key("k") is None
    assert history.has_report(stale.fence, Outcome.UNKNOWN)
    assert not history.has_report(stale.fence, Outcome.PUBLISHED)
    assert not history.has_publication(stale.fence)
    assert any(map(history.has_publication, range(9))) == (name in PUBLISHED)
    assert history.count_failures_since(NOW + SECOND) == 0
    assert history.count_failures_since(None) == history.count_failures_since(NOW)
