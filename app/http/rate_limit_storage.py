"""Counts that expire, and are never too many, for the strategies of `limits`. Knows no limit."""

from collections.abc import Callable

from limits.storage import Storage

MAX_COUNTS = 100_000
"""Callers that one limit remembers at a time, in about 30 MB."""


class BoundedStorage(Storage):
    """Fixed windows in memory. All counts of one storage must be given the same expiry.

    The library's own memory storage keeps whatever comes until it expires, and looks through all
    of it in a thread after each request. Here counts stand in the order in which they expire, so a
    new one only has to drop what is old at the front; beyond `max_counts` the oldest is forgotten.
    """

    STORAGE_SCHEME = None

    def __init__(self, now: Callable[[], float], max_counts: int = MAX_COUNTS) -> None:
        super().__init__()
        self._now = now
        self._max_counts = max_counts
        self._counts: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a count, or start one that lives for `expiry` seconds."""
        if so_far := self.get(key):
            self._counts[key] = (so_far + amount, self.get_expiry(key))
        else:
            self._evict()
            self._counts[key] = (amount, self._now() + expiry)
        return so_far + amount

    def get(self, key: str) -> int:
        """The count; 0 for what was never counted or has expired."""
        count, expires_at = self._counts.get(key, (0, 0.0))
        return count if expires_at > self._now() else 0

    def get_expiry(self, key: str) -> float:
        """When the count expires, in seconds of the clock; now, if there is none."""
        return self._counts.get(key, (0, self._now()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        dropped = len(self._counts)
        self._counts.clear()
        return dropped

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def __len__(self) -> int:
        return len(self._counts)

    def _evict(self) -> None:
        """Drop what has expired, and then the oldest until one more fits in."""
        now = self._now()
        while self._counts:
            oldest = next(iter(self._counts))
            if len(self._counts) < self._max_counts and self._counts[oldest][1] > now:
                break
            del self._counts[oldest]
