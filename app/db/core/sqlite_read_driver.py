"""Driver for reads on SQLite: quick statements run inline, slow ones in threads.

A lookup by key takes about 20 µs; handing it to a thread and back takes several times as long. So each
statement starts inline, and is interrupted before it would block the event loop noticeably. An interrupted
statement is repeated in a thread. Readers never wait for a writer.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

from app.db.core.statements import CompiledStatement, Record
from app.runtime.fair_slots import FairSlots, current_caller

_INLINE_CPU_BUDGET = timedelta(milliseconds=10)
"""CPU time of an inline statement. A page of 100 rows with all related rows takes a tenth of it."""

_INLINE_TIMEOUT = timedelta(milliseconds=50)
"""Wall-clock time of an inline statement, including disk reads and other processes' CPU time."""

STEPS_PER_CHECK = 10_000
"""Steps of SQLite's virtual machine between two checks of the budget; about 0.5 ms."""

_ITERATION_CPU_BUDGET = timedelta(milliseconds=25)
"""CPU time of all inline statements in one iteration of the event loop; further ones go to threads.

The fields of one request start in the same iteration. Those of 50 requests for ordinary pages take less.
"""

_SLOW_STATEMENT_TTL = timedelta(seconds=10)
"""Time for which a statement that exceeded the inline budget goes directly to a thread."""


class SQLiteReadDriver:
    """Reads of one file, from several event loops one after the other."""

    def __init__(
        self, file: Path, *, max_threads: int, timeout: timedelta, reconnect_after: timedelta
    ) -> None:
        """Create a driver; `reconnect_after` bounds the age of planner statistics, loaded on connect."""
        self._file = file
        self._timeout = timeout
        self._reconnect_after = reconnect_after
        self._max_threads = max_threads
        self._inline_connection: _Connection | None = None
        self._inline_budget = Budget()
        self._iteration_cpu_time = 0.0
        """Seconds of all inline statements in this iteration of the event loop."""
        self._thread_pool: _ThreadPool | None = None
        self._slow_statements: WeakKeyDictionary[CompiledStatement, float] = WeakKeyDictionary()
        """Expiry of each statement's entry, by the monotonic clock."""

    @property
    def is_reading(self) -> bool:
        """True while a slow statement runs in a thread."""
        return self._thread_pool is not None and self._thread_pool.is_busy

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        """Return all rows; raises sqlite3.Error, or TimeoutError if no thread was free in time.

        Raises RuntimeError inside a write, whose thread must not use the connection of the event loop.
        """
        loop = asyncio.get_running_loop()  # raises RuntimeError in the thread of a write
        now = time.monotonic()
        is_slow = self._slow_statements and self._slow_statements.get(statement, 0) > now
        if not is_slow and self._iteration_cpu_time < _ITERATION_CPU_BUDGET.total_seconds():
            connection, budget = self._inline_connection, self._inline_budget
            if connection is None:
                connection = _Connection(self._file, timedelta(0), self._reconnect_after)
                self._inline_connection = connection
            budget.deadline = now + _INLINE_TIMEOUT.total_seconds()
            started_at = time.thread_time()
            budget.cpu_deadline = started_at + _INLINE_CPU_BUDGET.total_seconds()
            if not self._iteration_cpu_time:
                loop.call_soon(self._begin_iteration)
            try:
                return connection.rows(statement, arguments, budget, now)
            except sqlite3.Error:  # the budget is exceeded, or the error recurs in the thread
                self._slow_statements[statement] = now + _SLOW_STATEMENT_TTL.total_seconds()
            finally:
                self._iteration_cpu_time += time.thread_time() - started_at
        if self._thread_pool is None:
            self._thread_pool = _ThreadPool(self._connect, self._max_threads)
        return await self._thread_pool.fetch(
            statement, arguments, now + self._timeout.total_seconds()
        )

    async def close(self) -> None:
        inline_connection, self._inline_connection = self._inline_connection, None
        if inline_connection is not None:
            inline_connection.close()
        thread_pool, self._thread_pool = self._thread_pool, None
        if thread_pool is not None:
            await thread_pool.close()

    def _begin_iteration(self) -> None:
        self._iteration_cpu_time = 0.0

    def _connect(self) -> "_Connection":
        return _Connection(self._file, self._timeout, self._reconnect_after)


