"""Pauses of accounts: when they begin, how long they last, and what they postpone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.account_commands import postpone
from app.domain.account_pauses import RemainingCalls, pause_end, resumption_times, should_postpone
from app.domain.accounts import AccountPublisher
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
    assert RemainingCalls(calls, SECOND).is_exhausted_by(in_flight) is are_used_up


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


@pytest.mark.parametrize(
    ("due_posts", "time_left", "should"),
    [
        (200, MS, True),
        (200, timedelta(), False),
        (200, -SECOND, False),
        (201, 5 * SECOND, False),
        (201, 5 * SECOND + MS, True),
    ],
)
def test_short_pause_postpones_no_more_posts_than_are_postponed_at_a_time(
    due_posts: int, time_left: timedelta, should: bool
) -> None:
    assert should_postpone(due_posts, time_left) is should


@pytest.mark.parametrize("state", ALL_STATES.values(), ids=ALL_STATES)
@pytest.mark.parametrize("now", [NOW - HOUR, NOW, LATER, MUCH_LATER])
def test_due_destination_of_paused_account_is_postponed(
    state: DestinationState, now: datetime
) -> None:
    external = make_post([state, state])
    assert postpone(external, AccountId(1), UNTIL, now) is external

    publisher = AccountPublisher.WEBHOOK
    destinations = tuple(replace(each, publisher=publisher) for each in external.destinations)
    post = replace(external, destinations=destinations)
    claimable_at = state.claimable_at if state.status is DestinationStatus.QUEUED else None
    after = postpone(post, AccountId(1), UNTIL, now)
    if claimable_at is not None and claimable_at <= now:
        first, second = post.destinations
        first = replace(first, state=postponed(state, UNTIL), updated_at=now)
        assert after == replace(post, destinations=(first, second), updated_at=now)
    else:
        assert after is post
    assert postpone(post, AccountId(3), UNTIL, now) is post
