"""Answers that are made once for all who ask the same of the same change. Knows no operations."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta

RESPONSE_TTL = timedelta(seconds=2)
"""An answer tells how things are: whoever comes later is told how they are then."""
MAX_RESPONSE_CACHE_BYTES = 4 << 20
_ENTRY_OVERHEAD_BYTES = 500
"""What an answer takes in memory beside itself: its key and its place."""
_MAX_CONCURRENT = 4
"""So that all else that a server does gets its turns, however many different answers a change has."""

SKIPPED_RESPONSE = ""
"""The answer of a change that is not to be told after all."""

ResponseKey = Hashable
"""The change, and whatever makes a difference to its answer."""


@dataclass(frozen=True, slots=True)
class ComputedResponse:
    response: str
    is_cacheable: bool
    """Whether nothing of it went wrong, so that others may be told the same a moment later."""


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    response: str
    expires_at: float
    size_bytes: int


class ResponseCache:
    """Whoever asks first has it made; all others wait for it, or find it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: dict[ResponseKey, _CacheEntry] = {}
        """In the order in which they were made."""
        self._size_bytes = 0
        self._in_flight: dict[ResponseKey, asyncio.Task[str]] = {}
        self._concurrency = asyncio.Semaphore(_MAX_CONCURRENT)

    async def get_or_compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[ComputedResponse]]
    ) -> str:
        """The answer, or why it could not be made, for everybody who waits for it alike."""
        found = self._entries.get(key)
        if found is not None and self._monotonic() < found.expires_at:
            return found.response
        making = self._in_flight.get(key)
        if making is None:
            making = self._in_flight[key] = asyncio.create_task(self._compute(key, compute))
            making.add_done_callback(_consume_exception)
        # Whoever leaves must not take it from the others.
        return await asyncio.shield(making)

    async def close(self) -> None:
        """Leave what is being made, for nobody waits for it any more."""
        making = set(self._in_flight.values())
        for each in making:
            each.cancel()
        if making:
            await asyncio.wait(making)

    async def _compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[ComputedResponse]]
    ) -> str:
        try:
            async with self._concurrency:
                made = await compute()
                if made.is_cacheable:
                    self._store(key, made.response)
                await asyncio.sleep(0)  # what is read at once lets nobody else have a turn
            return made.response
        finally:
            del self._in_flight[key]

    def _store(self, key: ResponseKey, response: str) -> None:
        now = self._monotonic()
        self._evict(key)
        kept = _CacheEntry(
            response,
            now + RESPONSE_TTL.total_seconds(),
            sys.getsizeof(response) + _ENTRY_OVERHEAD_BYTES,
        )
        self._entries[key] = kept
        self._size_bytes += kept.size_bytes
        while self._entries:
            oldest = next(iter(self._entries))
            if (
                self._size_bytes <= MAX_RESPONSE_CACHE_BYTES
                and now < self._entries[oldest].expires_at
            ):
                break
            self._evict(oldest)

    def _evict(self, key: ResponseKey) -> None:
        if forgotten := self._entries.pop(key, None):
            self._size_bytes -= forgotten.size_bytes


def _consume_exception(task: "asyncio.Task[str]") -> None:
    """All who waited may have left, and then nobody else asks what went wrong."""
    if not task.cancelled():
        task.exception()
