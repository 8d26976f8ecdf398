"""Wake-ups of processes of the service, of which there may be several in a test. Asserts nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.pubsub.postgresql import PostgreSQLWakeUps
from tests.pubsub.psql import options_for
from tests.pubsub.woken import Woken


def wake_ups_of(url: str, name: str = "post-results") -> PostgreSQLWakeUps:
    """With a connection of that name."""
    return PostgreSQLWakeUps(options_for(url, name))


@asynccontextmanager
async def listening(wake_ups: PostgreSQLWakeUps) -> AsyncIterator[Woken]:
    """It is connected for the first time; whoever is woken from now on."""
    woken = Woken()
    async with wake_ups.running(woken):
        assert await woken.by() is None
        yield woken
