"""Tests of the lease timer."""

from datetime import timedelta

import pytest

from app.worker.lease_renewal import LeaseTimer
from tests.worker.worker_bench import FakeClock


@pytest.mark.parametrize(("duration", "held"), [(60, 55), (30, 25), (6, 5), (1.5, 1.25)])
def test_lease_counts_as_lost_a_margin_before_it_expires(duration: float, held: float) -> None:
    clock = FakeClock()
    timer = LeaseTimer(timedelta(seconds=duration), requested_at=0.0, monotonic=clock.monotonic)
    assert (timer.seconds_left(), timer.is_held) == (held, True)

    clock.seconds = held
    assert (timer.seconds_left(), timer.is_held) == (0, False)


def test_lease_time_counts_from_before_its_request() -> None:
    timer = LeaseTimer(timedelta(seconds=60), requested_at=-10.0, monotonic=FakeClock().monotonic)
    assert timer.seconds_left() == 45

    timer.renew(-1.0)
    assert timer.seconds_left() == 54
