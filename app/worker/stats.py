"""What a worker has done since its start, counted, and told to whoever looks. No logging."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from app.domain.destinations import DestinationState, DestinationStatus, Outcome


class AttemptResult(StrEnum):
    """How a call to a platform ended, and what follows from it."""

    PUBLISHED = "published"
    FAILED = "failed"
    WAITING = "waiting"
    """For an automatic retry."""
    UNKNOWN = "unknown"


def _ignore_change(_stats: "WorkerStats") -> None: ...


class WorkerStats:
    """Counts, and says so."""

    def __init__(self, on_change: Callable[["WorkerStats"], None] = _ignore_change) -> None:
        self._on_change = on_change
        self._results = Counter[AttemptResult]()
        self._in_flight = 0

    def record(self, result: AttemptResult) -> None:
        self._results[result] += 1
        self._on_change(self)

    def set_in_flight(self, count: int) -> None:
        """So many claims are being worked on now."""
        self._in_flight = count
        self._on_change(self)

    def __str__(self) -> str:
        words = [f"{ending} {self._results[ending]}" for ending in AttemptResult]
        return " · ".join((*words, f"in flight {self._in_flight}"))


def attempt_result(state: DestinationState) -> AttemptResult:
    """Of a destination of which something was just reported."""
    if state.status is DestinationStatus.PUBLISHED:
        return AttemptResult.PUBLISHED
    if state.outcome is Outcome.UNKNOWN:
        return AttemptResult.UNKNOWN
    return (
        AttemptResult.FAILED if state.status is DestinationStatus.FAILED else AttemptResult.WAITING
    )
