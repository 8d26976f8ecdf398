"""Pauses of accounts: when they begin, how long they last, and what they postpone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.account_commands import postpone
from app.domain.account_pauses import RemainingCalls, pause_end, resumption_times
from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.ids import AccountId
from app.domain.transitions import postponed
from tests.domain.destination_states import ALL_STATES, LATER, MUCH_LATER, make_post
from tests.factories import NOW

UNTIL = MUCH_LATER + timedelta(hours=1)
MS, SECOND, HOUR = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("calls", "in_flight", "are_used_up"),
    [(0, 0, True), (0, 1, True), (1, 0, False), (1, 1, False), (1, 2, True), (4, 4, False)],
)
def test_remaining_calls_are_used_up_by_more_calls_in_flight(
    calls: int, in_flight: int, are_used_up: bool
) -> None:
    assert RemainingCalls(calls, SECOND).are_used_up_by(in_flight) is are_used_up


@pytest.mark.parametrize(
    ("resets_in", "pause"),
    [
        (None, 30 * SECOND),
        (timedelta(), SECOND),
        (-HOUR, SECOND),
        (290 * SECOND, 290 * SECOND),
        (365 * 24 * HOUR, 6 * HOUR),
        (timedelta.max, 6 * HOUR),
    ],
)
def test_pause_ends_at_the_reset_within_its_limits(
    resets_in: timedelta | None, pause: timedelta
) -> None:
    assert pause_end(resets_in, NOW) == NOW + pause


def random_numbers() -> Iterator[float]:
    yield from (0.75, 0.0, 0.999)


@pytest.mark.parametrize(
    ("pause", "offsets"),
    [(SECOND, [0, 75, 99]), (40 * SECOND, [0, 3000, 3996]), (HOUR, [0, 7500, 9990])],
)
def test_destinations_may_be_claimed_one_after_the_other_after_a_pause(
    pause: timedelta, offsets: list[int]
) -> None:
    numbers = random_numbers()
    times = resumption_times(NOW + pause, NOW, count=3, random=lambda: next(numbers))
    assert times == [NOW + pause + offset * MS for offset in offsets]


@pytest.mark.parametrize("state", ALL_STATES.values(), ids=ALL_STATES)
@pytest.mark.parametrize("now", [NOW - HOUR, NOW, LATER, MUCH_LATER])
def test_destination_of_paused_account_is_postponed_if_it_may_be_claimed(
    state: DestinationState, now: datetime
) -> None:
    post = make_post([state, state])
    claimable_at = state.claimable_at if state.status is DestinationStatus.QUEUED else None
    times = [time for time in (claimable_at, state.verifiable_at) if time is not None]
    after = postpone(post, AccountId(1), UNTIL, now)
    if times and times[0] <= now:
        first, second = post.destinations
        first = replace(first, state=postponed(state, UNTIL), updated_at=now)
        assert after == replace(post, destinations=(first, second), updated_at=now)
    else:
        assert after is post
    assert postpone(post, AccountId(3), UNTIL, now) is post
