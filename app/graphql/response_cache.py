"""Single-flight cache of subscription responses, shared by identical subscriptions of one event."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from cachetools import TTLCache

RESPONSE_TTL = timedelta(seconds=2)
"""Lifetime of an entry; short, because a later subscriber needs data that is as current."""
MAX_RESPONSE_CACHE_BYTES = 4 << 20
_ENTRY_OVERHEAD_BYTES = 700
"""Measured memory of a cache entry beside its response."""
_MAX_CONCURRENT = 4
"""Limit of concurrent computations, so that an event with many different responses blocks no other work."""

SKIPPED_RESPONSE = ""
"""Response of an event that is not sent to the client."""

ResponseKey = Hashable
"""Event, and everything that its response depends on."""


@dataclass(frozen=True, slots=True)
class ComputedResponse:
    response: str
    is_cacheable: bool
    """True if the response has no errors, so that later subscribers may receive it too."""


class ResponseCache:
    """Cache in which the first caller computes a response, and the others wait for it or find it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._responses: TTLCache[ResponseKey, str] = TTLCache(
            MAX_RESPONSE_CACHE_BYTES,
            RESPONSE_TTL.total_seconds(),
            monotonic,
            lambda response: sys.getsizeof(response) + _ENTRY_OVERHEAD_BYTES,
        )
        self._in_flight: dict[ResponseKey, asyncio.Task[str]] = {}
        self._concurrency = asyncio.Semaphore(_MAX_CONCURRENT)

    async def get_or_compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[ComputedResponse]]
    ) -> str:
        """Return the response; all callers that wait for one computation share its exception."""
        response = self._responses.get(key)
        if response is not None:
            return response
        task = self._in_flight.get(key)
        if task is None:
            task = self._in_flight[key] = asyncio.create_task(self._compute(key, compute))
            task.add_done_callback(_consume_exception)
        # Shielded, so that a cancelled caller does not cancel the computation for the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel all computations and wait until they have ended."""
        tasks = set(self._in_flight.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _compute(
        self, key: ResponseKey, compute: Callable[[], Awaitable[ComputedResponse]]
    ) -> str:
        try:
            async with self._concurrency:
                computed = await compute()
                if computed.is_cacheable:
                    with suppress(ValueError):  # larger than the whole cache
                        self._responses[key] = computed.response
                # A computation that never blocked has not yielded to the event loop yet.
                await asyncio.sleep(0)
            return computed.response
        finally:
            del self._in_flight[key]


def _consume_exception(task: "asyncio.Task[str]") -> None:
    """Mark the exception as retrieved: if all callers were cancelled, no one else reads it."""
    if not task.cancelled():
        task.exception()
