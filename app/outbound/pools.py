"""Pools of connections: one for each receiver, closed after its last request."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpcore2

KEEP_ALIVE = timedelta(seconds=4)
"""Age of an idle connection that is not used again: many servers close theirs after 5 seconds."""


@dataclass(slots=True)
class _Pool:
    connections: httpcore2.AsyncConnectionPool
    used_at: float
    """Time of the event loop at the start or end of the last request."""
    running: int = 0


class ConnectionPools:
    """Pools by receiver. The time that a request takes grows with the connections of its pool only."""

    def __init__(self, make_pool: Callable[[], httpcore2.AsyncConnectionPool]) -> None:
        self._make_pool = make_pool
        self._pools: OrderedDict[Hashable, _Pool] = OrderedDict()
        """The longest unused first."""

    @asynccontextmanager
    async def pool(self, receiver: Hashable) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        """Return the pool of a receiver for one request."""
        now = asyncio.get_running_loop().time()
        pool = self._pools.get(receiver)
        if pool is None:
            pool = self._pools[receiver] = _Pool(self._make_pool(), now)
        pool.running += 1
        try:
            await self._close_idle(now)
            yield pool.connections
        finally:
            pool.running -= 1
            pool.used_at = asyncio.get_running_loop().time()
            self._pools.move_to_end(receiver)

    async def _close_idle(self, now: float) -> None:
        """Close the pools whose connections are too old to be used again."""
        while self._pools:
            receiver, pool = next(iter(self._pools.items()))
            if pool.running or now - pool.used_at <= KEEP_ALIVE.total_seconds():
                return
            del self._pools[receiver]
            await pool.connections.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.connections.aclose()
