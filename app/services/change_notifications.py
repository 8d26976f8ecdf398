"""Whoever commits changes tells all who wait for them, in all processes. What changed stands in the feed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.db.core.database import Database
from app.db.core.postgresql import driver_options
from app.pubsub.memory import MemoryChangeNotifier
from app.pubsub.postgresql import PostgreSQLChangeNotifier
from app.pubsub.protocol import ChangeNotifier, WakeCallback


@asynccontextmanager
async def run_change_notifier(database: Database, wake: WakeCallback) -> AsyncIterator[None]:
    """Within it, this process tells of what it commits, and is woken by all on the same database who tell."""
    wake_ups = _make_notifier(database)
    async with wake_ups.listen(wake):
        with database.on_commit(wake_ups.notify):
            yield


def _make_notifier(database: Database) -> ChangeNotifier:
    if database.is_sqlite:
        return MemoryChangeNotifier()
    return PostgreSQLChangeNotifier(driver_options(database.url, database.timeout))
