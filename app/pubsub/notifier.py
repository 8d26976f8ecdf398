"""The change notifier protocol, and its implementation within one process."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

from app.domain.ids import WorkspaceId

WakeCallback: TypeAlias = Callable[[WorkspaceId | None], None]
"""Called when a workspace may have new changes; None stands for any workspace.

Runs in the event loop, possibly without new changes. Must neither block nor raise.
"""


class ChangeNotifier(Protocol):
    """Notifications of one process. They may be late, repeated or lost, so readers must also poll."""

    def notify(self, workspace_id: WorkspaceId) -> None:
        """Report a commit in a workspace: wake this process immediately, and other processes soon.

        Called in the event loop of `listen`. Neither blocks nor raises.
        """
        ...

    def listen(self, wake: WakeCallback) -> AbstractAsyncContextManager[None]:
        """Call `wake` for notifications inside the context. At most one context may be open.

        Entering waits for nothing; leaving waits for a bounded time.
        """
        ...


def ignore_wake_up(_: WorkspaceId | None) -> None:
    """Do nothing; a WakeCallback."""


class MemoryChangeNotifier:
    """Notifier of its own process only, for SQLite; other processes have to poll."""

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
