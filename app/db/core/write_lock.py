"""Fair cross-process write lock for an SQLite file.

Writers that wait for SQLite's own lock sleep and poll, so later writers overtake them, for seconds.
Here they wait in the kernel, which wakes them in order of arrival. The lock decides only the order:
SQLite's lock still excludes concurrent writers. A process that does not use this lock stays correct but may
wait longer.
"""

import os
import sys
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
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


class HeldLock(Protocol):
    """A lock that has been acquired."""

    def release(self) -> None:
        """Release the lock; does nothing if it was released before."""


class WriteLock(Protocol):
    """Lock with at most one holder among all processes, and in each of them."""

    def acquire(self) -> HeldLock:
        """Block until the lock is acquired; it is held until `release` or the end of the process.

        Raises TimeoutError if the lock is not free in time.
        """


class FileWriteLock:
    """Write lock made of `flock` locks, which the kernel releases when a process ends."""

    def __init__(self, database_file: Path, timeout: timedelta) -> None:
        self._queue_file, self._lock_file = (
            database_file.with_name(database_file.name + suffix) for suffix in LOCK_FILE_SUFFIXES
        )
        self._timeout = timeout

    def acquire(self) -> HeldLock:
        if sys.platform == "win32":
            return _FileLock(None)  # writers wait for SQLite's own lock
        try:
            return _FileLock(self._lock_files(LOCK_EX | LOCK_NB))
        except BlockingIOError:
            return self._acquire_in_thread()
        except OSError:
            return _FileLock(None)  # folder missing or not writable, or no locks in the file system

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

    def _acquire_in_thread(self) -> HeldLock:
        """Wait in a thread, because `flock` cannot be interrupted; it releases a lock that comes too late."""
        acquired: Future[_FileLock] = Future()

        def wait_for_lock() -> None:
            lock_fd = None
            with suppress(OSError):
                lock_fd = self._lock_files(LOCK_EX)
            lock = _FileLock(lock_fd)
            if acquired.set_running_or_notify_cancel():
                acquired.set_result(lock)
            else:
                lock.release()

        Thread(target=wait_for_lock, name="sqlite-write-lock", daemon=True).start()
        try:
            return acquired.result(self._timeout.total_seconds())
        except TimeoutError:
            if acquired.cancel():
                raise
            return acquired.result()


@dataclass(slots=True)
class _FileLock:
    descriptor: int | None

    def release(self) -> None:
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)
