"""Notifiers for tests, and a wake-up callback that records its calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.domain.ids import WorkspaceId
from app.pubsub.postgresql import PostgreSQLChangeNotifier
from tests.pubsub.postgres_session import TIMEOUT_SECONDS, connection_options


class RecordedWakeUps:
    """A WakeCallback that records its calls."""

    def __init__(self) -> None:
        self._unread: asyncio.Queue[WorkspaceId | None] = asyncio.Queue()

    def __call__(self, workspace_id: WorkspaceId | None) -> None:
        self._unread.put_nowait(workspace_id)

    async def next_wake_up(self) -> WorkspaceId | None:
        """Wait for the next unread wake-up."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._unread.get()

    def drain(self) -> list[WorkspaceId | None]:
        """All unread wake-ups."""
        return [self._unread.get_nowait() for _ in range(self._unread.qsize())]


def make_notifier(url: str, name: str = "post-results") -> PostgreSQLChangeNotifier:
    """A notifier whose connection has this application name."""
    return PostgreSQLChangeNotifier(connection_options(url, name))


@asynccontextmanager
async def start_listening(notifier: PostgreSQLChangeNotifier) -> AsyncIterator[RecordedWakeUps]:
    """Listen, and wait for the first connection."""
    wake_ups = RecordedWakeUps()
    async with notifier.listen(wake_ups):
        assert await wake_ups.next_wake_up() is None
        yield wake_ups
