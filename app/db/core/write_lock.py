"""Fair cross-process write lock for an SQLite file.

Writers that wait for SQLite's own lock sleep and poll, so later writers overtake them, for seconds.
Here they wait in the kernel, which wakes them in order of arrival. The lock decides only the order:
SQLite's lock still excludes concurrent writers. A process that does not use this lock stays correct but may
wait longer.
"""

import asyncio
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Protocol

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock

LOCK_FILE_SUFFIXES = ("-lock-queue", "-lock")
"""Suffixes of the two empty lock files beside the database.

The holder of the first is next in line, the holder of the second writes. With the second alone, a writer
that releases and acquires again could overtake the one that is being woken. The database file itself
cannot serve: closing any descriptor of it drops the process's SQLite locks.
"""

_OPEN_FLAGS = os.O_RDONLY | os.O_CREAT
_FILE_MODE = 0o644


class WriteLock(Protocol):
    """Lock with at most one holder among all processes."""

    async def acquire(self) -> None:
        """Wait for the lock, which is held until `release` or the end of the process.

        Raises TimeoutError if the lock is not free in time.
        """

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""


class FileWriteLock:
    """Write lock made of `flock` locks, which the kernel releases when a process ends."""

    def __init__(self, database_file: Path, timeout: timedelta) -> None:
        self._queue_file, self._lock_file = (
            database_file.with_name(database_file.name + suffix) for suffix in LOCK_FILE_SUFFIXES
        )
        self._timeout = timeout
        self._lock_fd: int | None = None

    async def acquire(self) -> None:
        if sys.platform == "win32":
            return  # writers wait for SQLite's own lock
        try:
            self._lock_fd = self._lock_files(LOCK_EX | LOCK_NB)
        except BlockingIOError:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._acquire_in_thread()
        except OSError:
            pass  # folder missing or not writable, or a file system without locks

    def release(self) -> None:
        _close(self._lock_fd)
        self._lock_fd = None

    def _lock_files(self, operation: int) -> int:
        """Return the descriptor of the lock file; closing it releases the lock."""
        queue_fd = os.open(self._queue_file, _OPEN_FLAGS, _FILE_MODE)
        try:
            flock(queue_fd, operation)
            lock_fd = os.open(self._lock_file, _OPEN_FLAGS, _FILE_MODE)
            try:
                flock(lock_fd, operation)
            except OSError:
                os.close(lock_fd)
                raise
        finally:
            os.close(queue_fd)
        return lock_fd

    def _acquire_in_thread(self) -> asyncio.Future[None]:
        """Acquire in a thread that cannot be interrupted; if the future is cancelled, release immediately."""
        loop = asyncio.get_running_loop()
        acquired: asyncio.Future[None] = loop.create_future()

        def wait_for_lock() -> None:
            lock_fd = None
            with suppress(OSError):
                lock_fd = self._lock_files(LOCK_EX)
            try:
                loop.call_soon_threadsafe(hand_over, lock_fd)
            except RuntimeError:  # the event loop is closed
                _close(lock_fd)

        def hand_over(lock_fd: int | None) -> None:
            if acquired.cancelled():
                _close(lock_fd)
            else:
                self._lock_fd = lock_fd
                acquired.set_result(None)

        Thread(target=wait_for_lock, name="sqlite-write-lock", daemon=True).start()
        return acquired


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
