"""Whoever commits changes tells all who wait for them, in all processes. What changed stands in the feed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.db.engine import Database
from app.db.postgresql import driver_options
from app.pubsub.memory import MemoryWakeUps
from app.pubsub.postgresql import PostgreSQLWakeUps
from app.pubsub.protocol import Wake, WakeUps


@asynccontextmanager
async def telling_of_changes(database: Database, wake: Wake) -> AsyncIterator[None]:
    """Within it, this process tells of what it commits, and is woken by all on the same database who tell."""
    wake_ups = _wake_ups(database)
    async with wake_ups.running(wake):
        with database.telling(wake_ups.tell):
            yield


def _wake_ups(database: Database) -> WakeUps:
    if database.is_sqlite:
        return MemoryWakeUps()
    return PostgreSQLWakeUps(driver_options(database.url, database.timeout))
