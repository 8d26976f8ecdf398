"""What whoever writes and whoever waits for changes share. How a wake-up gets there is each way's own."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from app.domain.ids import WorkspaceId

WakeCallback: TypeAlias = Callable[[WorkspaceId | None], None]
"""There may be something new in this workspace; None: in any of them.

It is called in the event loop, also where there is nothing new. It must neither block nor raise.
"""


class ChangeNotifier(Protocol):
    """Those of one process. They may come late, twice or never: whoever waits must also look by itself."""

    def notify(self, workspace_id: WorkspaceId) -> None:
        """Something was committed there: wake this process at once, and the others soon.

        It is called in the event loop, where these wake-ups run. It waits for nothing and never raises.
        """
        ...

    def listen(self, wake: WakeCallback) -> AbstractAsyncContextManager[None]:
        """Within it wake-ups arrive, and none after it. It is not entered again before it was left.

        Nothing is waited for at its beginning, and not for long at its end.
        """
        ...


def ignore_wake_up(_: WorkspaceId | None) -> None:
    """Of wake-ups that do not run."""
