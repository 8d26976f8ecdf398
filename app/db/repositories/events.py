"""Events: appended with sequence numbers from the workspace counter, read as a feed, and pruned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, not_, select, update

from app.db import models
from app.db.core.conditions import any_of
from app.db.core.database import Reader
from app.db.core.paging import Direction
from app.db.core.projections import cached_statement, columns_except
from app.db.core.statements import Record, Statement, decoded_rows
from app.db.core.write_session import WriteSession
from app.db.core.writes import insert_rows
from app.domain.errors import ResyncRequired
from app.domain.events import FEED_START, Event, EventFilter, EventKind, FeedPosition, StoredEvent
from app.domain.ids import ApiKeyId


async def append_events(
    session: WriteSession,
    events: Sequence[Event],
    *,
    actor: ApiKeyId | None,
    person: str | None = None,
    operation: str,
    now: datetime,
) -> None:
    """Append events with the next sequence numbers; must be the last statements of a transaction.

    Updating the counter blocks other writers until the commit. So sequence numbers follow commit order,
    without gaps.
    """
    if not events:
        return
    counters = await session.rows(_ADVANCE_COUNTER, number=len(events))
    if not counters:
        raise ValueError(f"workspace {session.workspace_id} does not exist")
    first = counters[0].event_seq - len(events) + 1
    await insert_rows(
        session,
        models.Event,
        [
            {
                "seq": seq,
                "kind": event.kind.value,
                "actor_key_id": actor,
                "post_id": event.post_id,
                "destination_id": event.destination_id,
                "account_id": event.account_id,
                "payload": {
                    "operation": operation,
                    "changes": event.values,
                    "previous": event.previous,
                },
                "created_at": now,
                "person": person,
            }
            for seq, event in enumerate(events, first)
        ],
    )


_ADVANCE_COUNTER = (
    update(models.Workspace)
    .values(event_seq=models.Workspace.event_seq + bindparam("number"))
    .returning(models.Workspace.event_seq)
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Page of a change feed."""

    events: Sequence[StoredEvent]
    next_position: FeedPosition
    """Start of the next page; no matching event lies between the last one here and this position."""
    has_more: bool
    """True if the next page has events; perhaps none of them matches the filter."""
    latest_position: FeedPosition
    """Position after the last event, whatever the filter."""


_SCAN_LIMIT = 50_000
"""Events scanned for a page whose filter has no index, in about 15 ms; a feed may have many millions."""


async def latest_position(reader: Reader) -> FeedPosition:
    """Return the position after the last event."""
    return _position(await reader.first(_LATEST_EVENT))


def _position(row: Record | None) -> FeedPosition:
    """Return the feed position of a selected event; the start of the feed if there is none."""
    return FEED_START if row is None else FeedPosition(row.seq, row.created_at)


async def read_events(
    reader: Reader,
    after: FeedPosition | None,
    event_filter: EventFilter,
    *,
    limit: int,
    scan_limit: int = _SCAN_LIMIT,
) -> EventPage:
    """Return the first matching events after a position, or from the oldest stored event if it is None.

    The page is shorter than `limit` if `scan_limit` events were scanned. Raises ResyncRequired if an event
    after the position was pruned. The position is checked last, to detect events pruned during the read.
    """
    latest = await latest_position(reader)
    end = latest
    if not _has_index(event_filter):
        end = await _scan_end(reader, after, scan_limit, latest)
    # All events up to `end` are visible, because the transaction of an event also allocates its number.
    rows = await _read_event_rows(
        reader,
        event_filter,
        after=0 if after is None else after.seq,
        until=end.seq,
        limit=limit + 1,
        direction=Direction.ASC,
    )
    if after is not None:
        await check_position(reader, after)
    events = _events_from_rows(rows[:limit])
    is_full = len(rows) > limit
    next_position = events[-1].position if is_full else end
    return EventPage(events, next_position, is_full or end is not latest, latest)


