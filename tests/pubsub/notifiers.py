"""Wake-ups of processes of the service, of which there may be several in a test. Asserts nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.pubsub.postgresql import PostgreSQLChangeNotifier
from tests.pubsub.postgres_session import connection_options
from tests.pubsub.recorded_wake_ups import RecordedWakeUps


def make_notifier(url: str, name: str = "post-results") -> PostgreSQLChangeNotifier:
    """With a connection of that name."""
    return PostgreSQLChangeNotifier(connection_options(url, name))


@asynccontextmanager
async def start_listening(notifier: PostgreSQLChangeNotifier) -> AsyncIterator[RecordedWakeUps]:
    """It is connected for the first time; whoever is woken from now on."""
    woken = RecordedWakeUps()
    async with notifier.listen(woken):
        assert await woken.next_wake_up() is None
        yield woken
