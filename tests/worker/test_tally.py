"""What a worker did, counted and told."""

import pytest

from app.domain.destinations import DestinationState
from app.worker.tally import Ending, Tally, ending_of
from tests.factories import failed, published, unknown, waiting_for_retry


def test_every_change_is_told() -> None:
    told: list[str] = []
    tally = Tally(lambda changed: told.append(str(changed)))
    tally.flying(2)
    tally.ended(Ending.WAITING)
    tally.ended(Ending.PUBLISHED)
    tally.flying(0)

    assert told == [
        "published 0 · failed 0 · waiting 0 · unknown 0 · in flight 2",
        "published 0 · failed 0 · waiting 1 · unknown 0 · in flight 2",
        "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 2",
        "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 0",
    ]


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        (published(), Ending.PUBLISHED),
        (failed(), Ending.FAILED),
        (waiting_for_retry(), Ending.WAITING),
        (unknown(), Ending.UNKNOWN),
    ],
)
def test_a_state_says_how_it_ended(state: DestinationState, ending: Ending) -> None:
    assert ending_of(state) is ending
