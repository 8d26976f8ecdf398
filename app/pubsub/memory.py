"""Wake-ups within one process, for a database that can tell nobody. Other processes have to look."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.domain.ids import WorkspaceId
from app.pubsub.protocol import WakeCallback, ignore_wake_up


class MemoryChangeNotifier:
    """Whoever tells wakes its own process, and no other."""

    def __init__(self) -> None:
        self._wake: WakeCallback = ignore_wake_up

    def notify(self, workspace_id: WorkspaceId) -> None:
        self._wake(workspace_id)

    @asynccontextmanager
    async def listen(self, wake: WakeCallback) -> AsyncIterator[None]:
        self._wake = wake
        try:
            yield
        finally:
            self._wake = ignore_wake_up
