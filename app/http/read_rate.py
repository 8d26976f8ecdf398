"""Rate at which the client of a long response reads it."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple


class ReadRate:
    """Number of bytes that a client has taken while the server waited for it.

    The time in which the server itself prepared the next bytes does not count.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._waited = 0.0
        """Seconds of all completed waits."""
        self._waits_since: float | None = None
        self._bytes = 0
        self._samples = deque([_Sample(0, 0)])

    @contextmanager
    def waiting(self, size: int) -> Iterator[None]:
        """Count the context as a wait until the client has taken `size` bytes."""
        self._bytes += size
        self._waits_since = started_at = self._monotonic()
        try:
            yield
        finally:
            self._waited += self._monotonic() - started_at
            self._waits_since = None

    def is_below(self, bytes_per_second: float, period: timedelta) -> bool:
        """Return True if the client has taken less in the last `period` of waiting.

        It must be called several times in a period, and always with the same one.
        """
        waited, seconds = self._waited, period.total_seconds()
        if self._waits_since is not None:
            waited += self._monotonic() - self._waits_since
        self._samples.append(_Sample(waited, self._bytes))
        while self._samples[1].waited <= waited - seconds:
            self._samples.popleft()
        start = self._samples[0]
        is_complete = waited - start.waited >= seconds
        return is_complete and self._bytes - start.bytes < bytes_per_second * seconds


class _Sample(NamedTuple):
    waited: float
    bytes: int
