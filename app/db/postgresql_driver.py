"""Statements that only read, run on PostgreSQL with as few round trips as there can be. No SQL of its own.

asyncpg's own pool costs as much as a quick statement: it makes a task for each connection that is given
back, to reset it. Here nothing is to be reset, for each statement only reads, and by itself.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg

from app.db.queries import Prepared, Record

_UNUSED = timedelta(minutes=5)
"""After so long a connection is not used again: what lies between may have forgotten it by then."""


_SETTLED = timedelta(seconds=1)
"""Until then the server says that a statement is broken off; else the connection is given up."""


class PostgreSQLDriver:
    """Reads of one database. It can be used in several event loops, if it is closed in each of them."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        size: int,
        timeout: timedelta,
        unused_for: timedelta = _UNUSED,
    ) -> None:
        """`options` are those that every connection is opened with; `timeout` includes the wait for one."""
        self._options = options
        self._size = size
        self._timeout = timeout.total_seconds()
        self._unused_for = unused_for
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: _Connections | None = None

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        """All rows; asyncpg's errors, or TimeoutError where no connection was free in time.

        That a connection broke while nobody used it is only noticed when a statement is sent, and a read
        can be sent again: so often that no broken one can be left.
        """
        connections = self._of_this_loop()
        async with asyncio.timeout(self._timeout):
            for _ in range(self._size):
                try:
                    return await connections.fetch(query, arguments)
                except _BROKEN:
                    continue
            return await connections.fetch(query, arguments)

    async def close(self) -> None:
        """Wait until no statement runs any more; whoever reads later opens connections anew."""
        connections, self._connections = self._connections, None
        if connections is not None and self._loop is asyncio.get_running_loop():
            await connections.close()

    def _of_this_loop(self) -> "_Connections":
        loop = asyncio.get_running_loop()
        if self._connections is None or self._loop is not loop:
            self._loop = loop
            self._connections = _Connections(self._options, self._size, self._unused_for)
        return self._connections


_BROKEN = (
    asyncpg.ConnectionDoesNotExistError,
    # So asyncpg takes it that the server has said farewell, where the end itself is still to come.
    asyncpg.InternalClientError,
    ConnectionError,
)


class _Connections:
    """As many as there are statements at once, up to a number; the one that was used last is used next."""

    def __init__(self, options: Mapping[str, Any], size: int, unused_for: timedelta) -> None:
        self._options = options
        self._size = size
        self._unused_for = unused_for.total_seconds()
        self._room = asyncio.Semaphore(size)
        self._free: list[tuple[float, asyncpg.Connection]] = []
        """With the time since which each is."""
        self._settling: set[asyncio.Task[None]] = set()

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        await self._room.acquire()
        try:
            connection = self._take() or await asyncpg.connect(**self._options)
        except BaseException:
            self._room.release()
            raise
        try:
            rows: Sequence[Record] = await connection.fetch(
                query.sql, *arguments, record_class=query.record
            )
        except asyncpg.PostgresError:
            self._give_back(connection)
            raise
        except (
            BaseException
        ):  # a statement was broken off, and the driver has asked the server to end it
            settling = asyncio.create_task(self._settle(connection))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
            raise
        self._give_back(connection)
        return rows

    async def close(self) -> None:
        """Close all, when none is used any more."""
        for _ in range(self._size):
            await self._room.acquire()
        while self._free:
            _, connection = self._free.pop()
            with suppress(Exception):
                await connection.close(timeout=_SETTLED.total_seconds())

    async def _settle(self, connection: asyncpg.Connection) -> None:
        """Use it again only if the server answers: one that has gone silent would fail each read."""
        try:
            await connection.fetchval("SELECT 1", timeout=_SETTLED.total_seconds())
        except Exception:  # noqa: BLE001 - whatever it is, there are other connections
            connection.terminate()
        finally:
            self._give_back(connection)

    def _give_back(self, connection: asyncpg.Connection) -> None:
        if not connection.is_closed():
            self._free.append((time.monotonic(), connection))
        self._room.release()

    def _take(self) -> asyncpg.Connection | None:
        while self._free:
            since, connection = self._free.pop()
            is_recent = time.monotonic() < since + self._unused_for
            if is_recent and not connection.is_closed():
                return connection
            connection.terminate()
        return None
