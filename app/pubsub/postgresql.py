"""Change notifier that uses PostgreSQL's LISTEN and NOTIFY, on its own connection.

A transaction that notifies waits at its commit for every other one that does. So no write transaction
notifies; its commit is announced afterwards, by `PostgreSQLChangeNotifier.notify`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from random import SystemRandom
from typing import Any

import asyncpg
import structlog

from app.domain.errors import InvalidId
from app.domain.ids import WorkspaceId, parse_uuid
from app.observability.outages import Outage
from app.pubsub.notifier import WakeCallback, ignore_wake_up

CHANNEL = "post_results"

MIN_NOTIFY_INTERVAL = timedelta(milliseconds=5)
"""Pause between two notifications; costs concurrent writers less than one notification per commit."""

_HEARTBEAT_INTERVAL = timedelta(seconds=15)
"""An idle connection is tested this often, since it may break silently."""

_STATEMENT_TIMEOUT = timedelta(seconds=5)
"""A connection is replaced when a statement takes longer."""

SHUTDOWN_TIMEOUT = timedelta(seconds=1)
"""Maximum time to send pending notifications and to close the connection."""

MAX_WORKSPACES_PER_PAYLOAD = 200
"""A payload must be shorter than 8,000 bytes; with more workspaces it means any workspace."""

_ANY_WORKSPACE = ""
"""Payload of `NOTIFY post_results` typed by hand."""

logger = structlog.stdlib.get_logger(__name__)


class PostgreSQLChangeNotifier:
    """Notifier of all processes on one database. May listen in several event loops, one after the other."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        heartbeat_interval: timedelta = _HEARTBEAT_INTERVAL,
        statement_timeout: timedelta = _STATEMENT_TIMEOUT,
    ) -> None:
        """Create a notifier; `options` are keyword arguments of `asyncpg.connect`."""
        self._options = {**options, "command_timeout": statement_timeout.total_seconds()}
        self._heartbeat_interval = heartbeat_interval.total_seconds()
        self._wake: WakeCallback = ignore_wake_up
        self._pending: set[WorkspaceId] = set()
        """Workspaces not yet sent; more than fit into a payload stand for any workspace."""
        self._send_requested = asyncio.Event()
        """Set for pending workspaces, a broken connection or a stop."""
        self._is_listening = self._is_stopping = False

    def notify(self, workspace_id: WorkspaceId) -> None:
        self._wake(workspace_id)
        if len(self._pending) <= MAX_WORKSPACES_PER_PAYLOAD:
            self._pending.add(workspace_id)
        self._send_requested.set()

    @asynccontextmanager
    async def listen(self, wake: WakeCallback) -> AsyncIterator[None]:
        self._wake, self._send_requested, self._is_stopping = wake, asyncio.Event(), False
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._wake, self._is_stopping = ignore_wake_up, True
            self._send_requested.set()
            try:
                if self._is_listening:
                    await asyncio.wait({task}, timeout=SHUTDOWN_TIMEOUT.total_seconds())
            finally:
                task.cancel()
                await asyncio.wait({task})

    async def _run(self) -> None:
        """Listen and send until stopped; reconnect with backoff."""
        outage = Outage(logger, "change notifications lost, reconnecting")
        while not self._is_stopping:
            try:
                async with self._connect_and_listen() as connection:
                    await self._send(connection)
                    if outage.is_active:
                        logger.info("change notifications restored")
                    outage.end()
                    await self._send_until_stopped(connection)
            except Exception:  # noqa: BLE001 - recorded below, and the connection is replaced
                if self._is_stopping:
                    return
                outage.record_failure()
                await asyncio.sleep(outage.backoff_seconds(SystemRandom().random))

    @asynccontextmanager
    async def _connect_and_listen(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(**self._options)
        try:
            connection.add_termination_listener(lambda _: self._send_requested.set())
            own_pid = connection.get_server_pid()
            await connection.add_listener(CHANNEL, partial(self._on_notification, own_pid))
            self._is_listening = True
            self._wake(None)  # earlier notifications were missed
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
        """Send the pending workspaces, or an empty statement that detects a broken connection."""
        self._send_requested.clear()
        sending, self._pending = self._pending, set()
        try:
            if sending:
                await connection.fetch("SELECT pg_notify($1, $2)", CHANNEL, encode_payload(sending))
            else:
                await connection.fetch("SELECT 1")
        except BaseException:
            self._pending |= sending
            raise

    def _on_notification(
        self, own_pid: int, _connection: object, pid: int, _channel: str, payload: str
    ) -> None:
        if pid == own_pid:
            return  # `notify` has woken this process already
        for workspace_id in decode_payload(payload):
            self._wake(workspace_id)


def encode_payload(workspaces: Collection[WorkspaceId]) -> str:
    if len(workspaces) > MAX_WORKSPACES_PER_PAYLOAD:
        return _ANY_WORKSPACE
    return ",".join(sorted(map(str, workspaces)))


def decode_payload(payload: str) -> Sequence[WorkspaceId | None]:
    """Return the workspaces of a payload; None (all) if unreadable: a needless wake-up is harmless."""
    try:
        return [WorkspaceId(parse_uuid(text)) for text in payload.split(",")]
    except InvalidId:
        return [None]
