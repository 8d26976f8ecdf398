"""What a worker did, counted and told."""

import pytest

from app.domain.destinations import DestinationState
from app.worker.stats import AttemptResult, WorkerStats, attempt_result
from tests.factories import failed, published, unknown, waiting_for_retry


def test_every_change_is_told() -> None:
    told: list[str] = []
    tally = WorkerStats(lambda changed: told.append(str(changed)))
    tally.set_in_flight(2)
    tally.record(AttemptResult.WAITING)
    tally.record(AttemptResult.PUBLISHED)
    tally.set_in_flight(0)

    assert told == [
        "published 0 · failed 0 · waiting 0 · unknown 0 · in flight 2",
        "published 0 · failed 0 · waiting 1 · unknown 0 · in flight 2",
        "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 2",
        "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 0",
    ]


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        (published(), AttemptResult.PUBLISHED),
        (failed(), AttemptResult.FAILED),
        (waiting_for_retry(), AttemptResult.WAITING),
        (unknown(), AttemptResult.UNKNOWN),
    ],
)
def test_a_state_says_how_it_ended(state: DestinationState, ending: AttemptResult) -> None:
    assert attempt_result(state) is ending
