"""How many answers may stay open at a time, for one key and in all. Knows no requests or responses."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from app.domain.errors import RateLimitExceeded, ServiceUnavailable

_RETRY_AFTER_SECONDS = 5


class ConcurrencyLimiter:
    """Of one kind in this process, such as subscriptions."""

    def __init__(
        self,
        name: str,
        *,
        max_total: int,
        max_per_key: int,
        on_change: Callable[[int], None] = lambda _by: None,
    ) -> None:
        """`count` is told of each that is taken (1) or left (−1)."""
        self._name = name
        self._max_total = max_total
        self._max_per_key = max_per_key
        self._on_change = on_change
        self._counts: Counter[Hashable] = Counter()
        self._total = 0

    def check(self, key: Hashable) -> None:
        """RateLimitExceeded where a key has taken all that it may, ServiceUnavailable where all have."""
        if self._counts[key] >= self._max_per_key:
            raise RateLimitExceeded(
                f"One API key may have {self._max_per_key} {self._name} open at a time;"
                " end one of them first.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        if self._total >= self._max_total:
            raise ServiceUnavailable(
                f"This server has as many {self._name} open as it may. Try again in a moment.",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    @contextmanager
    def acquire(self, key: Hashable) -> Iterator[None]:
        """One more within it; as `check`."""
        self.check(key)
        self._counts[key] += 1
        self._total += 1
        self._on_change(1)
        try:
            yield
        finally:
            self._total -= 1
            self._on_change(-1)
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
