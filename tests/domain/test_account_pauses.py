"""Pauses of accounts: when they begin, and how long they last."""

from datetime import timedelta

import pytest

from app.domain.account_pauses import RemainingCalls, pause_end
from tests.factories import NOW

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


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