async def read_earlier_events(
    reader: Reader,
    before: FeedPosition | None,
    event_filter: EventFilter,
    *,
    limit: int,
    scan_limit: int = _SCAN_LIMIT,
) -> EventPage:
    """Return the last matching events before a position, or up to the newest if it is None, newest first.

    The page is shorter than `limit` if `scan_limit` events were scanned. The last page ends with the oldest
    stored event, whether earlier ones were pruned or not. Raises ResyncRequired if the position is not that
    of a stored event although older ones are stored: it belongs to the feed before a restore.
    """
    latest = await latest_position(reader)
    oldest = _position(await reader.first(_OLDEST_EVENT))
    if before is not None and before.seq >= oldest.seq:
        await check_position(reader, before)
    last_seq = latest.seq if before is None else before.seq - 1
    first = oldest
    if not _has_index(event_filter) and last_seq - scan_limit >= oldest.seq:
        scanned = await reader.first(_EVENT_TIME, seq=last_seq - scan_limit + 1)
        first = oldest if scanned is None else _position(scanned)
    rows = await _read_event_rows(
        reader,
        event_filter,
        after=first.seq - 1,
        until=last_seq,
        limit=limit + 1,
        direction=Direction.DESC,
    )
    events = _events_from_rows(rows[:limit])
    is_full = len(rows) > limit
    next_position = events[-1].position if is_full else first
    return EventPage(events, next_position, is_full or first is not oldest, latest)


def _has_index(event_filter: EventFilter) -> bool:
    """Return whether an index leads to the matching events, so that few others are scanned."""
    return event_filter.post_id is not None or event_filter == EventFilter()


async def _scan_end(
    reader: Reader, after: FeedPosition | None, scan_limit: int, latest: FeedPosition
) -> FeedPosition:
    """Return the position `scan_limit` events after the start, or the latest.

    Raises ResyncRequired if the event at that position was pruned.
    """
    if after is None:
        oldest = await reader.first(_OLDEST_EVENT)
        start = 0 if oldest is None else oldest.seq - 1
    else:
        start = after.seq
    if start + scan_limit >= latest.seq:
        return latest
    row = await reader.first(_EVENT_TIME, seq=start + scan_limit)
    if row is not None:
        return _position(row)
    if after is not None:  # the events right after it were pruned too
        raise resync_required_error()
    return latest  # the oldest event was pruned since it was read


async def read_contiguous_events(
    reader: Reader, after: FeedPosition, *, limit: int
) -> list[StoredEvent]:
    """Return the next events after a position; raises ResyncRequired if some of them are no longer stored."""
    if after == FEED_START:
        rows = await reader.rows(_EVENTS_AFTER, after=0, limit=limit)
        is_contiguous = not rows or rows[0].seq == 1
        following = rows
    else:
        # Includes the event of the position, to detect a restored backup or pruned history.
        rows = await reader.rows(_EVENTS_AFTER, after=after.seq - 1, limit=limit + 1)
        is_contiguous = bool(rows) and (
            (rows[0].seq, rows[0].created_at) == (after.seq, after.happened_at)
        )
        following = rows[1:]
    if not is_contiguous:
        raise resync_required_error()
    return _events_from_rows(following)


async def read_events_after(reader: Reader, seq: int, *, limit: int) -> list[StoredEvent]:
    """Return the next events after a sequence number that are stored; earlier ones may have been pruned."""
    return _events_from_rows(await reader.rows(_EVENTS_AFTER, after=seq, limit=limit))


async def check_position(reader: Reader, position: FeedPosition, argument: str = "after") -> None:
    """Raise ResyncRequired unless the event of the position is stored, and so all later ones."""
    if position == FEED_START:
        is_stored = await are_events_after_stored(reader, 0)
    else:
        row = await reader.first(_EVENT_TIME, seq=position.seq)
        is_stored = row is not None and row.created_at == position.happened_at
    if not is_stored:
        raise resync_required_error(argument)


async def are_events_after_stored(reader: Reader, seq: int) -> bool:
    """Return whether all events after a sequence number are stored."""
    oldest = await reader.first(_OLDEST_EVENT)
    return oldest is None or oldest.seq <= seq + 1


