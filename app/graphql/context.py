"""What a resolver is given: the viewer, short reads of their workspace, loaders, the clock. No request."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime

import strawberry

from app.db.engine import Database, Reader
from app.domain.cursors import CursorCodec
from app.graphql.loaders import ListEntries, Loaders
from app.http.state import RequestState
from app.services.api_keys import Viewer

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Context:
    """One operation's surroundings. It holds no session: `read()` opens a short one."""

    viewer: Viewer
    database: Database
    clock: Clock
    cursor_secret: bytes
    state: RequestState
    """Where facts for the log and the metrics are noted; has the request id."""
    list_entries: ListEntries
    loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        loaders = Loaders(self.read, self.clock, self.list_entries)
        object.__setattr__(self, "loaders", loaders)

    def read(self) -> AbstractAsyncContextManager[Reader]:
        """Read the viewer's workspace; close it before awaiting a loader."""
        return self.database.read(self.viewer.workspace_id)

    def cursors(self, list_name: str) -> CursorCodec:
        """The cursors of one list in one order, valid in this workspace alone."""
        return CursorCodec(self.cursor_secret, self.viewer.workspace_id, list_name)


Info = strawberry.Info[Context, None]
