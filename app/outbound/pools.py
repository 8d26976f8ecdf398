"""Pools of connections: one for each key, closed after its last request."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpcore2

KEEP_ALIVE = timedelta(seconds=4)
"""Age of an idle connection that is not used again: many servers close theirs after 5 seconds."""

_MAX_IDLE_POOLS = 32


@dataclass(slots=True)
class _Pool:
    connections: httpcore2.AsyncConnectionPool
    running: int = 0
    """Requests that use it."""
    expiry: asyncio.TimerHandle | None = None
    """Timer that closes the connections while no request uses them."""


class ConnectionPools:
    """Pools by key. The time that a request takes grows with the connections of its pool only."""

    def __init__(self, make_pool: Callable[[], httpcore2.AsyncConnectionPool]) -> None:
        self._make_pool = make_pool
        self._pools: dict[Hashable, _Pool] = {}
        self._idle: OrderedDict[Hashable, None] = OrderedDict()
        """Keys of the pools without a request, the longest unused first."""
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def pool(self, pool_key: Hashable) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        """Return the pool of a key for one request."""
        pool = self._pools.get(pool_key)
        if pool is None:
            pool = self._pools[pool_key] = _Pool(self._make_pool())
        if pool.expiry is not None:
            pool.expiry.cancel()
        self._idle.pop(pool_key, None)
        pool.running += 1
        try:
            yield pool.connections
        finally:
            pool.running -= 1
            if pool.running == 0:
                self._set_idle(pool_key, pool)

    def _set_idle(self, pool_key: Hashable, pool: _Pool) -> None:
        loop = asyncio.get_running_loop()
        pool.expiry = loop.call_later(KEEP_ALIVE.total_seconds(), self._close, pool_key)
        self._idle[pool_key] = None
        if len(self._idle) > _MAX_IDLE_POOLS:
            self._close(next(iter(self._idle)))

    def _close(self, pool_key: Hashable) -> None:
        """Close the connections of an idle pool in the background."""
        del self._idle[pool_key]
        pool = self._pools.pop(pool_key)
        if pool.expiry is not None:
            pool.expiry.cancel()
        task = asyncio.create_task(pool.connections.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all connections."""
        for pool_key in list(self._idle):
            self._close(pool_key)
        await asyncio.gather(
            *self._closing, *(pool.connections.aclose() for pool in self._pools.values())
        )
        self._pools.clear()
