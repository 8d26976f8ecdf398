"""Changes that are too old for the feed are forgotten. Reading them is in app.db, following them in feeds."""

from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

from app.db.core.database import Database
from app.db.repositories.events import delete_events, oldest_events
from app.db.repositories.workspaces import list_workspaces
from app.domain.ids import WorkspaceId

_PRUNE_BATCH_SIZE = 1000
"""So few, that whoever writes does not wait for long."""


async def prune_events(database: Database, now: datetime, *, retention: timedelta) -> None:
    """Forget what is older, over all workspaces, the oldest first; what is left has no holes.

    Where a clock was set back, what was recorded behind a younger change is kept as long as that one. Of
    what is older the last one is kept: by it the cursor of who has seen no more than that is known, and
    misses nothing, however long nothing had happened.
    """
    async with database.unscoped_connection() as connection:
        workspaces = [row.id for row in await list_workspaces(connection)]
    for workspace_id in workspaces:
        while await _prune_batch(database, workspace_id, now - retention):
            pass


async def _prune_batch(database: Database, workspace_id: WorkspaceId, before: datetime) -> bool:
    """Whether there may be more."""
    async with database.unscoped_connection() as connection:
        oldest = await oldest_events(connection, workspace_id, limit=_PRUNE_BATCH_SIZE + 1)
    old = [seq for seq, _ in takewhile(lambda each: each[1] < before, oldest)]
    if len(old) > 1:
        await database.write(partial(delete_events, workspace_id=workspace_id, last_seq=old[-2]))
    return len(old) > _PRUNE_BATCH_SIZE
