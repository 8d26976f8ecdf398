"""Counters of a worker's results."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from app.domain.destinations import DestinationState, DestinationStatus, Outcome


class AttemptResult(StrEnum):
    """Result of an attempt or of a verification."""

    PUBLISHED = "published"
    FAILED = "failed"
    WAITING = "waiting"
    """Failed, with an automatic retry planned."""
    UNKNOWN = "unknown"


class WorkerStats:
    """Counters of results, which call `on_change` after each change."""

    def __init__(self, on_change: Callable[["WorkerStats"], object] = lambda _: None) -> None:
        self._on_change = on_change
        self._results = Counter[AttemptResult]()
        self._in_flight = 0

    def record(self, result: AttemptResult) -> None:
        self._results[result] += 1
        self._on_change(self)

    def set_in_flight(self, count: int) -> None:
        """Set the number of claims being processed."""
        self._in_flight = count
        self._on_change(self)

    def __str__(self) -> str:
        counts = [f"{result} {self._results[result]}" for result in AttemptResult]
        return " · ".join((*counts, f"in flight {self._in_flight}"))


def attempt_result(state: DestinationState) -> AttemptResult:
    """Return the result that a report has given a destination."""
    if state.status is DestinationStatus.PUBLISHED:
        return AttemptResult.PUBLISHED
    if state.outcome is Outcome.UNKNOWN:
        return AttemptResult.UNKNOWN
    if state.status is DestinationStatus.FAILED:
        return AttemptResult.FAILED
    return AttemptResult.WAITING
