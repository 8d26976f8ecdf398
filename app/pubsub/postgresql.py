"""Wake-ups by PostgreSQL's LISTEN and NOTIFY, on a connection of their own. What they say is elsewhere.

At its commit a transaction that notifies waits for every other that does. So none that writes notifies:
what it committed is told here, afterwards.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from random import SystemRandom
from typing import Any

import asyncpg
import structlog

from app.domain.ids import WorkspaceId
from app.pubsub.notifications import CHANNEL, MOST_NAMED, read_payload, write_payload
from app.pubsub.protocol import Wake, wake_nobody

GAP = timedelta(milliseconds=5)
"""Between two notifications: under many writers, it costs them less than one for each would."""

HEARTBEAT = timedelta(seconds=15)
"""So often a connection on which nothing is sent is tried: it may be broken without a word."""

TIMEOUT = timedelta(seconds=5)
"""A connection on which the server takes longer for a statement is given up."""

PARTING = timedelta(seconds=1)
"""So long at most it takes to send the rest, and to hang up."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds; each is drawn between its half and its whole, so that not all processes come back at once."""

logger = structlog.stdlib.get_logger(__name__)


class PostgreSQLWakeUps:
    """Between all processes on one database. They can be run in several event loops, one after the other."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        heartbeat: timedelta = HEARTBEAT,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        """`options` are those that the connection is opened with, by asyncpg's names."""
        self._options = {**options, "command_timeout": timeout.total_seconds()}
        self._heartbeat = heartbeat.total_seconds()
        self._wake: Wake = wake_nobody
        self._told: set[WorkspaceId] = set()
        """Of which the other processes do not know yet; with more than can be named, it may be any."""
        self._due = asyncio.Event()
        """There is something to be sent, or to be noticed."""
        self._is_listening = self._is_leaving = False

    def tell(self, workspace_id: WorkspaceId) -> None:
        self._wake(workspace_id)
        if len(self._told) <= MOST_NAMED:
            self._told.add(workspace_id)
        self._due.set()

    @asynccontextmanager
    async def running(self, wake: Wake) -> AsyncIterator[None]:
        self._wake, self._due, self._is_leaving = wake, asyncio.Event(), False
        listening = asyncio.create_task(self._listen_until_leaving())
        try:
            yield
        finally:
            self._wake, self._is_leaving = wake_nobody, True
            self._due.set()
            try:
                if self._is_listening:
                    await asyncio.wait({listening}, timeout=PARTING.total_seconds())
            finally:
                listening.cancel()
                await asyncio.wait({listening})

    async def _listen_until_leaving(self) -> None:
        """With one connection after the other, if need be."""
        pause = FIRST_PAUSE
        while not self._is_leaving:
            try:
                async with self._listening() as connection:
                    await self._send(connection)
                    if pause != FIRST_PAUSE:
                        logger.info("wake-ups arrive again")
                    pause = FIRST_PAUSE
                    await self._send_until_leaving(connection)
            except Exception:
                if self._is_leaving:
                    return
                if pause == FIRST_PAUSE:  # once is enough of a database that is away for hours
                    logger.warning("no wake-ups arrive; trying again", exc_info=True)
                await asyncio.sleep(pause * (0.5 + SystemRandom().random() / 2))
                pause = min(2 * pause, LONGEST_PAUSE)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(**self._options)
        try:
            connection.add_termination_listener(lambda _: self._due.set())
            hear = partial(self._hear, connection.get_server_pid())
            await connection.add_listener(CHANNEL, hear)
            self._is_listening = True
            self._wake(None)  # until now, nobody would have heard
            yield connection
            await connection.close()
        finally:
            self._is_listening = False
            connection.terminate()

    async def _send_until_leaving(self, connection: asyncpg.Connection) -> None:
        is_last = False
        while not is_last:
            await asyncio.sleep(GAP.total_seconds())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat):
                    await self._due.wait()
            is_last = self._is_leaving
            await self._send(connection)

    async def _send(self, connection: asyncpg.Connection) -> None:
        """What was told, in one statement; or just any, to notice where the connection is broken."""
        self._due.clear()
        told, self._told = self._told, set()
        try:
            if told:
                await connection.fetch("SELECT pg_notify($1, $2)", CHANNEL, write_payload(told))
            else:
                await connection.fetch("SELECT 1")
        except BaseException:
            self._told |= told
            raise

    def _hear(
        self, own_pid: int, _connection: object, pid: int, _channel: str, payload: str
    ) -> None:
        if pid == own_pid:
            return  # whoever told has woken this process
        for workspace_id in read_payload(payload):
            self._wake(workspace_id)
