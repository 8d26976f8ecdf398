"""Statements that only read, run on PostgreSQL with as few round trips as there can be. No SQL of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from app.db.queries import Prepared, Record


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Has nothing to reset when it is given back: it only reads, each statement for itself."""

    def get_reset_query(self) -> str:
        return ""


class PostgreSQLDriver:
    """Reads of one database. It can be used in several event loops, one after the other."""

    def __init__(self, options: Mapping[str, Any], *, size: int, timeout: timedelta) -> None:
        """`options` are those that every connection is opened with; `timeout` includes the wait for one."""
        self._options = options
        self._size = size
        self._timeout = timeout.total_seconds()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        """All rows; asyncpg's errors, or TimeoutError where no connection was free in time.

        That a connection broke while nobody used it is only noticed when a statement is sent, and a read
        can be sent again: so often that no broken one can be left.
        """
        async with asyncio.timeout(self._timeout):
            pool = await self._open()
            for _ in range(self._size):
                try:
                    return await _fetch(pool, query, arguments)
                except (asyncpg.ConnectionDoesNotExistError, ConnectionError):
                    continue
            return await _fetch(pool, query, arguments)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def _open(self) -> asyncpg.Pool:
        if self._pool is None or self._loop is not asyncio.get_running_loop():
            async with self._opening:
                await self._open_once()
        return self._pool

    async def _open_once(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            self._pool = await asyncpg.create_pool(
                min_size=0, max_size=self._size, connection_class=_Connection, **self._options
            )
            self._loop = loop


async def _fetch(
    pool: asyncpg.Pool, query: Prepared, arguments: Sequence[object]
) -> Sequence[Record]:
    connection = await pool.acquire()
    try:
        rows: Sequence[Record] = await connection.fetch(
            query.sql, *arguments, record_class=query.record
        )
    finally:
        await pool.release(connection)
    return rows
