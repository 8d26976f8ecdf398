"""What comes of a claim: started, extended, released, lost. Every state, and the whole of what is stored."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from app.domain.attempts import Attempt, AttemptKind
from app.domain.destinations import DestinationState, DestinationStatus, Outcome
from app.domain.endings import Receipt, Recorded
from app.domain.errors import LeaseLost
from app.domain.publishing import lose_lease, release_claim, require_lease, start_attempt
from app.domain.transitions import claimed, extended, verifying
from tests.domain.histories import (
    AFTER,
    DURING,
    GONE,
    LOST,
    NEW,
    SECOND,
    as_failed,
    free,
    held,
    history_of,
    lease,
    outcome_of,
    report,
    with_stale,
)
from tests.domain.states import EVERY, PUBLISHED, SUBMITTED, UNKNOWN, UNTOUCHED, WAITING
from tests.factories import NOW

CLAIMED = {name: EVERY[name] for name in ("claimed", "claimed after a failure")}
STARTED = {name: EVERY[name] for name in ("started", "started after several failures")}
LEASED = CLAIMED | STARTED
LEASE_LOST = ("lease_lost", LOST)
every_state = pytest.mark.parametrize("name", EVERY)


def new_attempt(state: DestinationState, worker: str | None, at: datetime) -> Attempt:
    return Attempt(
        id=NEW,
        kind=AttemptKind.REGULAR,
        number=state.attempts + 1,
        fence=state.fence,
        attempt_key=None,
        worker=worker,
        started_at=at,
    )


def started_by(name: str, now: datetime) -> tuple[object, Attempt | None]:
    """What comes of a start with the state's own lease."""
    state, begun = EVERY[name], []

    def start() -> Recorded:
        recorded, attempt = start_attempt(
            state, history_of(state), report(held(state), now), worker="w", obstacle=None
        )
        begun.append(attempt)
        return recorded

    told = outcome_of(start)
    return told, begun[0] if begun else None


@every_state
def test_a_claim_is_started_once_and_by_its_holder_alone(name: str) -> None:
    state = EVERY[name]
    told, attempt = started_by(name, DURING)

    if name in CLAIMED:
        assert attempt == new_attempt(state, "w", DURING)
        assert told == Recorded(
            state=replace(
                state,
                claimable_at=None,
                started_at=DURING,
                attempts=state.attempts + 1,
                round_attempts=state.round_attempts + 1,
            ),
            attempts=(attempt,),
        )
    elif name in STARTED:
        assert attempt == history_of(state).attempts[-1]
        assert told == Recorded(state=state, receipt=Receipt.REPEATED)
    else:
        assert (told, attempt) == (LEASE_LOST, None)


@every_state
def test_a_lease_that_has_ended_starts_nothing(name: str) -> None:
    assert started_by(name, AFTER) == (LEASE_LOST, None)
    early, _ = started_by(name, AFTER - SECOND)
    assert (early == LEASE_LOST) == (name not in LEASED)


@every_state
@pytest.mark.parametrize("fence", [0, 1, 2, 9])
def test_a_lease_of_another_claim_starts_releases_and_extends_nothing(
    name: str, fence: int
) -> None:
    state, other = EVERY[name], lease(fence)
    history = history_of(state)

    assert (
        outcome_of(
            lambda: start_attempt(state, history, report(other), worker=None, obstacle=None)[0]
        )
        == LEASE_LOST
    )
    assert outcome_of(lambda: Recorded(state=release_claim(state, other, DURING))) == LEASE_LOST
    with pytest.raises(LeaseLost):
        require_lease(state, other, DURING)


@every_state
def test_a_lease_is_extended_or_cut_short_by_its_holder_while_it_lasts(name: str) -> None:
    state = EVERY[name]
    if name not in LEASED:
        with pytest.raises(LeaseLost):
            require_lease(state, held(state), DURING)
        return
    require_lease(state, held(state), DURING)
    with pytest.raises(LeaseLost):
        require_lease(state, held(state), AFTER)
    for until in (DURING + SECOND, AFTER + SECOND):
        claimable_at = until if name in CLAIMED else None
        assert extended(state, until) == replace(
            state, lease_expires_at=until, claimable_at=claimable_at
        )


