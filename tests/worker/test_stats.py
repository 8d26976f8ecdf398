"""Tests of a worker's counters."""

import pytest

from app.domain.destinations import DestinationState
from app.worker.stats import AttemptResult, WorkerStats, attempt_result
from tests.factories import failed, published, unknown, waiting_for_retry


def test_every_change_is_reported() -> None:
    reported: list[str] = []
    stats = WorkerStats(lambda changed: reported.append(str(changed)))
    stats.set_in_flight(2)
    stats.record(AttemptResult.WAITING)
    stats.record(AttemptResult.PUBLISHED)
    stats.set_in_flight(0)

    assert reported == [
        "published 0 · failed 0 · waiting 0 · unknown 0 · in flight 2",
        "published 0 · failed 0 · waiting 1 · unknown 0 · in flight 2",
        "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 2",
        "published 1 · failed 0 · waiting 1 · unknown 0 · in flight 0",
    ]


@pytest.mark.parametrize(
    ("state", "result"),
    [
        (published(), AttemptResult.PUBLISHED),
        (failed(), AttemptResult.FAILED),
        (waiting_for_retry(), AttemptResult.WAITING),
        (unknown(), AttemptResult.UNKNOWN),
    ],
)
def test_attempt_result_follows_from_the_state(
    state: DestinationState, result: AttemptResult
) -> None:
    assert attempt_result(state) is result
