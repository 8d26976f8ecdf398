"""Rate at which the client of a long response reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import NamedTuple

MIN_BYTES_PER_SECOND = 16 * 1024
"""Rate below which a client is too slow to use what others wait for."""

_CHECKS_PER_PERIOD = 60
"""Number of checks in the time after which a client is slow."""


class ReadRate:
    """Number of bytes that a client has taken while the server waited for it.

    The time in which the server itself prepared the next bytes does not count. A sample must be added several
    times per period.
    """

    def __init__(self, monotonic: Callable[[], float], period: timedelta) -> None:
        """Begin to measure; `period` is the time of waiting over which the rate is an average."""
        self._monotonic = monotonic
        self._period = period.total_seconds()
        self._waited = 0.0
        """Seconds of all completed waits."""
        self._waits_since: float | None = None
        self._bytes = 0
        self._samples = deque([_Sample(0, 0)])

    @contextmanager
    def measure_wait(self, size: int) -> Iterator[None]:
        """Count the context as a wait until the client has taken `size` bytes."""
        self._bytes += size
        self._waits_since = started_at = self._monotonic()
        try:
            yield
        finally:
            self._waited += self._monotonic() - started_at
            self._waits_since = None

    @asynccontextmanager
    async def limit_slow_client(self, others_wait: Callable[[], bool]) -> AsyncIterator[None]:
        """Raise TimeoutError in the context once the client is below MIN_BYTES_PER_SECOND while others wait.

        `others_wait` is called at each check. The clock must be that of the event loop.
        """

        async def watch() -> None:
            while not (others_wait() and self.is_below(MIN_BYTES_PER_SECOND)):
                await asyncio.sleep(self._period / _CHECKS_PER_PERIOD)
                self.add_sample()
            limit.reschedule(asyncio.get_running_loop().time())

        async with asyncio.timeout(None) as limit:
            watch_task = asyncio.create_task(watch())
            try:
                yield
            finally:
                watch_task.cancel()
                await asyncio.wait({watch_task})

    def add_sample(self) -> None:
        """Record the time waited and the bytes taken until now, and delete samples before the last period."""
        waited = self._waited
        if self._waits_since is not None:
            waited += self._monotonic() - self._waits_since
        self._samples.append(_Sample(waited, self._bytes))
        while self._samples[1].waited <= waited - self._period:
            self._samples.popleft()

    def is_below(self, bytes_per_second: float) -> bool:
        """Return True if the client has taken less in the period of waiting before the last sample.

        It returns False until the server has waited for a whole period.
        """
        first, last = self._samples[0], self._samples[-1]
        is_complete = last.waited - first.waited >= self._period
        return is_complete and last.bytes - first.bytes < bytes_per_second * self._period


class _Sample(NamedTuple):
    waited: float
    bytes: int
