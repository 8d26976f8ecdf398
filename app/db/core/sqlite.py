"""SQLAlchemy engines for migrations and tools on SQLite: pragmas, foreign key checks, statistics.

The server reads by `sqlite_read_driver` and writes by `sqlite_write_driver`.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, cast
from weakref import WeakSet

import aiosqlite
from sqlalchemy import URL, NullPool, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.core.types import encode_json
from app.db.core.write_lock import HeldLock, WriteLock
from app.settings import SettingsError

STATISTICS_INTERVAL = timedelta(hours=1)
"""Interval of the refresh of planner statistics, and of the reconnects of readers, which load them."""

REFRESH_STATISTICS = "PRAGMA optimize=0x10002"
"""Analyzes each table without statistics, or whose size has changed tenfold since.

0x10000 includes all tables, not only those read by this connection: other connections do the reads.
"""

_ANALYSIS_LIMIT = "400"  # rows per index; a full analysis would hold the write lock for too long
WRITE_PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "foreign_keys": "ON",
    "analysis_limit": _ANALYSIS_LIMIT,
}
"""Settings of each connection that writes."""

_MIN_VERSION = (3, 38)
"""First version that always has the JSON functions; RETURNING and the trigrams of FTS5 are older."""

_THREAD_JOIN_TIMEOUT = timedelta(seconds=5)


def check_library(version: tuple[int, ...], *, has_fts5: bool) -> None:
    """Raise SettingsError if the SQLite library of this Python is too old or has no full-text search."""
    if version >= _MIN_VERSION and has_fts5:
        return
    minimum, actual = (".".join(map(str, each)) for each in (_MIN_VERSION, version))
    raise SettingsError(
        f"SQLite {minimum} or newer with FTS5 is required; this Python has SQLite {actual}"
        f" {'with' if has_fts5 else 'without'} FTS5. Use another build of Python, or set DATABASE_URL to a"
        " PostgreSQL database."
    )


def library_has_fts5() -> bool:
    with closing(sqlite3.connect(":memory:")) as connection:
        (is_used,) = connection.execute(
            "SELECT sqlite_compileoption_used('ENABLE_FTS5')"
        ).fetchone()
    return bool(is_used)


def sqlite_read_engine(url: URL, timeout: timedelta, threads: "ConnectionThreads") -> AsyncEngine:
    """Create the engine of read-only connections, which never create the file and are closed after use."""
    file = Path(str(url.database)).absolute()
    engine = create_async_engine(
        url.set(database=file.as_uri(), query={"uri": "true", "mode": "rw"}),
        poolclass=NullPool,
        connect_args={"async_creator_fn": threads.connect},
        isolation_level="AUTOCOMMIT",
        json_serializer=encode_json,
        hide_parameters=True,  # exceptions are logged, and must not contain user content
    )
    _set_pragmas_on_connect(engine, timeout, {"query_only": "ON"})
    _interrupt_when_cancelled(engine)
    return engine


def sqlite_write_engine(
    url: URL, timeout: timedelta, threads: "ConnectionThreads", write_lock: WriteLock
) -> AsyncEngine:
    """Create the engine with the only connection of schema transactions."""
    engine = create_async_engine(
        url,
        connect_args={"isolation_level": None, "async_creator_fn": threads.connect},
        pool_size=1,
        # Every transaction ends before its connection is released. The pool's extra rollback would log an
        # error when cancelled.
        pool_reset_on_return=None,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        json_serializer=encode_json,
        hide_parameters=True,  # exceptions are logged, and must not contain user content
    )
    _set_pragmas_on_connect(engine, timeout, WRITE_PRAGMAS)
    _interrupt_when_cancelled(engine)

    @event.listens_for(engine.sync_engine, "begin")
    def acquire_write_lock(connection: Any) -> None:
        connection.info["write_lock"] = connection.connection.dbapi_connection.run_async(
            lambda _driver: _acquire_without_blocking(write_lock)
        )
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(engine.sync_engine, "checkin")
    def release_write_lock(_connection: object, record: Any) -> None:
        if (lock := record.info.pop("write_lock", None)) is not None:
            lock.release()

    return engine


async def _acquire_without_blocking(write_lock: WriteLock) -> HeldLock:
    """Acquire without blocking the event loop; if the caller is cancelled, release when acquired."""

    def release(acquired: asyncio.Future[HeldLock]) -> None:
        if acquired.exception() is None:
            acquired.result().release()

    acquiring = asyncio.get_running_loop().run_in_executor(None, write_lock.acquire)
    try:
        return await asyncio.shield(acquiring)
    except asyncio.CancelledError:
        acquiring.add_done_callback(release)
        raise


class ConnectionThreads:
    """Threads of aiosqlite connections, tracked so that closing a database can wait for them.

    The thread of an abandoned or failed connection ends later. It reports to the event loop then, and
    prints a traceback if the loop is already closed.
    """

    def __init__(self) -> None:
        self._threads: WeakSet[Thread] = WeakSet()

    async def connect(self, *arguments: Any, **options: Any) -> aiosqlite.Connection:
        """Open a connection with the arguments of `aiosqlite.connect`."""
        connection = aiosqlite.connect(*arguments, **options)
        connection._thread.daemon = True  # so that a hanging thread does not delay the exit
        self._threads.add(connection._thread)
        return await connection

    async def wait_closed(self) -> None:
        """Wait, with a timeout, until all threads have ended; no connection may be opened afterwards."""
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        threads = list(self._threads)
        self._threads.clear()
        for thread in threads:
            thread.join(_THREAD_JOIN_TIMEOUT.total_seconds())


@asynccontextmanager
async def foreign_keys_disabled(connection: AsyncConnection) -> AsyncIterator[None]:
    """Disable foreign keys around a transaction; inside one SQLite ignores the pragma."""
    try:
        await _set_foreign_keys(connection, "OFF")
        yield
    finally:
        await _set_foreign_keys(connection, "ON")


async def check_foreign_keys(connection: AsyncConnection) -> None:
    """Raise RuntimeError if a row refers to a missing row."""
    violations = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all()
    if violations:
        raise RuntimeError(f"{len(violations)} rows would refer to rows that do not exist")


async def _set_foreign_keys(connection: AsyncConnection, value: str) -> None:
    # On the driver's connection, because SQLAlchemy would begin a transaction first.
    pooled = await connection.get_raw_connection()
    await cast("aiosqlite.Connection", pooled.driver_connection).execute(
        f"PRAGMA foreign_keys={value}"
    )


def _set_pragmas_on_connect(
    engine: AsyncEngine, timeout: timedelta, pragmas: Mapping[str, str]
) -> None:
    busy_timeout = str(timeout // timedelta(milliseconds=1))

    @event.listens_for(engine.sync_engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for name, value in {"busy_timeout": busy_timeout, **pragmas}.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()


def _interrupt_when_cancelled(engine: AsyncEngine) -> None:
    """Interrupt a statement whose task was cancelled; closing the connection would wait for its end."""

    @event.listens_for(engine.sync_engine, "handle_error")
    def interrupt(context: ExceptionContext) -> None:
        if context.connection and isinstance(context.original_exception, asyncio.CancelledError):
            driver = cast("aiosqlite.Connection", context.connection.connection.driver_connection)
            driver._conn.interrupt()  # aiosqlite's own method is a coroutine
