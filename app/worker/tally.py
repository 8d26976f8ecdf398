"""What a worker has done since its start, counted, and told to whoever looks. No logging."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from app.domain.destinations import DestinationState, DestinationStatus, Outcome


class Ending(StrEnum):
    """How a call to a platform ended, and what follows from it."""

    PUBLISHED = "published"
    FAILED = "failed"
    WAITING = "waiting"
    """For an automatic retry."""
    UNKNOWN = "unknown"


def _nobody_looks(_tally: "Tally") -> None: ...


class Tally:
    """Counts, and says so."""

    def __init__(self, changed: Callable[["Tally"], None] = _nobody_looks) -> None:
        self._changed = changed
        self._endings = Counter[Ending]()
        self._in_flight = 0

    def ended(self, ending: Ending) -> None:
        self._endings[ending] += 1
        self._changed(self)

    def flying(self, count: int) -> None:
        """So many claims are being worked on now."""
        self._in_flight = count
        self._changed(self)

    def __str__(self) -> str:
        words = [f"{ending} {self._endings[ending]}" for ending in Ending]
        return " · ".join((*words, f"in flight {self._in_flight}"))


def ending_of(state: DestinationState) -> Ending:
    """Of a destination of which something was just reported."""
    if state.status is DestinationStatus.PUBLISHED:
        return Ending.PUBLISHED
    if state.outcome is Outcome.UNKNOWN:
        return Ending.UNKNOWN
    return Ending.FAILED if state.status is DestinationStatus.FAILED else Ending.WAITING
