"""Events: appended with the next numbers of their workspace's counter, read as a feed, forgotten in the end.

What they say is the domain's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db import models
from app.db.core.database import Reader, WriteSession
from app.db.core.projections import cached_statement
from app.db.core.statements import AnyRow, Statement, any_of
from app.domain.errors import ResyncRequired
from app.domain.events import FEED_START, Change, ChangeFilter, Event, EventKind, FeedPosition
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


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A stretch of a feed."""

    changes: Sequence[Change]
    next_position: FeedPosition
    """From where to go on: up to here, nothing else was asked for."""
    has_more: bool
    """Whether there is more to look at; what is wanted may not be among it."""
    latest_position: FeedPosition
    """Behind the last event there is, whatever was asked for."""


MAX_SCANNED = 50_000
"""Changes that are looked at for a page of some kinds, in some 15 ms; there may be many millions."""


async def newest_position(reader: Reader) -> FeedPosition:
    """Behind the last event."""
    row = await reader.first(_NEWEST_EVENT)
    return FEED_START if row is None else FeedPosition(row.seq, row.created_at)


async def read_changes(
    reader: Reader,
    after: FeedPosition | None,
    change_filter: ChangeFilter,
    *,
    limit: int,
    scan_limit: int = MAX_SCANNED,
) -> ChangePage:
    """The first of them after a position, or of all that are kept; fewer where it has looked at so many.

    ResyncRequired where some that came after the position are not kept any more. That is looked at last:
    what is forgotten meanwhile would be missing too.
    """
    newest = await newest_position(reader)
    end = newest
    if (
        change_filter.kinds is not None and change_filter.post_id is None
    ):  # the one search without an index
        end = await _scan_end(reader, after, scan_limit, newest)
    # Whatever is up to there can be read: a number is given out by the transaction of its event.
    rows = await _read_event_rows(reader, after, change_filter, until=end.seq, limit=limit + 1)
    if after is not None:
        await check_position(reader, after)
    found = [_change_from_row(row) for row in rows[:limit]]
    is_full = len(rows) > limit
    until = found[-1].position if is_full else end
    return ChangePage(found, until, is_full or end is not newest, newest)


async def _scan_end(
    reader: Reader, after: FeedPosition | None, scan_limit: int, newest: FeedPosition
) -> FeedPosition:
    """So many further on, or at the newest; ResyncRequired where that is not kept any more."""
    if after is None:
        oldest = await reader.first(_OLDEST_EVENT)
        start = 0 if oldest is None else oldest.seq - 1
    else:
        start = after.seq
    if start + scan_limit >= newest.seq:
        return newest
    row = await reader.first(_EVENT_TIME, seq=start + scan_limit)
    if row is not None:
        return FeedPosition(row.seq, row.created_at)
    if after is not None:  # what came right after it is not kept any more either
        raise resync_required_error()
    return newest  # the oldest was forgotten just now


async def read_contiguous_changes(
    reader: Reader, after: FeedPosition, *, limit: int
) -> list[Change]:
    """All that come next, without a gap; ResyncRequired where that cannot be told any more."""
    if after == FEED_START:
        rows = await _read_event_rows(reader, None, ChangeFilter(), until=None, limit=limit)
        is_whole = not rows or rows[0].seq == 1
        following = rows
    else:
        # With its own, which is another one where a backup was restored, or not kept any more.
        own = FeedPosition(after.seq - 1, None)
        rows = await _read_event_rows(reader, own, ChangeFilter(), until=None, limit=limit + 1)
        is_whole = bool(rows) and (rows[0].seq, rows[0].created_at) == (
            after.seq,
            after.happened_at,
        )
        following = rows[1:]
    if not is_whole:
        raise resync_required_error()
    return [_change_from_row(row) for row in following]


async def check_position(reader: Reader, position: FeedPosition) -> None:
    """ResyncRequired unless all that came after it is kept: as it is where its own event is."""
    if position == FEED_START:
        oldest = await reader.first(_OLDEST_EVENT)
        is_kept = oldest is None or oldest.seq == 1
    else:
        row = await reader.first(_EVENT_TIME, seq=position.seq)
        is_kept = row is not None and row.created_at == position.happened_at
    if not is_kept:
        raise resync_required_error()


async def oldest_events(
    connection: AsyncConnection, workspace_id: WorkspaceId, *, limit: int
) -> Sequence[tuple[int, datetime]]:
    """Number and time of the first ones that are kept."""
    event = models.Event
    found = await connection.execute(
        select(event.seq, event.created_at)
        .where(event.workspace_id == workspace_id)
        .order_by(event.seq)
        .limit(limit)
    )
    return [(row.seq, row.created_at) for row in found]


async def delete_events(session: WriteSession, workspace_id: WorkspaceId, last_seq: int) -> None:
    """All with this number or a lower one."""
    event = models.Event
    await session.execute(
        delete(event).where(event.workspace_id == workspace_id, event.seq <= last_seq)
    )


def resync_required_error() -> ResyncRequired:
    """For whoever went on too late."""
    return ResyncRequired(
        "The changes after this cursor are not kept any more. Read anew what you need, and go on from"
        " the latest cursor.",
        argument="after",
    )


async def _read_event_rows(
    reader: Reader,
    after: FeedPosition | None,
    change_filter: ChangeFilter,
    *,
    until: int | None,
    limit: int,
) -> Sequence[AnyRow]:
    values: dict[str, object] = {"after": 0 if after is None else after.seq, "room": limit}
    if until is not None:
        values["until"] = until
    if change_filter.kinds is not None:
        values["kinds"] = [kind.value for kind in change_filter.kinds]
    if change_filter.post_id is not None:
        values["post_id"] = change_filter.post_id
    return await reader.rows(_select_events(tuple(values)), **values)


_CONDITIONS = {
    "after": models.Event.seq > bindparam("after"),
    "until": models.Event.seq <= bindparam("until"),
    "kinds": any_of(models.Event.kind, "kinds"),
    "post_id": models.Event.post_id == bindparam("post_id"),
}


@cached_statement()
def _select_events(filters: tuple[str, ...]) -> Statement:
    """Served by the primary key; for one post, by ix_event_workspace_id_post_id_seq."""
    event = models.Event
    conditions = [condition for name, condition in _CONDITIONS.items() if name in filters]
    return Statement(
        select(
            event.seq,
            event.kind,
            event.actor_key_id,
            event.post_id,
            event.destination_id,
            event.account_id,
            event.payload,
            event.created_at,
        )
        .where(*conditions)
        .order_by(event.seq)
        .limit(bindparam("room"))
    )


_SEQ_AND_TIME = select(models.Event.seq, models.Event.created_at)
_NEWEST_EVENT = Statement(_SEQ_AND_TIME.order_by(models.Event.seq.desc()).limit(1))
_OLDEST_EVENT = Statement(_SEQ_AND_TIME.order_by(models.Event.seq).limit(1))
_EVENT_TIME = Statement(_SEQ_AND_TIME.where(models.Event.seq == bindparam("seq")))


def _change_from_row(row: AnyRow) -> Change:
    payload = row.payload
    return Change(
        seq=row.seq,
        kind=EventKind(row.kind),
        operation=payload["operation"],
        actor=row.actor_key_id,
        post_id=row.post_id,
        destination_id=row.destination_id,
        account_id=row.account_id,
        changes=payload["changes"],
        happened_at=row.created_at,
    )
