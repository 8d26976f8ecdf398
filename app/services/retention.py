"""Prunes old events and expired idempotency keys, in small batches."""

from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

from app.db.core.database import Database
from app.db.repositories.events import delete_events, oldest_events
from app.db.repositories.idempotency_keys import delete_expired_idempotency_keys, find_expiry_cutoff
from app.db.repositories.workspaces import list_workspaces
from app.domain.ids import WorkspaceId

_PRUNE_BATCH_SIZE = 1000
"""Small enough that a batch does not delay other writers for long."""


async def prune_events(database: Database, now: datetime, *, retention: timedelta) -> None:
    """Delete events older than `retention` in all workspaces, oldest first, leaving no gaps.

    Retains the newest of the old events, because a client that has seen no newer one resumes after it.
    Also retains an old event behind a newer one, as after a clock was set back, to leave no gap.
    """
    workspaces = [row.id for row in await list_workspaces(database.all_workspaces)]
    for workspace_id in workspaces:
        while await _prune_batch(database, workspace_id, now - retention):
            pass


async def _prune_batch(database: Database, workspace_id: WorkspaceId, before: datetime) -> bool:
    """Prune one batch; return True if there may be more."""
    oldest = await oldest_events(database.read(workspace_id), limit=_PRUNE_BATCH_SIZE + 1)
    old = [seq for seq, _ in takewhile(lambda event: event[1] < before, oldest)]
    if len(old) > 1:
        await database.write(partial(delete_events, workspace_id=workspace_id, last_seq=old[-2]))
    return len(old) > _PRUNE_BATCH_SIZE


async def prune_idempotency_keys(database: Database, now: datetime) -> None:
    """Delete expired idempotency keys, batch by batch; takes no lock if there are none."""
    while True:
        cutoff = await find_expiry_cutoff(database.all_workspaces, now, limit=_PRUNE_BATCH_SIZE)
        if cutoff is None:
            return
        await database.write(partial(delete_expired_idempotency_keys, until=cutoff))
