"""What a person can do and see at a prompt of the database beside the service. Knows no wake-ups."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import make_url

from app.db.core.postgresql import driver_options
from app.pubsub.postgresql import CHANNEL
from tests.pubsub.recorded_wake_ups import TIMEOUT_SECONDS

Options = dict[str, Any]


def connection_options(url: str, name: str = "post-results") -> Options:
    """What the service opens a connection with, but for the connection's name."""
    options = driver_options(make_url(url), timedelta(seconds=5))
    options["server_settings"]["application_name"] = name
    return options


class PostgresSession:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._payloads: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        await self._connection.add_listener(CHANNEL, self._on_notification)

    async def next_payload(self) -> str:
        """Of the next notification; waits for it."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._payloads.get()

    def drain_payloads(self) -> list[str]:
        return [self._payloads.get_nowait() for _ in range(self._payloads.qsize())]

    async def notify(self, payload: str) -> None:
        await self._connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)

    async def backend_pids(self, name: str) -> set[int]:
        """Of the server, for connections of that name."""
        found = await self._connection.fetch(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = $1",
            name,
        )
        return {each["pid"] for each in found}

    async def terminate_backend(self, name: str) -> None:
        """The one connection of that name."""
        (process,) = await self.backend_pids(name)
        await self._connection.execute("SELECT pg_terminate_backend($1, 5000)", process)

    async def wait_until_disconnected(self, name: str) -> None:
        """The server notices a moment later that somebody hung up."""
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
