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

_MAX_IDLE_POOLS = 32


@dataclass(slots=True)
class _Pool:
    connections: httpcore2.AsyncConnectionPool
    running: int = 0
    """Requests that use it."""
    expiry: asyncio.TimerHandle | None = None
    """Timer that closes the connections while no request uses them."""


class ConnectionPools:
    """Pools by receiver. The time that a request takes grows with the connections of its pool only."""

    def __init__(self, make_pool: Callable[[], httpcore2.AsyncConnectionPool]) -> None:
        self._make_pool = make_pool
        self._pools: dict[Hashable, _Pool] = {}
        self._idle: OrderedDict[Hashable, None] = OrderedDict()
        """Receivers without a request, the longest unused first."""
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def pool(self, receiver: Hashable) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        """Return the pool of a receiver for one request."""
        pool = self._pools.get(receiver)
        if pool is None:
            pool = self._pools[receiver] = _Pool(self._make_pool())
        if pool.expiry is not None:
            pool.expiry.cancel()
        self._idle.pop(receiver, None)
        pool.running += 1
        try:
            yield pool.connections
        finally:
            pool.running -= 1
            if pool.running == 0:
                self._set_idle(receiver, pool)

    def _set_idle(self, receiver: Hashable, pool: _Pool) -> None:
        loop = asyncio.get_running_loop()
        pool.expiry = loop.call_later(KEEP_ALIVE.total_seconds(), self._close, receiver)
        self._idle[receiver] = None
        if len(self._idle) > _MAX_IDLE_POOLS:
            self._close(next(iter(self._idle)))

    def _close(self, receiver: Hashable) -> None:
        """Close the connections of an idle pool in the background."""
        del self._idle[receiver]
        pool = self._pools.pop(receiver)
        if pool.expiry is not None:
            pool.expiry.cancel()
        task = asyncio.create_task(pool.connections.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all connections."""
        for receiver in list(self._idle):
            self._close(receiver)
        await asyncio.gather(
            *self._closing, *(pool.connections.aclose() for pool in self._pools.values())
        )
        self._pools.clear()
