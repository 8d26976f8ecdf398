"""Whose turn it is to write to an SQLite file, among all processes that do. No SQL.

Writers that wait for SQLite's own lock sleep and look again, so that others get before them, for seconds.
Here they wait in the kernel, which wakes them in their order. It only lines them up: SQLite's lock still
keeps them apart, so that one which takes no turn does no harm, and waits as it can.
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

LOCK_FILE_SUFFIXES = ("-next", "-turn")
"""Of files beside the database, in which nothing is: who holds the first is next, who the second, writes.

With the second alone, one that leaves and comes again could be faster than the one that is woken. And not
the database itself: a process that closes that drops SQLite's locks of it.
"""

_OPEN_FLAGS = os.O_RDONLY | os.O_CREAT
_FILE_MODE = 0o644


class WriteLock(Protocol):
    """One at a time takes its turn, and leaves."""

    async def acquire(self) -> None:
        """Wait for our turn, which lasts until we leave, or our process ends in whatever way.

        TimeoutError if it does not come in time.
        """

    def release(self) -> None:
        """Let the next one; nothing, if it is not our turn."""


class FileWriteLock:
    """Locks of files, which the kernel takes from a process that ends."""

    def __init__(self, database_file: Path, timeout: timedelta) -> None:
        self._queue_file, self._lock_file = (
            database_file.with_name(database_file.name + each) for each in LOCK_FILE_SUFFIXES
        )
        self._timeout = timeout
        self._lock_fd: int | None = None

    async def acquire(self) -> None:
        if sys.platform == "win32":
            return  # everybody waits for SQLite's own lock
        try:
            self._lock_fd = self._lock_files(LOCK_EX | LOCK_NB)
        except BlockingIOError:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._acquire_in_thread()
        except (
            OSError
        ):  # a folder that is closed to us or not there, or a file system without locks
            pass

    def release(self) -> None:
        _close(self._lock_fd)
        self._lock_fd = None

    def _lock_files(self, operation: int) -> int:
        """The descriptor of the turn; closed, it is over."""
        next_one = os.open(self._queue_file, _OPEN_FLAGS, _FILE_MODE)
        try:
            flock(next_one, operation)
            turn = os.open(self._lock_file, _OPEN_FLAGS, _FILE_MODE)
            try:
                flock(turn, operation)
            except OSError:
                os.close(turn)
                raise
        finally:
            os.close(next_one)
        return turn

    def _acquire_in_thread(self) -> asyncio.Future[None]:
        """The wait, which nothing ends but the turn; if nobody wants that any more, it is passed on."""
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[None] = loop.create_future()

        def wait_for_lock() -> None:
            turn = None
            with suppress(OSError):
                turn = self._lock_files(LOCK_EX)
            try:
                loop.call_soon_threadsafe(hand_over, turn)
            except RuntimeError:  # the loop has ended
                _close(turn)

        def hand_over(lock_fd: int | None) -> None:
            if arrival.cancelled():
                _close(lock_fd)
            else:
                self._lock_fd = lock_fd
                arrival.set_result(None)

        Thread(target=wait_for_lock, name="waiting for a turn", daemon=True).start()
        return arrival


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


class NoWriteLock:
    """Everybody waits for SQLite's own lock."""

    async def acquire(self) -> None:
        pass

    def release(self) -> None:
        pass
