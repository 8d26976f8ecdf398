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
from app.pubsub.notifications import (
    CHANNEL,
    MAX_WORKSPACES_PER_PAYLOAD,
    decode_payload,
    encode_payload,
)
from app.pubsub.protocol import WakeCallback, ignore_wake_up

MIN_NOTIFY_INTERVAL = timedelta(milliseconds=5)
"""Between two notifications: under many writers, it costs them less than one for each would."""

HEARTBEAT_INTERVAL = timedelta(seconds=15)
"""So often a connection on which nothing is sent is tried: it may be broken without a word."""

STATEMENT_TIMEOUT = timedelta(seconds=5)
"""A connection on which the server takes longer for a statement is given up."""

SHUTDOWN_TIMEOUT = timedelta(seconds=1)
"""So long at most it takes to send the rest, and to hang up."""

INITIAL_BACKOFF, MAX_BACKOFF = 0.1, 5.0
"""Seconds; each is drawn between its half and its whole, so that not all processes come back at once."""

logger = structlog.stdlib.get_logger(__name__)


class PostgreSQLChangeNotifier:
    """Between all processes on one database. They can be run in several event loops, one after the other."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        heartbeat_interval: timedelta = HEARTBEAT_INTERVAL,
        statement_timeout: timedelta = STATEMENT_TIMEOUT,
    ) -> None:
        """`options` are those that the connection is opened with, by asyncpg's names."""
        self._options = {**options, "command_timeout": statement_timeout.total_seconds()}
        self._heartbeat_interval = heartbeat_interval.total_seconds()
        self._wake: WakeCallback = ignore_wake_up
        self._pending: set[WorkspaceId] = set()
        """Of which the other processes do not know yet; with more than can be named, it may be any."""
        self._send_requested = asyncio.Event()
        """There is something to be sent, or to be noticed."""
        self._is_listening = self._is_stopping = False

    def notify(self, workspace_id: WorkspaceId) -> None:
        self._wake(workspace_id)
        if len(self._pending) <= MAX_WORKSPACES_PER_PAYLOAD:
            self._pending.add(workspace_id)
        self._send_requested.set()

    @asynccontextmanager
    async def listen(self, wake: WakeCallback) -> AsyncIterator[None]:
        self._wake, self._send_requested, self._is_stopping = wake, asyncio.Event(), False
        listening = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._wake, self._is_stopping = ignore_wake_up, True
            self._send_requested.set()
            try:
                if self._is_listening:
                    await asyncio.wait({listening}, timeout=SHUTDOWN_TIMEOUT.total_seconds())
            finally:
                listening.cancel()
                await asyncio.wait({listening})

    async def _run(self) -> None:
        """With one connection after the other, if need be."""
        pause = INITIAL_BACKOFF
        while not self._is_stopping:
            try:
                async with self._connect_and_listen() as connection:
                    await self._send(connection)
                    if pause != INITIAL_BACKOFF:
                        logger.info("wake-ups arrive again")
                    pause = INITIAL_BACKOFF
                    await self._send_until_stopped(connection)
            except Exception:
                if self._is_stopping:
                    return
                if pause == INITIAL_BACKOFF:  # once is enough of a database that is away for hours
                    logger.warning("no wake-ups arrive; trying again", exc_info=True)
                await asyncio.sleep(pause * (0.5 + SystemRandom().random() / 2))
                pause = min(2 * pause, MAX_BACKOFF)

    @asynccontextmanager
    async def _connect_and_listen(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(**self._options)
        try:
            connection.add_termination_listener(lambda _: self._send_requested.set())
            hear = partial(self._on_notification, connection.get_server_pid())
            await connection.add_listener(CHANNEL, hear)
            self._is_listening = True
            self._wake(None)  # until now, nobody would have heard
            yield connection
            await connection.close()
        finally:
            self._is_listening = False
            connection.terminate()

    async def _send_until_stopped(self, connection: asyncpg.Connection) -> None:
        is_last = False
        while not is_last:
            await asyncio.sleep(MIN_NOTIFY_INTERVAL.total_seconds())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_interval):
                    await self._send_requested.wait()
            is_last = self._is_stopping
            await self._send(connection)

    async def _send(self, connection: asyncpg.Connection) -> None:
        """What was told, in one statement; or just any, to notice where the connection is broken."""
        self._send_requested.clear()
        told, self._pending = self._pending, set()
        try:
            if told:
                await connection.fetch("SELECT pg_notify($1, $2)", CHANNEL, encode_payload(told))
            else:
                await connection.fetch("SELECT 1")
        except BaseException:
            self._pending |= told
            raise

    def _on_notification(
        self, own_pid: int, _connection: object, pid: int, _channel: str, payload: str
    ) -> None:
        if pid == own_pid:
            return  # whoever told has woken this process
        for workspace_id in decode_payload(payload):
            self._wake(workspace_id)
