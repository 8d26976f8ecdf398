"""Who is woken, and remembers by what. What wakes is the tests' matter."""

import asyncio

from app.domain.ids import WorkspaceId

TIMEOUT_SECONDS = 10
"""Nothing that a test waits for takes so long."""


class RecordedWakeUps:
    """A `Wake`."""

    def __init__(self) -> None:
        self._unread: asyncio.Queue[WorkspaceId | None] = asyncio.Queue()

    def __call__(self, workspace_id: WorkspaceId | None) -> None:
        self._unread.put_nowait(workspace_id)

    async def next_wake_up(self) -> WorkspaceId | None:
        """What it was woken by next; waits for it."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._unread.get()

    def drain(self) -> list[WorkspaceId | None]:
        """What it was woken by, as far as nobody has asked."""
        return [self._unread.get_nowait() for _ in range(self._unread.qsize())]
