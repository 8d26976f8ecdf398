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

_OPEN = os.O_RDONLY | os.O_CREAT
_MODE = 0o644


class Turns(Protocol):
    """One at a time takes its turn, and leaves."""

    async def take(self) -> None:
        """Wait for our turn, which lasts until we leave, or our process ends in whatever way.

        TimeoutError if it does not come in time.
        """

    def leave(self) -> None:
        """Let the next one; nothing, if it is not our turn."""


class FileTurns:
    """Locks of files, which the kernel takes from a process that ends."""

    def __init__(self, database: Path, timeout: timedelta) -> None:
        self._next_one, self._turn = (
            database.with_name(database.name + each) for each in LOCK_FILE_SUFFIXES
        )
        self._timeout = timeout
        self._held: int | None = None

    async def take(self) -> None:
        if sys.platform == "win32":
            return  # everybody waits for SQLite's own lock
        try:
            self._held = self._locked(LOCK_EX | LOCK_NB)
        except BlockingIOError:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._in_a_thread()
        except (
            OSError
        ):  # a folder that is closed to us or not there, or a file system without locks
            pass

    def leave(self) -> None:
        _close(self._held)
        self._held = None

    def _locked(self, how: int) -> int:
        """The descriptor of the turn; closed, it is over."""
        next_one = os.open(self._next_one, _OPEN, _MODE)
        try:
            flock(next_one, how)
            turn = os.open(self._turn, _OPEN, _MODE)
            try:
                flock(turn, how)
            except OSError:
                os.close(turn)
                raise
        finally:
            os.close(next_one)
        return turn

    def _in_a_thread(self) -> asyncio.Future[None]:
        """The wait, which nothing ends but the turn; if nobody wants that any more, it is passed on."""
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[None] = loop.create_future()

        def wait() -> None:
            turn = None
            with suppress(OSError):
                turn = self._locked(LOCK_EX)
            try:
                loop.call_soon_threadsafe(arrive, turn)
            except RuntimeError:  # the loop has ended
                _close(turn)

        def arrive(turn: int | None) -> None:
            if arrival.cancelled():
                _close(turn)
            else:
                self._held = turn
                arrival.set_result(None)

        Thread(target=wait, name="waiting for a turn", daemon=True).start()
        return arrival


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


class NoTurns:
    """Everybody waits for SQLite's own lock."""

    async def take(self) -> None:
        pass

    def leave(self) -> None:
        pass
