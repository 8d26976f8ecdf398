"""Statements that only read, run on SQLite: quick ones on the spot, all others in threads. No SQL of its own.

A look by key takes some twenty microseconds, and to hand it to a thread and back takes several times as
long. So each statement is begun where it is asked for, and broken off after so little that the event loop
does not stand still; what needs more is run anew in a thread. Readers wait for no writer.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

from app.db.core.statements import CompiledStatement, Record

_INLINE_CPU_BUDGET = timedelta(milliseconds=10)
"""Of computing. In a tenth of it, a page of a hundred rows is read with all that belongs to them."""

_INLINE_TIMEOUT = timedelta(milliseconds=50)
"""With what other processes take meanwhile, and with reads from the disk."""

_STEPS_PER_CHECK = 10_000
"""Of SQLite's virtual machine; about half a millisecond."""

_SLOW_STATEMENT_TTL = timedelta(seconds=10)
"""For so long a statement that was not quick goes to a thread at once."""


class SQLiteDriver:
    """Reads of one file. It can be used in several event loops, one after the other."""

    def __init__(
        self, file: Path, *, max_threads: int, timeout: timedelta, reconnect_after: timedelta
    ) -> None:
        """A connection goes by the planner's statistics of when it was made, so it is made anew."""
        self._file = file
        self._timeout = timeout
        self._reconnect_after = reconnect_after
        self._max_threads = max_threads
        self._inline_connection: _Connection | None = None
        self._inline_budget = _Budget()
        self._thread_pool: _ThreadPool | None = None
        self._slow_statements: WeakKeyDictionary[CompiledStatement, float] = WeakKeyDictionary()
        """Until when each counts as such, by the monotonic clock."""

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        """All rows; sqlite3.Error, or TimeoutError where it could not even begin in time."""
        now = time.monotonic()
        if self._slow_statements.get(statement, 0) <= now:
            rows = self._try_inline(statement, arguments, now)
            if rows is not None:
                return rows
            self._slow_statements[statement] = now + _SLOW_STATEMENT_TTL.total_seconds()
        if self._thread_pool is None:
            self._thread_pool = _ThreadPool(self._connect, self._max_threads)
        return await self._thread_pool.fetch(
            statement, arguments, now + self._timeout.total_seconds()
        )

    async def close(self) -> None:
        quick, self._inline_connection = self._inline_connection, None
        if quick is not None:
            quick.close()
        threads, self._thread_pool = self._thread_pool, None
        if threads is not None:
            await threads.close()

    def _try_inline(
        self, statement: CompiledStatement, arguments: Sequence[object], now: float
    ) -> Sequence[Record] | None:
        """None where it would take too long; every other fault is met again in a thread."""
        if self._inline_connection is None:
            self._inline_connection = _Connection(self._file, timedelta(0), self._reconnect_after)
        self._inline_budget.ends_at = now + _INLINE_TIMEOUT.total_seconds()
        self._inline_budget.cpu_deadline = time.thread_time() + _INLINE_CPU_BUDGET.total_seconds()
        try:
            return self._inline_connection.rows(statement, arguments, self._inline_budget)
        except sqlite3.Error:
            return None

    def _connect(self) -> "_Connection":
        return _Connection(self._file, self._timeout, self._reconnect_after)


class _Budget:
    """When a statement is broken off: when it is too late, or nobody waits for it any more."""

    def __init__(self, deadline: float = -math.inf) -> None:
        """By the monotonic clock."""
        self.ends_at = deadline
        self.cpu_deadline = math.inf
        """By the time that the thread has computed."""
        self.is_cancelled = False

    def is_exhausted(self) -> bool:
        return (
            self.is_cancelled
            or time.monotonic() > self.ends_at
            or time.thread_time() > self.cpu_deadline
        )


class _Connection:
    """Opened when there is something to do, and anew when it has failed or is old."""

    def __init__(self, file: Path, busy_timeout: timedelta, reconnect_after: timedelta) -> None:
        """`patience` is how long it waits for a lock, which readers hardly ever meet."""
        self._uri = f"{file.absolute().as_uri()}?mode=rw"
        self._busy_timeout = busy_timeout
        self._reconnect_after = reconnect_after.total_seconds()
        self._opened_at = -math.inf
        self._driver: sqlite3.Connection | None = None
        self._budget: _Budget | None = None

    def rows(
        self, statement: CompiledStatement, arguments: Sequence[object], budget: _Budget
    ) -> Sequence[Record]:
        """sqlite3.Error for a statement that cannot be run, or not within the limit."""
        now = time.monotonic()
        if now > self._opened_at + self._reconnect_after:
            self.close()
        driver = self._driver or self._open(now)
        if self._budget is not budget:
            driver.set_progress_handler(budget.is_exhausted, _STEPS_PER_CHECK)
            self._budget = budget
        try:
            rows = driver.execute(statement.sql, arguments).fetchall()
        except sqlite3.Error as error:
            # Python's own errors, as for a value that no column takes, have no code.
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                self.close()
            raise
        return list(map(statement.record_class, rows))

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()
        self._driver = self._budget = None

    def _open(self, now: float) -> sqlite3.Connection:
        driver = sqlite3.connect(
            self._uri,
            uri=True,
            timeout=self._busy_timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=False,  # it is used by one after the other
            cached_statements=256,
        )
        driver.execute("PRAGMA query_only=ON")
        self._opened_at = now
        self._driver = driver
        return driver


class _ThreadPool:
    """A few, with a connection each, for what takes its time."""

    def __init__(self, connect: Callable[[], _Connection], max_threads: int) -> None:
        self._connect = connect
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="sqlite-reads")
        self._idle: list[_Connection] = []

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object], deadline: float
    ) -> Sequence[Record]:
        limit = _Budget(deadline)
        running = self._pool.submit(self._run, statement, arguments, limit)
        try:
            return await asyncio.wrap_future(running)
        finally:
            limit.is_cancelled = True

    async def close(self) -> None:
        """Wait until all have ended; nothing is fetched any more."""
        await asyncio.to_thread(self._pool.shutdown)
        while self._idle:
            self._idle.pop().close()

    def _run(
        self, statement: CompiledStatement, arguments: Sequence[object], budget: _Budget
    ) -> Sequence[Record]:
        if budget.is_exhausted():
            raise TimeoutError
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.rows(statement, arguments, budget)
        finally:
            self._idle.append(connection)
