"""Garbage collection of a server process: short collections at any time, full ones between large responses.

CPython's collector stops all threads until it has searched a generation of objects. A full collection
while rows are read or a response is computed searches all their objects, which takes up to seconds, and
frees none of them.
"""

import gc
from collections.abc import Callable
from datetime import timedelta

_THRESHOLDS = (5_000, 3, 1_000_000_000)
"""Allocations before a young collection, young ones before a middle one, middle ones before a full one.

A response creates thousands of short-lived objects, which a young collection should not search. A middle
one searches up to 25,000 objects, in about 10 ms. Full ones are left to `FullCollections`.
"""

_MIDDLE_COLLECTIONS = 50
"""Middle collections, each after 25,000 allocations, before a full one is due."""

_MAX_POSTPONEMENT = timedelta(minutes=5)
"""Longest time without a full collection under load: only they free connections that were open for long."""

CHECK_INTERVAL = timedelta(seconds=10)
"""Time between two checks whether a full collection is due."""


def tune_garbage_collection() -> None:
    """Exempt existing objects from garbage collection, and change the thresholds of later ones.

    With Python's thresholds the many collections, each over all objects of the application, delay responses.
    """
    gc.freeze()  # without a collection, which would delay the start and free less than 1 MB
    gc.set_threshold(*_THRESHOLDS)


class FullCollections:
    """Runs full collections after many allocations, while nothing creates a large response."""

    def __init__(self, is_idle: Callable[[], bool], monotonic: Callable[[], float]) -> None:
        """Set the functions; `is_idle` returns False while rows are read or a response is computed."""
        self._is_idle = is_idle
        self._monotonic = monotonic
        self._restart()

    async def collect_if_due(self) -> None:
        """Collect after many allocations, if the process is idle or the last collection was long ago."""
        if _count_middle_collections() - self._middle_collections < _MIDDLE_COLLECTIONS:
            return
        elapsed = timedelta(seconds=self._monotonic() - self._collected_at)
        if self._is_idle() or elapsed >= _MAX_POSTPONEMENT:
            gc.collect()
            self._restart()

    def _restart(self) -> None:
        self._middle_collections = _count_middle_collections()
        self._collected_at = self._monotonic()


def _count_middle_collections() -> int:
    return int(gc.get_stats()[1]["collections"])
