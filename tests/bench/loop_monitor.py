"""Measures how long an event loop is blocked by its own thread, and by garbage collections in any thread.

One iteration of a loop runs everything that became ready during the last one. Until it ends, no other
request is read, so the CPU time of the thread between two polls counts as one piece, however many callbacks
it runs, and garbage collections in this thread. A collection in any thread stops the loop: the longest one
is measured separately, too.
"""

import asyncio
import gc
import selectors
import time
from collections.abc import Mapping, Sequence


class LoopMonitor(selectors.DefaultSelector):
    """Selector of an event loop that measures the iterations between its polls."""

    def __init__(self) -> None:
        super().__init__()
        self.restart()
        gc.callbacks.append(self._measure_collection)

    def restart(self) -> None:
        """Begin to measure; the rest of the iteration counts as one."""
        self._longest = self._longest_collection = 0.0
        self._started_at = time.thread_time()

    def longest_ms(self) -> float:
        """Return the longest iteration since the restart, in milliseconds, with the present one."""
        self._measure()
        return self._longest * 1000

    def longest_collection_ms(self) -> float:
        """Return the CPU time of the longest garbage collection since the restart, in milliseconds."""
        return self._longest_collection * 1000

    def close(self) -> None:
        gc.callbacks.remove(self._measure_collection)
        super().close()

    def select(self, timeout: float | None = None) -> Sequence[tuple[selectors.SelectorKey, int]]:  # type: ignore[override]
        self._measure()
        events = super().select(timeout)
        self._started_at = time.thread_time()
        return events

    def _measure(self) -> None:
        self._longest = max(self._longest, time.thread_time() - self._started_at)

    def _measure_collection(self, phase: str, _info: Mapping[str, int]) -> None:
        if phase == "start":
            self._collection_started_at = time.thread_time()
        else:
            collection = time.thread_time() - self._collection_started_at
            self._longest_collection = max(self._longest_collection, collection)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Create the event loop that this selector measures."""
        return asyncio.SelectorEventLoop(self)