async def oldest_events(reader: Reader, *, limit: int) -> Sequence[tuple[int, datetime]]:
    """Return sequence number and time of the oldest stored events."""
    rows = await reader.rows(_OLDEST_EVENTS, limit=limit)
    return [(row.seq, row.created_at) for row in rows]


async def delete_events(session: WriteSession, last_seq: int) -> None:
    """Delete the events up to and including `last_seq`."""
    await session.rows(_DELETE_UNTIL, last_seq=last_seq)


_DELETE_UNTIL = delete(models.Event).where(models.Event.seq <= bindparam("last_seq"))


def resync_required_error(argument: str = "after") -> ResyncRequired:
    """Return the error for a position whose following events are no longer stored."""
    return ResyncRequired(
        "The changes after this cursor are no longer stored. Read the current state again, and continue"
        " from the latest cursor.",
        argument=argument,
    )


async def _read_event_rows(
    reader: Reader,
    event_filter: EventFilter,
    *,
    after: int,
    until: int,
    limit: int,
    direction: Direction,
) -> Sequence[Record]:
    values: dict[str, object] = {"after": after, "until": until, "limit": limit}
    if event_filter.kinds is not None:
        values["kinds"] = [kind.value for kind in event_filter.kinds]
    if event_filter.post_id is not None:
        values["post_id"] = event_filter.post_id
    if event_filter.destination_id is not None:
        values["destination_id"] = event_filter.destination_id
    if event_filter.excluded_operations is not None:
        values["excluded_operations"] = [*event_filter.excluded_operations]
    if event_filter.actor is not None:
        values["actor"] = event_filter.actor
    if event_filter.person is not None:
        values["person"] = event_filter.person
    return await reader.rows(_select_events(tuple(values), direction), **values)


_CONDITIONS = {
    "after": models.Event.seq > bindparam("after"),
    "until": models.Event.seq <= bindparam("until"),
    "kinds": any_of(models.Event.kind, "kinds"),
    "post_id": models.Event.post_id == bindparam("post_id"),
    "destination_id": models.Event.destination_id == bindparam("destination_id"),
    "excluded_operations": not_(
        any_of(models.Event.payload["operation"].as_string(), "excluded_operations")
    ),
    "actor": models.Event.actor_key_id == bindparam("actor"),
    "person": models.Event.person == bindparam("person"),
}


@cached_statement()
def _select_events(filters: tuple[str, ...], direction: Direction) -> Statement:
    """Select events in order. Served by the primary key, or by ix_event_workspace_id_post_id_seq."""
    conditions = [condition for name, condition in _CONDITIONS.items() if name in filters]
    return Statement(
        select(*columns_except(models.Event))
        .where(*conditions)
        .order_by(models.Event.seq if direction is Direction.ASC else models.Event.seq.desc())
        .limit(bindparam("limit"))
    )


_EVENTS_AFTER = _select_events(("after", "limit"), Direction.ASC)

_SEQ_AND_TIME = select(models.Event.seq, models.Event.created_at)
_LATEST_EVENT = Statement(_SEQ_AND_TIME.order_by(models.Event.seq.desc()).limit(1))
_OLDEST_EVENT = Statement(_SEQ_AND_TIME.order_by(models.Event.seq).limit(1))
_OLDEST_EVENTS = Statement(_SEQ_AND_TIME.order_by(models.Event.seq).limit(bindparam("limit")))
_EVENT_TIME = Statement(_SEQ_AND_TIME.where(models.Event.seq == bindparam("seq")))


def _events_from_rows(rows: Sequence[Record]) -> list[StoredEvent]:
    """Decode rows of `_select_events`, whose columns have the order of the table."""
    events: list[StoredEvent] = []
    for values in decoded_rows(rows):
        seq, kind, actor, post_id, destination_id, account_id, payload, happened_at, person = values
        event = StoredEvent(
            seq=seq,
            kind=EventKind(kind),
            operation=payload["operation"],
            actor=actor,
            post_id=post_id,
            destination_id=destination_id,
            account_id=account_id,
            values=payload["changes"],
            previous=payload.get("previous"),
            person=person,
            happened_at=happened_at,
        )
        events.append(event)
    return events
