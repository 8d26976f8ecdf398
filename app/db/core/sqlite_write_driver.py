"""Driver for writes on SQLite: each transaction runs in one piece in the only writer thread of the process.

The event loop is not involved between the statements. So a busy loop does not prolong a transaction, nor
the time for which its lock delays other writers.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

from app.db.core.sqlite import WRITE_PRAGMAS
from app.db.core.sqlite_read_driver import STEPS_PER_CHECK, Budget
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_lock import WriteLock
from app.db.core.write_session import Transaction, suppressed_statement_error
from app.runtime.fair_slots import FairSlots, current_caller

T = TypeVar("T")

_MAX_SUBMITTED = 2
"""Transactions in the thread: the running one, and one that follows without a wait for the event loop."""


class SQLiteWriteDriver:
    """Writes of one file, from several event loops one after the other."""

    def __init__(self, file: Path, write_lock: WriteLock, timeout: timedelta) -> None:
        """Create a driver; `timeout` limits the waits for the thread and for a lock, and each statement."""
        self._uri = f"{file.absolute().as_uri()}?mode=rw"
        self._write_lock = write_lock
        self._timeout = timeout
        self._slots = FairSlots(_MAX_SUBMITTED, max_per_caller=_MAX_SUBMITTED)
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_closing = False

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; any exception rolls it back.

        If the caller is cancelled, a transaction that has not begun never runs, and a running one is
        interrupted. Raises sqlite3.Error, TimeoutError during `close` or if the thread or the lock was not
        free in time, and RuntimeError inside another write, or if `work` awaits anything but its transaction.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "write() was called inside a write, which it would wait for"
            ) from None
        deadline = loop.time() + self._timeout.total_seconds()
        async with self._slots.hold(current_caller.get(), deadline):
            return await self._write(work, deadline)

    async def _write(self, work: Callable[[Transaction], Awaitable[T]], deadline: float) -> T:
        if self._is_closing:
            raise TimeoutError
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        budget = Budget()
        future = self._executor.submit(self._run, work, budget)
        result = asyncio.wrap_future(future)
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait([result], timeout=remaining)
            if future.cancel():  # the thread has not begun it yet
                raise TimeoutError
            return await result
        finally:
            budget.is_cancelled = True
            result.cancel()

    async def close(self) -> None:
        """Wait for the running transaction; those that have not begun never run. A later one reconnects."""
        self._is_closing = True  # a write in a new thread would use the connection of the old one
        if self._executor is not None:
            await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()
        self._executor = self._connection = None
        self._is_closing = False

    def _run(self, work: Callable[[Transaction], Awaitable[T]], budget: Budget) -> T:
        """Run one transaction in the writer thread."""
        lock = self._write_lock.acquire()
        try:
            connection = self._connection or self._open()
            connection.set_progress_handler(budget.is_exhausted, STEPS_PER_CHECK)
            transaction = _SQLiteTransaction(connection, budget, self._timeout)
            try:
                # A deferred transaction that reads before it writes fails immediately if another writer
                # commits in between.
                transaction.execute("BEGIN IMMEDIATE")
                result = _run_without_suspension(work(transaction))
                if transaction.has_failed:
                    raise suppressed_statement_error()
                transaction.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise
        finally:
            lock.release()
        return result

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri,
            uri=True,
            timeout=self._timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=False,  # `close` runs in another thread
            cached_statements=256,
        )
        for name, value in WRITE_PRAGMAS.items():
            connection.execute(f"PRAGMA {name}={value}")
        self._connection = connection
        return connection

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection = None
            connection.close()


class _SQLiteTransaction:
    """Transaction whose coroutines never suspend."""

    def __init__(self, connection: sqlite3.Connection, budget: Budget, timeout: timedelta) -> None:
        self._connection = connection
        self._budget = budget
        self._timeout = timeout.total_seconds()
        self.has_failed = False
        """True once a statement has failed."""

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        return [*map(statement.record_class, self.execute(statement.sql, arguments))]

    async def fetch_many(
        self, statement: CompiledStatement, arguments: Sequence[Sequence[object]]
    ) -> Sequence[Record]:
        rows: list[tuple[object, ...]] = []
        for each in arguments:
            rows += self.execute(statement.sql, each)
        return [*map(statement.record_class, rows)]

    def execute(self, sql: str, arguments: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return all rows; raises CancelledError if the caller of the write was cancelled."""
        if self._budget.is_cancelled:
            raise asyncio.CancelledError
        self._budget.deadline = time.monotonic() + self._timeout
        try:
            return self._connection.execute(sql, arguments).fetchall()
        except sqlite3.Error:
            self.has_failed = True
            raise


def _run_without_suspension(work: Awaitable[T]) -> T:
    """Run the work of a transaction to its end; raises RuntimeError if it waits for anything else."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return cast("T", end.value)
    steps.close()
    raise RuntimeError("the work of a write awaited something besides its session")
