"""How SQLite is opened, and what only SQLite needs: limits, checks of links, statistics. No queries."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, cast
from weakref import WeakSet

import aiosqlite
from sqlalchemy import URL, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.core.write_lock import WriteLock

NO_TIME_LIMIT = "no_time_limit"
"""The execution option of a connection whose statements may take as long as they need."""

STATISTICS_MAX_AGE = timedelta(hours=1)
"""How old the statistics may be that a reader goes by: it takes them in when it connects."""

REFRESH_STATISTICS = "PRAGMA optimize=0x10002"
"""Analyse each table that has none or has grown or shrunk tenfold since.

0x10000 looks at all tables and not only at those that this connection has read, for others read.
"""

_ANALYSIS_LIMIT = "400"  # of each index; a whole one would take the write lock for too long
_INTERRUPT_RETRY_INTERVAL = timedelta(milliseconds=50)
_THREAD_JOIN_TIMEOUT = timedelta(seconds=5)


def sqlite_read_engine(
    url: URL, pool_size: int, timeout: timedelta, threads: "ConnectionThreads"
) -> AsyncEngine:
    """Several connections that cannot write, and do not make a file that is not there."""
    file = Path(str(url.database)).absolute()
    engine = create_async_engine(
        url.set(database=file.as_uri(), query={"uri": "true", "mode": "rw"}),
        connect_args={"async_creator_fn": threads.connect},
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        pool_recycle=int(STATISTICS_MAX_AGE.total_seconds()),
        hide_parameters=True,  # an exception is logged, and must not carry what people wrote
    )
    _set_pragmas_on_connect(engine, timeout, {"query_only": "ON"})
    _enforce_statement_timeout(engine, timeout)
    return engine


def sqlite_write_engine(
    url: URL, timeout: timedelta, threads: "ConnectionThreads", write_lock: WriteLock
) -> AsyncEngine:
    """One connection: inside a process, writers wait in the pool's queue, not in SQLite's."""
    engine = create_async_engine(
        url,
        connect_args={"isolation_level": None, "async_creator_fn": threads.connect},
        pool_size=1,
        # Every transaction is ended by whoever began it. To be sure, the pool would roll back once more: a
        # hop to the thread for each write, and an error in the log where that is cancelled.
        pool_reset_on_return=None,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        hide_parameters=True,  # an exception is logged, and must not carry what people wrote
    )
    _set_pragmas_on_connect(
        engine,
        timeout,
        {
            "journal_mode": "WAL",
            "synchronous": "FULL",
            "foreign_keys": "ON",
            "analysis_limit": _ANALYSIS_LIMIT,
        },
    )
    _enforce_statement_timeout(engine, timeout)

    @event.listens_for(engine.sync_engine, "begin")
    def acquire_write_lock(connection: Any) -> None:
        # A transaction that reads before it writes would fail at once when another one got between.
        connection.connection.dbapi_connection.run_async(lambda _driver: write_lock.acquire())
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(engine.sync_engine, "checkin")
    def release_write_lock(_connection: object, _record: object) -> None:
        write_lock.release()

    return engine


class ConnectionThreads:
    """Those in which the driver runs its connections, so that they can be seen to their end.

    A connection that is given up, or was never made, ends its thread when it comes to it. That reports
    to the event loop, and prints a traceback if the loop has ended before it.
    """

    def __init__(self) -> None:
        self._threads: WeakSet[Thread] = WeakSet()

    async def connect(self, *arguments: Any, **options: Any) -> aiosqlite.Connection:
        """Connect as the driver does."""
        connection = aiosqlite.connect(*arguments, **options)
        connection._thread.daemon = True  # so that one that hangs does not hold up an exit
        self._threads.add(connection._thread)
        return await connection

    async def wait_closed(self) -> None:
        """Wait, once and not for ever, until all have ended; nothing may be connected any more."""
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        threads = list(self._threads)
        self._threads.clear()
        for thread in threads:
            thread.join(_THREAD_JOIN_TIMEOUT.total_seconds())


@asynccontextmanager
async def foreign_keys_disabled(connection: AsyncConnection) -> AsyncIterator[None]:
    """Off for a whole transaction: inside of one, SQLite ignores this pragma."""
    try:
        await _set_foreign_keys(connection, "OFF")
        yield
    finally:
        await _set_foreign_keys(connection, "ON")


async def check_foreign_keys(connection: AsyncConnection) -> None:
    broken = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all()
    if broken:
        raise RuntimeError(f"{len(broken)} rows would refer to rows that do not exist")


async def _set_foreign_keys(connection: AsyncConnection, value: str) -> None:
    # On the driver's connection, because a statement of SQLAlchemy's would begin a transaction.
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


def _enforce_statement_timeout(engine: AsyncEngine, timeout: timedelta) -> None:
    """Interrupt a statement that runs for too long, or that nobody waits for any more."""

    @event.listens_for(engine.sync_engine, "connect")
    def attach_timer(connection: Any, record: Any) -> None:
        record.info["watch"] = _StatementTimer(connection.driver_connection)

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def start_timer(connection: Any, *_statement: object) -> None:
        if not connection.get_execution_options().get(NO_TIME_LIMIT):
            connection.info["watch"].start(timeout)

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def stop_timer(connection: Any, *_statement: object) -> None:
        connection.info["watch"].stop()

    @event.listens_for(engine.sync_engine, "handle_error")
    def stop_or_interrupt(context: ExceptionContext) -> None:
        if context.connection is None or context.execution_context is None:
            return
        watch = context.connection.info["watch"]
        watch.stop()
        if isinstance(context.original_exception, asyncio.CancelledError):
            watch.interrupt()


class _StatementTimer:
    """Ends the statement of one connection, which runs in a thread that no cancellation reaches."""

    def __init__(self, driver: aiosqlite.Connection) -> None:
        # The driver's own interrupt() is this call in a coroutine, which a timer cannot run.
        self._connection: sqlite3.Connection = driver._conn
        self._timer: asyncio.TimerHandle | None = None

    def start(self, timeout: timedelta) -> None:
        self._call_later(timeout)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def interrupt(self) -> None:
        """Until the statement ends or the connection is closed: one still to begin is missed."""
        try:
            self._connection.interrupt()
        except sqlite3.ProgrammingError:  # it is closed
            return
        self._call_later(_INTERRUPT_RETRY_INTERVAL)

    def _call_later(self, delay: timedelta) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay.total_seconds(), self.interrupt)
