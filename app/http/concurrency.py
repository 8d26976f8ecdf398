"""Limits concurrent streams, per API key and in total."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from app.domain.errors import RateLimitExceeded, ServiceUnavailable

_RETRY_AFTER_SECONDS = 5


class ConcurrencyLimiter:
    """Counter of open streams of one kind in this process, such as subscriptions."""

    def __init__(
        self,
        name: str,
        *,
        max_total: int,
        max_per_key: int,
        on_change: Callable[[int], None] = lambda _change: None,
    ) -> None:
        """Set the limits; `on_change` is called with 1 for an acquired slot and −1 for a released one."""
        self._name = name
        self._max_total = max_total
        self._max_per_key = max_per_key
        self._on_change = on_change
        self._counts: Counter[Hashable] = Counter()
        self._total = 0

    def check(self, key: Hashable) -> None:
        """Raise RateLimitExceeded at the limit of the key, ServiceUnavailable at the total limit."""
        if self._counts[key] >= self._max_per_key:
            raise RateLimitExceeded(
                f"The limit of {self._max_per_key} open {self._name} per API key is reached;"
                " close one of them first.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        if self._total >= self._max_total:
            raise ServiceUnavailable(
                f"Too many {self._name} are open on this server."
                f" Try again in {_RETRY_AFTER_SECONDS} s.",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    @contextmanager
    def acquire(self, key: Hashable) -> Iterator[None]:
        """Hold one slot during the context; raises what `check` raises."""
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


class EvictingLimiter:
    """Limiter of open streams in which a new one takes the slot of the oldest."""

    def __init__(self, max_total: int) -> None:
        self._max_total = max_total
        self._close_functions: OrderedDict[object, Callable[[], None]] = OrderedDict()
        """Functions that close the streams, by slot, the oldest first."""

    @contextmanager
    def acquire(self, close: Callable[[], None]) -> Iterator[None]:
        """Hold a slot during the context, or until `close` is called, for a new stream at the limit."""
        if len(self._close_functions) >= self._max_total:
            _slot, close_oldest = self._close_functions.popitem(last=False)
            close_oldest()
        slot = object()
        self._close_functions[slot] = close
        try:
            yield
        finally:
            self._close_functions.pop(slot, None)
