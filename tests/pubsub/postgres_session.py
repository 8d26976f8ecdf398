"""A PostgreSQL session beside the service, which can listen, notify and terminate connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import make_url

from app.db.core.postgresql import driver_options
from app.pubsub.postgresql import CHANNEL

Options = dict[str, Any]

TIMEOUT_SECONDS = 10
"""Longer than any step of these tests takes."""


def connection_options(url: str, name: str = "post-results") -> Options:
    """Connection options of the service, with another application name."""
    options = driver_options(make_url(url), timedelta(seconds=5), read_only=True)
    options["server_settings"]["application_name"] = name
    return options


class PostgresSession:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._payloads: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        await self._connection.add_listener(CHANNEL, self._on_notification)

    async def next_payload(self) -> str:
        """Wait for the next payload."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._payloads.get()

    def drain_payloads(self) -> list[str]:
        return [self._payloads.get_nowait() for _ in range(self._payloads.qsize())]

    async def notify(self, payload: str) -> None:
        await self._connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)

    async def backend_pids(self, name: str) -> set[int]:
        """Server processes of the connections with this application name."""
        rows = await self._connection.fetch(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = $1",
            name,
        )
        return {row["pid"] for row in rows}

    async def terminate_backend(self, name: str) -> None:
        """Terminate the only connection with this application name."""
        (pid,) = await self.backend_pids(name)
        await self._connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)

    async def wait_until_disconnected(self, name: str) -> None:
        """Wait, because the server notices a closed connection a moment later."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await self.backend_pids(name):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.005)

    def _on_notification(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._payloads.put_nowait(payload)


@asynccontextmanager
async def open_session(url: str) -> AsyncIterator[PostgresSession]:
    connection = await asyncpg.connect(**connection_options(url, "psql"))
    try:
        yield PostgresSession(connection)
    finally:
        await connection.close()
