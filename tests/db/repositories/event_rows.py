"""Synthetic events of any number and age, and helpers that read a whole change feed."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import delete, select, update

from app.db.core.database import Database, Reader
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.models import Event as EventRow
from app.db.models import Workspace
from app.db.repositories.events import EventPage, append_events, read_events
from app.domain.events import Event, EventFilter, EventKind, FeedPosition
from app.domain.ids import ApiKeyId, WorkspaceId
from tests.factories import NOW
from tests.raw_statements import run_raw

ALL_CHANGES = EventFilter()


def numbered_events(count: int, content: str = "") -> list[Event]:
    """Return events with contents "1", "2", …, or all with the given content."""
    return [
        Event(kind=EventKind.POST_CHANGED, values={"content": content or str(number)})
        for number in range(1, count + 1)
    ]


async def append_test_events(
    database: Database,
    workspace: WorkspaceId,
    events: Sequence[Event],
    *,
    occurred_at: datetime = NOW,
    actor: ApiKeyId | None = None,
    person: str | None = None,
    operation: str = "test",
) -> None:
    """Append events in one transaction."""
    await database.write(
        workspace,
        partial(
            append_events,
            events=events,
            actor=actor,
            person=person,
            operation=operation,
            now=occurred_at,
        ),
    )


async def append_events_at(
    database: Database, workspace: WorkspaceId, times: Sequence[datetime]
) -> None:
    """Append one event at each of the times."""

    async def work(session: WriteSession) -> None:
        for time, event in zip(times, numbered_events(len(times)), strict=True):
            await append_events(session, [event], actor=None, operation="test", now=time)

    await database.write(workspace, work)


async def delete_events_after(database: Database, workspace: WorkspaceId, last_seq: int) -> None:
    """Delete the newest events, like restoring a backup that was made after event `last_seq`."""

    async def work(session: AllWorkspacesWriteSession) -> None:
        await run_raw(
            session,
            delete(EventRow).where(EventRow.workspace_id == workspace, EventRow.seq > last_seq),
        )
        await run_raw(
            session, update(Workspace).where(Workspace.id == workspace).values(event_seq=last_seq)
        )

    await database.write_all_workspaces(work)


async def stored_seqs(database: Database, workspace: WorkspaceId) -> list[int]:
    """Return the sequence numbers of all stored events."""
    async with database.read_connection() as connection:
        seqs = await connection.scalars(
            select(EventRow.seq).where(EventRow.workspace_id == workspace).order_by(EventRow.seq)
        )
        return list(seqs)


async def read_all_pages(
    reader: Reader,
    after: FeedPosition | None,
    event_filter: EventFilter,
    size: int,
    *,
    read: Callable[..., Awaitable[EventPage]] = read_events,
) -> list[EventPage]:
    """Read pages from a position until there are no more; `read` may be `read_earlier_events`."""
    pages: list[EventPage] = []
    while not pages or pages[-1].has_more:
        pages.append(await read(reader, after, event_filter, limit=size))
        after = pages[-1].next_position
    return pages


def seqs_per_page(pages_read: Sequence[EventPage]) -> list[int]:
    return [change.seq for page in pages_read for change in page.events]
