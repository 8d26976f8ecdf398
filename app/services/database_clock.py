"""Clock of servers and workers that follows the clock of PostgreSQL.

Processes on several machines compare times that others have stored: due times and ends of leases. If their
clocks differed, one would take the running attempt of another for abandoned, and a post would be published
twice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.db.core.database import Database
from app.db.repositories.workspaces import read_database_time
from app.domain.times import Clock
from app.services.periodic import run_periodically

_TOLERANCE = timedelta(seconds=1)
"""Difference that is not corrected, because a correction makes the clock jump; leases last longer."""

_INTERVAL = timedelta(seconds=10)

logger = structlog.stdlib.get_logger(__name__)


class DatabaseClock:
    """Clock of a machine with a correction, which is zero until `synchronize` finds a difference."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._correction = timedelta()

    def __call__(self) -> datetime:
        return self._clock() + self._correction

    async def synchronize(self, database: Database) -> None:
        """Correct the clock if it differs from that of the database by more than the tolerance."""
        before = self()
        database_time = await read_database_time(database.all_workspaces)
        uncertainty = (self() - before) / 2
        difference = database_time - (before + uncertainty)
        if abs(difference) > _TOLERANCE + uncertainty:
            self._correction += difference
            logger.warning(
                "clock corrected to that of the database",
                correction_seconds=self._correction.total_seconds(),
            )


@asynccontextmanager
async def keep_synchronized(clock: Clock, database: Database) -> AsyncIterator[None]:
    """Synchronize a DatabaseClock now and regularly; SQLite is on the same machine, and has its clock."""
    if not isinstance(clock, DatabaseClock) or database.is_sqlite:
        yield
        return
    await clock.synchronize(database)
    task = partial(clock.synchronize, database)
    async with run_periodically("synchronize_clock", task, interval=_INTERVAL):
        yield
