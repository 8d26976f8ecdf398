"""Statements that only read, run on SQLite in a few threads with a connection each. No SQL of its own.

A statement is one hop: into a thread and back. What comes in while a thread works is done by the same
thread, and what several have finished is handed over together, so that many hops cost little more than
one. A further thread is only woken for what waits behind a statement that takes its time.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Lock, Thread

from app.db.queries import Prepared, Record

PATIENCE = timedelta(milliseconds=2)
"""So long a statement waits behind others before a further thread takes it."""

_STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's virtual machine; about a millisecond."""

_LAST_WAIT = timedelta(seconds=5)


@dataclass(slots=True, eq=False)
class _Job:
    query: Prepared
    arguments: Sequence[object]
    ends_at: float
    """By the monotonic clock; it is not begun later, and interrupted then."""
    answer: asyncio.Future[list[Record]]
    mailbox: "_Mailbox"


class SQLiteDriver:
    """Reads of one file. It can be used in several event loops, one after the other."""

    def __init__(
        self, file: Path, *, max_threads: int, timeout: timedelta, reconnect_after: timedelta
    ) -> None:
        """A connection goes by the planner's statistics of when it was made, so it is made anew."""
        self._file = file
        self._timeout = timeout.total_seconds()
        self._reconnect_after = reconnect_after.total_seconds()
        self._max_threads = max_threads
        self._jobs: deque[_Job] = deque()
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._working = 0
        self._idle: list[Lock] = []
        """One for each thread that waits; releasing it wakes the thread."""
        self._is_closed = False
        self._mailbox: _Mailbox | None = None

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        """All rows; sqlite3.Error, or TimeoutError where it could not even begin in time."""
        mailbox = self._mailbox
        loop = asyncio.get_running_loop()
        if mailbox is None or mailbox.loop is not loop:
            mailbox = self._mailbox = _Mailbox(loop)
        job = _Job(
            query, arguments, time.monotonic() + self._timeout, loop.create_future(), mailbox
        )
        with self._lock:
            self._jobs.append(job)
            if self._working == 0:
                self._wake_one()
        if len(self._jobs) > 1 and not mailbox.looks_later:
            mailbox.looks_later = True
            loop.call_later(PATIENCE.total_seconds(), self._help, mailbox)
        return await job.answer

    async def close(self) -> None:
        """End the threads, and wait for them; but not for ever for one that hangs."""
        with self._lock:
            self._is_closed = True
            threads, self._threads = self._threads, []
            while self._idle:
                self._wake_one()
        await asyncio.to_thread(_join, threads)
        self._is_closed = False

    def _help(self, mailbox: "_Mailbox") -> None:
        mailbox.looks_later = False
        if self._jobs:
            with self._lock:
                self._wake_one()
            mailbox.looks_later = True
            mailbox.loop.call_later(PATIENCE.total_seconds(), self._help, mailbox)

    def _wake_one(self) -> None:
        """If there is one that does not work; the lock is held."""
        if self._idle:
            self._working += 1
            self._idle.pop().release()
        elif len(self._threads) < self._max_threads:
            self._working += 1
            thread = Thread(target=self._work, name="sqlite reads", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        """What a thread does from its start to the end."""
        me, connection = Lock(), _Connection(self._file, self._timeout, self._reconnect_after)
        me.acquire()
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                if self._rest(me):
                    continue
                connection.close()
                return
            connection.run(job)

    def _rest(self, me: Lock) -> bool:
        """Until there is something to do; False where there will be nothing more."""
        with self._lock:
            if self._jobs:
                return True
            self._working -= 1
            if self._is_closed:
                return False
            self._idle.append(me)
        me.acquire()
        return True


class _Mailbox:
    """Answers for the tasks of one event loop, which is woken once for all that have come by then."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.looks_later = False
        self._answers: deque[tuple[_Job, list[Record] | Exception]] = deque()
        self._is_woken = False

    def put(self, job: _Job, answer: list[Record] | Exception) -> None:
        """From any thread."""
        self._answers.append((job, answer))
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_woken = False  # first, so that what comes from here on wakes it again
        while self._answers:
            job, answer = self._answers.popleft()
            if job.answer.done():
                continue
            if isinstance(answer, Exception):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)


class _Connection:
    """Of one thread; opened when there is something to do, and anew when it has failed or is old."""

    def __init__(self, file: Path, timeout: float, reconnect_after: float) -> None:
        self._uri = f"{file.absolute().as_uri()}?mode=rw"
        self._timeout = timeout
        self._reconnect_after = reconnect_after
        self._opened_at = 0.0
        self._driver: sqlite3.Connection | None = None
        self._job: _Job | None = None

    def run(self, job: _Job) -> None:
        if job.answer.cancelled():
            return
        self._job = job
        try:
            job.mailbox.put(job, self._rows(job))
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and this thread goes on
            job.mailbox.put(job, error)
        self._job = None

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _rows(self, job: _Job) -> list[Record]:
        now = time.monotonic()
        if now > job.ends_at:
            raise TimeoutError
        if now > self._opened_at + self._reconnect_after:
            self.close()
        driver = self._driver or self._open(now)
        try:
            rows = driver.execute(job.query.sql, job.arguments).fetchall()
        except sqlite3.Error:
            self.close()
            raise
        return list(map(job.query.record, rows))

    def _open(self, now: float) -> sqlite3.Connection:
        driver = sqlite3.connect(
            self._uri, uri=True, isolation_level=None, cached_statements=256, timeout=self._timeout
        )
        driver.execute("PRAGMA query_only=ON")
        driver.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)
        self._opened_at = now
        self._driver = driver
        return driver

    def _is_late(self) -> bool:
        """Whether the statement that runs is to be interrupted: too long, or nobody waits for it."""
        job = self._job
        return job is not None and (time.monotonic() > job.ends_at or job.answer.cancelled())


def _join(threads: Sequence[Thread]) -> None:
    for thread in threads:
        thread.join(_LAST_WAIT.total_seconds())