@dataclass(slots=True)
class Budget:
    """Limits after which a running statement is interrupted."""

    deadline: float = -math.inf
    """By the monotonic clock."""
    cpu_deadline: float = math.inf
    """By the CPU time of the thread."""
    is_cancelled: bool = False

    def is_exhausted(self) -> bool:
        return (
            self.is_cancelled
            or time.monotonic() > self.deadline
            or time.thread_time() > self.cpu_deadline
        )


class _Connection:
    """SQLite connection that opens on first use, and reopens after an error or when it is old."""

    def __init__(self, file: Path, busy_timeout: timedelta, reconnect_after: timedelta) -> None:
        """Create a connection; `busy_timeout` limits the wait for a lock, which readers rarely need."""
        self._uri = f"{file.absolute().as_uri()}?mode=rw"
        self._busy_timeout = busy_timeout
        self._reconnect_after = reconnect_after.total_seconds()
        self._opened_at = -math.inf
        self._connection: sqlite3.Connection | None = None
        self._budget: Budget | None = None

    def rows(
        self,
        statement: CompiledStatement,
        arguments: Sequence[object],
        budget: Budget,
        now: float,
    ) -> Sequence[Record]:
        """Run a statement; raises sqlite3.Error, also if the budget is exhausted."""
        if now > self._opened_at + self._reconnect_after:
            self.close()
        connection = self._connection or self._open(now)
        if self._budget is not budget:
            connection.set_progress_handler(budget.is_exhausted, STEPS_PER_CHECK)
            self._budget = budget
        try:
            rows = connection.execute(statement.sql, arguments).fetchall()
        except sqlite3.Error as error:
            # Errors of the sqlite3 module, such as for an unsupported parameter type, have no code.
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                self.close()
            raise
        return list(map(statement.record_class, rows))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._budget = None

    def _open(self, now: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri,
            uri=True,
            timeout=self._busy_timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=False,  # threads use the connection one after the other
            cached_statements=256,
        )
        connection.execute("PRAGMA query_only=ON")
        self._opened_at = now
        self._connection = connection
        return connection


class _ThreadPool:
    """Bounded thread pool for slow statements, with one connection per busy thread, shared by callers."""

    def __init__(self, connect: Callable[[], _Connection], max_threads: int) -> None:
        self._connect = connect
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="sqlite-reads")
        self._slots = FairSlots(max_threads)
        self._max_threads = max_threads
        self._idle: list[_Connection] = []

    @property
    def is_busy(self) -> bool:
        return not self._slots.is_unused

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object], deadline: float
    ) -> Sequence[Record]:
        """Run a statement until `deadline`, by the monotonic clock, with the wait for a thread."""
        budget = Budget(deadline)
        remaining = deadline - time.monotonic()
        try:
            return await self._slots.run_in_executor(
                self._pool,
                current_caller.get(),
                self._run,
                statement,
                arguments,
                budget,
                deadline=asyncio.get_running_loop().time() + remaining,
            )
        finally:
            budget.is_cancelled = True  # a cancelled statement runs until it notices

    async def close(self) -> None:
        """Wait for running statements; `fetch` must not be called afterwards."""
        for _ in range(self._max_threads):
            await self._slots.acquire(None)
        await asyncio.to_thread(self._pool.shutdown)
        while self._idle:
            self._idle.pop().close()

    def _run(
        self, statement: CompiledStatement, arguments: Sequence[object], budget: Budget
    ) -> Sequence[Record]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.rows(statement, arguments, budget, time.monotonic())
        finally:
            self._idle.append(connection)
