"""The feed of a workspace read from its first event, and what is stored: the two must agree. No model."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import Account, Base, Destination, Event, Post
from app.domain.ids import WorkspaceId

RowValues = dict[str, object]
RowKey = tuple[str, Any]
"""The noun and the id."""

UNREPORTED_COLUMNS = {
    "workspace_id",
    "post_id",  # stands beside the changes
    "lease_token",
    "verification_token",
    "search_text",  # follows from the texts
}


async def events_after(database: Database, workspace: WorkspaceId, seq: int) -> Sequence[Any]:
    reader = database.read(workspace)
    return await reader.rows(
        select(*Event.__table__.columns).where(Event.seq > seq).order_by(Event.seq)
    )


async def stored_rows(database: Database, workspace: WorkspaceId) -> dict[RowKey, RowValues]:
    """Each row of a post, a destination and an account, as JSON, by its key."""
    found: dict[RowKey, RowValues] = {}
    reader = database.read(workspace)
    for model in (Post, Destination, Account):
        for row in await reader.rows(select(*model.__table__.columns)):
            columns = {each.name: getattr(row, each.name) for each in model.__table__.columns}
            found[model.__name__, row.id] = dict(_reported_values(columns))
    return found


def apply_events(events: Sequence[Any]) -> dict[RowKey, RowValues]:
    """What whoever has read all events knows."""
    known: dict[RowKey, RowValues] = {}
    for event in events:
        noun, _, what = event.kind.partition(".")
        key = (noun.capitalize(), getattr(event, f"{noun}_id"))
        changes = event.payload["changes"]
        if what in ("created", "added", "connected"):
            assert key not in known
            known[key] = dict(changes)
        elif what == "removed":
            del known[key]
        elif what == "duplicated":  # tells of another publication; the state stays
            assert key in known
        else:
            known[key] |= changes
    for (noun, post_id), facts in known.items():
        if noun == "Post":
            facts["published_at"] = _last_publication(events, known, post_id)
    return known


def _last_publication(
    events: Sequence[Any], rows: dict[RowKey, RowValues], post_id: object
) -> str | None:
    """Of a post, from those of its destinations."""
    ids = {each.destination_id for each in events if each.post_id == post_id}
    of = (rows.get(("Destination", each), {}).get("published_at") for each in ids)
    return max((str(each) for each in of if each), default=None)


def _reported_values(row: Any) -> Iterator[tuple[str, object]]:
    return ((name, _to_json(value)) for name, value in row.items() if name not in UNREPORTED_COLUMNS)


def _to_json(value: object) -> object:
    match value:
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
        case date() | UUID():
            return str(value)
        case StrEnum():
            return value.value
        case _:
            return value


assert {column.name for table in Base.metadata.sorted_tables for column in table.c} >= UNREPORTED_COLUMNS
