"""In-memory storage of expiring counters with a bounded size, for the `limits` library."""

from collections.abc import Callable

from limits.storage import Storage

MAX_COUNTS = 100_000
"""Counters that one limit stores at a time, in about 30 MB."""


class BoundedStorage(Storage):
    """Fixed windows in memory; all counters of one storage must have the same expiry.

    The library's own memory storage is unbounded, and scans all counters in a thread after each
    request. Here counters are in order of expiry, so that a new one evicts only from the front;
    beyond `max_counts` the oldest is evicted.
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
        """Add to a counter, or start one that expires after `expiry` seconds."""
        if count := self.get(key):
            self._counts[key] = (count + amount, self.get_expiry(key))
        else:
            self._evict()
            self._counts[key] = (amount, self._now() + expiry)
        return count + amount

    def get(self, key: str) -> int:
        """Value of a counter; 0 if it is missing or expired."""
        count, expires_at = self._counts.get(key, (0, 0.0))
        return count if expires_at > self._now() else 0

    def get_expiry(self, key: str) -> float:
        """Expiry of a counter in seconds of the clock; now if it is missing."""
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
        """Remove expired counters, and the oldest ones until another fits."""
        now = self._now()
        while self._counts:
            oldest = next(iter(self._counts))
            if len(self._counts) < self._max_counts and self._counts[oldest][1] > now:
                break
            del self._counts[oldest]
