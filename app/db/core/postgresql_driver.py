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

from app.db.core.statements import CompiledStatement, Record

_MAX_IDLE = timedelta(minutes=5)
"""After so long a connection is not used again: what lies between may have forgotten it by then."""


_CANCEL_TIMEOUT = timedelta(seconds=1)
"""Until then the server says that a statement is broken off; else the connection is given up."""


class PostgreSQLDriver:
    """Reads of one database. It can be used in several event loops, if it is closed in each of them."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        size: int,
        timeout: timedelta,
        max_idle: timedelta = _MAX_IDLE,
    ) -> None:
        """`options` are those that every connection is opened with; `timeout` includes the wait for one."""
        self._options = options
        self._size = size
        self._timeout = timeout.total_seconds()
        self._max_idle = max_idle
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: _Pool | None = None

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        """All rows; asyncpg's errors, or TimeoutError where no connection was free in time.

        That a connection broke while nobody used it is only noticed when a statement is sent, and a read
        can be sent again: so often that no broken one can be left.
        """
        connections = self._get_pool()
        async with asyncio.timeout(self._timeout):
            for _ in range(self._size):
                try:
                    return await connections.fetch(statement, arguments)
                except _CONNECTION_ERRORS:
                    continue
            return await connections.fetch(statement, arguments)

    async def close(self) -> None:
        """Wait until no statement runs any more; whoever reads later opens connections anew."""
        connections, self._pool = self._pool, None
        if connections is not None and self._loop is asyncio.get_running_loop():
            await connections.close()

    def _get_pool(self) -> "_Pool":
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            self._loop = loop
            self._pool = _Pool(self._options, self._size, self._max_idle)
        return self._pool


_CONNECTION_ERRORS = (
    asyncpg.ConnectionDoesNotExistError,
    # So asyncpg takes it that the server has said farewell, where the end itself is still to come.
    asyncpg.InternalClientError,
    ConnectionError,
)


class _Pool:
    """As many as there are statements at once, up to a number; the one that was used last is used next."""

    def __init__(self, options: Mapping[str, Any], size: int, max_idle: timedelta) -> None:
        self._options = options
        self._size = size
        self._max_idle = max_idle.total_seconds()
        self._slots = asyncio.Semaphore(size)
        self._idle: list[tuple[float, asyncpg.Connection]] = []
        """With the time since which each is."""
        self._recovery_tasks: set[asyncio.Task[None]] = set()

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        await self._slots.acquire()
        try:
            connection = self._acquire() or await asyncpg.connect(**self._options)
        except BaseException:
            self._slots.release()
            raise
        try:
            rows: Sequence[Record] = await connection.fetch(
                statement.sql, *arguments, record_class=statement.record_class
            )
        except asyncpg.PostgresError:
            self._release(connection)
            raise
        except (
            BaseException
        ):  # a statement was broken off, and the driver has asked the server to end it
            settling = asyncio.create_task(self._recover(connection))
            self._recovery_tasks.add(settling)
            settling.add_done_callback(self._recovery_tasks.discard)
            raise
        self._release(connection)
        return rows

    async def close(self) -> None:
        """Close all, when none is used any more."""
        for _ in range(self._size):
            await self._slots.acquire()
        while self._idle:
            _, connection = self._idle.pop()
            with suppress(Exception):
                await connection.close(timeout=_CANCEL_TIMEOUT.total_seconds())

    async def _recover(self, connection: asyncpg.Connection) -> None:
        """Use it again only if the server answers: one that has gone silent would fail each read."""
        try:
            await connection.fetchval("SELECT 1", timeout=_CANCEL_TIMEOUT.total_seconds())
        except Exception:  # noqa: BLE001 - whatever it is, there are other connections
            connection.terminate()
        finally:
            self._release(connection)

    def _release(self, connection: asyncpg.Connection) -> None:
        if not connection.is_closed():
            self._idle.append((time.monotonic(), connection))
        self._slots.release()

    def _acquire(self) -> asyncpg.Connection | None:
        while self._idle:
            since, connection = self._idle.pop()
            is_recent = time.monotonic() < since + self._max_idle
            if is_recent and not connection.is_closed():
                return connection
            connection.terminate()
        return None