@every_state
def test_a_claim_is_released_by_its_holder_until_it_is_started(name: str) -> None:
    state = EVERY[name]
    told = outcome_of(lambda: Recorded(state=release_claim(state, held(state), DURING)))

    if name in CLAIMED:
        retry_at = None if state.error is None else DURING
        assert told == Recorded(
            state=free(
                state,
                status=DestinationStatus.QUEUED,
                claimable_at=retry_at or state.due_at,
                next_retry_at=retry_at,
            )
        )
    elif name in STARTED:
        assert told == (
            "conflict",
            "The attempt was started. Report what came of it; it cannot be released.",
        )
    else:
        assert told == LEASE_LOST
    late = outcome_of(lambda: Recorded(state=release_claim(state, held(state), AFTER)))
    assert late == LEASE_LOST


@every_state
def test_a_lease_that_has_ended_is_anybodys_or_its_outcome_is_unknown(name: str) -> None:
    state, history = EVERY[name], history_of(EVERY[name])
    assert lose_lease(state, history, AFTER - SECOND) is None
    lost = lose_lease(state, history, AFTER)

    if name in CLAIMED:
        retry_at = None if state.error is None else AFTER
        assert lost == Recorded(
            state=free(
                state,
                status=DestinationStatus.QUEUED,
                claimable_at=retry_at or state.due_at,
                next_retry_at=retry_at,
            )
        )
    elif name in STARTED:
        ended = history.attempts[-1].ended(Outcome.UNKNOWN, GONE, AFTER)
        assert lost == Recorded(
            state=as_failed(state, GONE, AFTER, outcome=Outcome.UNKNOWN, verifiable_at=AFTER),
            attempts=(ended,),
        )
    else:
        assert lost is None


@pytest.mark.parametrize("name", STARTED)
def test_a_started_one_whose_attempt_nobody_logged_is_unknown_too(name: str) -> None:
    state = EVERY[name]
    lost = lose_lease(state, replace(history_of(state), attempts=[]), AFTER)
    assert lost == Recorded(
        state=as_failed(state, GONE, AFTER, outcome=Outcome.UNKNOWN, verifiable_at=AFTER)
    )


@pytest.mark.parametrize("name", [*UNTOUCHED, *WAITING])
def test_what_is_claimed_has_the_next_fence_and_is_anybodys_when_its_lease_ends(name: str) -> None:
    state = EVERY[name]
    assert claimed(state, UUID(int=5), AFTER) == replace(
        state,
        status=DestinationStatus.PUBLISHING,
        claimable_at=AFTER,
        next_retry_at=None,
        fence=state.fence + 1,
        lease_token=UUID(int=5),
        lease_expires_at=AFTER,
    )


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_somebody_looks_at_keeps_its_fence(name: str) -> None:
    state = EVERY[name]
    assert verifying(state, UUID(int=5), AFTER) == replace(
        state, verifiable_at=AFTER, verification_token=UUID(int=5)
    )


@pytest.mark.parametrize("name", SUBMITTED)
def test_a_history_tells_attempts_apart_by_fence_and_key(name: str) -> None:
    _, history, stale = with_stale(SUBMITTED[name])

    assert history.attempt(stale.fence) is history.attempts[0]
    assert history.attempt(99) is None
    assert history.with_key("k") is None
    assert history.tells(stale.fence, Outcome.UNKNOWN)
    assert not history.tells(stale.fence, Outcome.PUBLISHED)
    assert not history.is_evident(stale.fence)
    assert any(map(history.is_evident, range(9))) == (name in PUBLISHED)
    assert history.failures_since(NOW + SECOND) == 0
    assert history.failures_since(None) == history.failures_since(NOW)
