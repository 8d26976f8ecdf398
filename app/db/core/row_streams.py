"""Streams of rows: all rows of one statement from one snapshot, in batches of bounded size."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import aiosqlite
import asyncpg

from app.db.core.database import Database
from app.db.core.postgresql import redact_values
from app.db.core.statements import CompiledStatement, Record, Statement
from app.db.core.write_session import WORKSPACE_PARAM
from app.domain.ids import WorkspaceId

T = TypeVar("T")

ColumnBatch: TypeAlias = Mapping[str, Sequence[Any]]
"""Values of some rows by column; times and UUIDs are the texts of a response, JSON is not decoded."""

ConvertBatch: TypeAlias = Callable[[ColumnBatch], T]
"""Function that converts a batch in a thread, while the event loop goes on."""


class RowStream(Protocol):
    """Rows of a statement that have not been read yet."""

    async def read(self, size: int, convert: ConvertBatch[T]) -> T | None:
        """Convert the next rows, at most `size`; return None after the last one."""


@asynccontextmanager
async def open_row_stream(
    database: Database, workspace_id: WorkspaceId, statement: Statement, values: Mapping[str, Any]
) -> AsyncIterator[RowStream]:
    """Run a statement in a workspace, on a connection of its own that leads to the database itself.

    There is no time limit: a cancelled caller ends the statement. Raises ServiceUnavailable, here and while
    the stream is open, if the database is not available.
    """
    compiled = database.compile_restricted(statement)
    arguments = compiled.encode_arguments({**values, WORKSPACE_PARAM: workspace_id})
    open_stream = _open_on_sqlite if database.is_sqlite else _open_on_postgresql
    async with database.snapshot() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        async with open_stream(cast("Any", driver), compiled, arguments) as stream:
            yield stream


_RunInThread: TypeAlias = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments in the thread of a connection."""


@asynccontextmanager
async def _open_on_sqlite(
    connection: aiosqlite.Connection, statement: CompiledStatement, arguments: Sequence[object]
) -> AsyncIterator[RowStream]:
    run = cast("_RunInThread", connection._execute)
    cursor = await run(connection._conn.cursor)
    try:
        await run(cursor.execute, statement.sql, arguments)
        yield _SQLiteStream(run, cursor, statement.record_class)
    finally:
        connection._conn.interrupt()  # aiosqlite's own method would wait for the statement
        # Until the cursor is closed, the interruption applies to all other statements, too.
        await run(cursor.close)


class _SQLiteStream:
    """Rows of a cursor, read and converted in the thread of its connection."""

    def __init__(
        self, run: _RunInThread, cursor: sqlite3.Cursor, record_class: type[Record]
    ) -> None:
        self._run = run
        self._cursor = cursor
        self._record_class = record_class

    async def read(self, size: int, convert: ConvertBatch[T]) -> T | None:
        converted: T | None = await self._run(self._read, size, convert)
        return converted

    def _read(self, size: int, convert: ConvertBatch[T]) -> T | None:
        rows = self._cursor.fetchmany(size)
        return convert(_columns(rows, self._record_class)) if rows else None


_FETCH = "FETCH FORWARD {:d} FROM stream"


@asynccontextmanager
async def _open_on_postgresql(
    connection: asyncpg.Connection, statement: CompiledStatement, arguments: Sequence[object]
) -> AsyncIterator[RowStream]:
    # A declared cursor is planned for its first rows. A portal, such as a cursor of asyncpg, would be planned
    # for all of them: PostgreSQL would sort them on its disk first.
    declaration = f"DECLARE stream NO SCROLL CURSOR FOR {statement.sql}"
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(declaration, *arguments)
            yield _PostgreSQLStream(connection, statement.record_class)
    except asyncpg.PostgresError as error:
        redact_values(error)
        raise


class _PostgreSQLStream:
    """Rows of a cursor, read in the event loop and converted in a thread."""

    def __init__(self, connection: asyncpg.Connection, record_class: type[Record]) -> None:
        self._connection = connection
        self._record_class = record_class

    async def read(self, size: int, convert: ConvertBatch[T]) -> T | None:
        rows = await self._connection.fetch(_FETCH.format(size))
        if not rows:
            return None
        return await asyncio.to_thread(lambda: convert(_columns(rows, self._record_class)))


def _columns(rows: Sequence[Sequence[Any]], record_class: type[Record]) -> ColumnBatch:
    """Return the columns of driver rows, which take a fraction of the time of rows to convert."""
    columns: dict[str, Sequence[Any]] = dict(
        zip(record_class.indexes, zip(*rows, strict=True), strict=True)
    )
    for name, serialize in record_class.serializers.items():
        columns[name] = [None if value is None else serialize(value) for value in columns[name]]
    return columns
