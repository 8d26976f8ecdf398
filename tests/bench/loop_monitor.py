"""Measures how long an event loop is blocked: the CPU time of its thread between two polls.

One iteration of a loop runs everything that became ready during the last one. Until it ends, no other
request is read, so an iteration counts as one piece, however many callbacks it runs.
"""

import asyncio
import selectors
import time
from collections.abc import Sequence


class LoopMonitor(selectors.DefaultSelector):
    """Selector of an event loop that measures the iterations between its polls."""

    def __init__(self) -> None:
        super().__init__()
        self.restart()

    def restart(self) -> None:
        """Begin to measure; the rest of the iteration counts as one."""
        self._longest = 0.0
        self._started_at = time.thread_time()

    def longest_ms(self) -> float:
        """Return the longest iteration since the restart, in milliseconds, with the present one."""
        self._measure()
        return self._longest * 1000

    def select(self, timeout: float | None = None) -> Sequence[tuple[selectors.SelectorKey, int]]:  # type: ignore[override]
        self._measure()
        events = super().select(timeout)
        self._started_at = time.thread_time()
        return events

    def _measure(self) -> None:
        self._longest = max(self._longest, time.thread_time() - self._started_at)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Create the event loop that this selector measures."""
        return asyncio.SelectorEventLoop(self)
