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

from app.db.queries import Prepared, Record

_QUICK_WORK = timedelta(milliseconds=10)
"""Of computing. In a tenth of it, a page of a hundred rows is read with all that belongs to them."""

_QUICK = timedelta(milliseconds=50)
"""With what other processes take meanwhile, and with reads from the disk."""

_STEPS_BETWEEN_LOOKS = 10_000
"""Of SQLite's virtual machine; about half a millisecond."""

_REMEMBERED = timedelta(seconds=10)
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
        self._quick: _Connection | None = None
        self._at_once = _Limit()
        self._threads: _Threads | None = None
        self._not_quick: WeakKeyDictionary[Prepared, float] = WeakKeyDictionary()
        """Until when each counts as such, by the monotonic clock."""

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        """All rows; sqlite3.Error, or TimeoutError where it could not even begin in time."""
        now = time.monotonic()
        if self._not_quick.get(query, 0) <= now:
            rows = self._try_at_once(query, arguments, now)
            if rows is not None:
                return rows
            self._not_quick[query] = now + _REMEMBERED.total_seconds()
        if self._threads is None:
            self._threads = _Threads(self._connect, self._max_threads)
        return await self._threads.fetch(query, arguments, now + self._timeout.total_seconds())

    async def close(self) -> None:
        quick, self._quick = self._quick, None
        if quick is not None:
            quick.close()
        threads, self._threads = self._threads, None
        if threads is not None:
            await threads.close()

    def _try_at_once(
        self, query: Prepared, arguments: Sequence[object], now: float
    ) -> Sequence[Record] | None:
        """None where it would take too long; every other fault is met again in a thread."""
        if self._quick is None:
            self._quick = _Connection(self._file, timedelta(0), self._reconnect_after)
        self._at_once.ends_at = now + _QUICK.total_seconds()
        self._at_once.work_ends_at = time.thread_time() + _QUICK_WORK.total_seconds()
        try:
            return self._quick.rows(query, arguments, self._at_once)
        except sqlite3.Error:
            return None

    def _connect(self) -> "_Connection":
        return _Connection(self._file, self._timeout, self._reconnect_after)


class _Limit:
    """When a statement is broken off: when it is too late, or nobody waits for it any more."""

    def __init__(self, ends_at: float = -math.inf) -> None:
        """By the monotonic clock."""
        self.ends_at = ends_at
        self.work_ends_at = math.inf
        """By the time that the thread has computed."""
        self.is_given_up = False

    def is_reached(self) -> bool:
        return (
            self.is_given_up
            or time.monotonic() > self.ends_at
            or time.thread_time() > self.work_ends_at
        )


class _Connection:
    """Opened when there is something to do, and anew when it has failed or is old."""

    def __init__(self, file: Path, patience: timedelta, reconnect_after: timedelta) -> None:
        """`patience` is how long it waits for a lock, which readers hardly ever meet."""
        self._uri = f"{file.absolute().as_uri()}?mode=rw"
        self._patience = patience
        self._reconnect_after = reconnect_after.total_seconds()
        self._opened_at = -math.inf
        self._driver: sqlite3.Connection | None = None
        self._limit: _Limit | None = None

    def rows(self, query: Prepared, arguments: Sequence[object], limit: _Limit) -> Sequence[Record]:
        """sqlite3.Error for a statement that cannot be run, or not within the limit."""
        now = time.monotonic()
        if now > self._opened_at + self._reconnect_after:
            self.close()
        driver = self._driver or self._open(now)
        if self._limit is not limit:
            driver.set_progress_handler(limit.is_reached, _STEPS_BETWEEN_LOOKS)
            self._limit = limit
        try:
            rows = driver.execute(query.sql, arguments).fetchall()
        except sqlite3.Error as error:
            # Python's own errors, as for a value that no column takes, have no code.
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                self.close()
            raise
        return list(map(query.record, rows))

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()
        self._driver = self._limit = None

    def _open(self, now: float) -> sqlite3.Connection:
        driver = sqlite3.connect(
            self._uri,
            uri=True,
            timeout=self._patience.total_seconds(),
            isolation_level=None,
            check_same_thread=False,  # it is used by one after the other
            cached_statements=256,
        )
        driver.execute("PRAGMA query_only=ON")
        self._opened_at = now
        self._driver = driver
        return driver


class _Threads:
    """A few, with a connection each, for what takes its time."""

    def __init__(self, connect: Callable[[], _Connection], max_threads: int) -> None:
        self._connect = connect
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="sqlite-reads")
        self._idle: list[_Connection] = []

    async def fetch(
        self, query: Prepared, arguments: Sequence[object], ends_at: float
    ) -> Sequence[Record]:
        limit = _Limit(ends_at)
        running = self._pool.submit(self._run, query, arguments, limit)
        try:
            return await asyncio.wrap_future(running)
        finally:
            limit.is_given_up = True

    async def close(self) -> None:
        """Wait until all have ended; nothing is fetched any more."""
        await asyncio.to_thread(self._pool.shutdown)
        while self._idle:
            self._idle.pop().close()

    def _run(self, query: Prepared, arguments: Sequence[object], limit: _Limit) -> Sequence[Record]:
        if limit.is_reached():
            raise TimeoutError
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.rows(query, arguments, limit)
        finally:
            self._idle.append(connection)
