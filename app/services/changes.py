"""Changes that are too old for the feed are forgotten. Reading them is in app.db, following them in feeds."""

from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

from app.db.engine import Database
from app.db.events import forget_events, oldest_events
from app.db.workspaces import list_workspaces
from app.domain.ids import WorkspaceId

_FORGOTTEN_AT_ONCE = 1000
"""So few, that whoever writes does not wait for long."""


async def forget_old_changes(database: Database, now: datetime, *, kept_for: timedelta) -> None:
    """Forget what is older, over all workspaces, the oldest first; what is left has no holes.

    Where a clock was set back, what was recorded behind a younger change is kept as long as that one. Of
    what is older the last one is kept: by it the cursor of who has seen no more than that is known, and
    misses nothing, however long nothing had happened.
    """
    async with database.read_all_workspaces() as connection:
        workspaces = [row.id for row in await list_workspaces(connection)]
    for workspace_id in workspaces:
        while await _forget_some(database, workspace_id, now - kept_for):
            pass


async def _forget_some(database: Database, workspace_id: WorkspaceId, before: datetime) -> bool:
    """Whether there may be more."""
    async with database.read_all_workspaces() as connection:
        oldest = await oldest_events(connection, workspace_id, limit=_FORGOTTEN_AT_ONCE + 1)
    old = [seq for seq, _ in takewhile(lambda each: each[1] < before, oldest)]
    if len(old) > 1:
        await database.write(partial(forget_events, workspace_id=workspace_id, until=old[-2]))
    return len(old) > _FORGOTTEN_AT_ONCE
