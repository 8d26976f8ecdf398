"""How long a lease counts as held."""

from datetime import timedelta

import pytest

from app.worker.lease_renewal import LeaseTimer


class ManualMonotonic:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("length", "held"), [(60, 55), (30, 25), (6, 5), (1.5, 1.25)])
def test_a_lease_counts_as_lost_before_its_end(length: float, held: float) -> None:
    elapsed = ManualMonotonic()
    hold = LeaseTimer(timedelta(seconds=length), requested_at=100.0, monotonic=elapsed)
    assert (hold.seconds_left(), hold.is_held) == (held, True)

    elapsed.seconds = 100.0 + held
    assert (hold.seconds_left(), hold.is_held) == (0, False)


def test_it_is_reckoned_from_before_it_was_asked_for() -> None:
    hold = LeaseTimer(timedelta(seconds=60), requested_at=90.0, monotonic=ManualMonotonic())
    assert hold.seconds_left() == 45

    hold.extend(99.0)
    assert hold.seconds_left() == 54
