"""Events: appended with the next numbers of their workspace's counter. What they say is the domain's."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, update

from app.db import models
from app.db.engine import WriteSession
from app.domain.events import Event
from app.domain.ids import ApiKeyId, WorkspaceId


async def append_events(
    session: WriteSession,
    workspace_id: WorkspaceId,
    events: Sequence[Event],
    *,
    actor: ApiKeyId | None,
    operation: str,
    now: datetime,
) -> None:
    """The last statements of a transaction: from here on, others that write wait for its end.

    So the order of the numbers is the order of the commits, and none is missing.
    """
    if not events:
        return
    last = await session.scalar(
        update(models.Workspace)
        .where(models.Workspace.id == workspace_id)
        .values(event_seq=models.Workspace.event_seq + len(events))
        .returning(models.Workspace.event_seq)
    )
    if last is None:
        raise ValueError(f"there is no workspace {workspace_id}")
    first = last - len(events) + 1
    await session.execute(
        insert(models.Event),
        [
            {
                "workspace_id": workspace_id,
                "seq": seq,
                "kind": event.kind.value,
                "actor_key_id": actor,
                "post_id": event.post_id,
                "destination_id": event.destination_id,
                "account_id": event.account_id,
                "payload": {"operation": operation, "changes": event.changes},
                "created_at": now,
            }
            for seq, event in enumerate(events, first)
        ],
        # Without it, events of posts and of destinations would take turns in statements of one row.
        execution_options={"render_nulls": True},
    )
