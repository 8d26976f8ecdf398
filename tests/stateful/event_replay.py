"""Compares the stored rows of a workspace with the result of replaying its events."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.models import Account, Base, Destination, Event, Post
from app.domain.ids import WorkspaceId

RowValues = dict[str, object]
RowKey = tuple[str, Any]
"""Name of the model class, and id."""

UNREPORTED_COLUMNS = {
    "workspace_id",
    "post_id",  # a column of the event itself
    "lease_token",
    "verification_token",
    "search_text",  # derived from the texts
    *("failed_at", "failure_group", "post_created_at"),  # derived from other columns
    *("media_warning", "media_warning_code"),  # of a background check, which is no event
}


async def events_after(database: Database, workspace: WorkspaceId, seq: int) -> Sequence[Any]:
    reader = database.reader(workspace)
    return await reader.rows(
        Statement(select(*Event.__table__.columns).where(Event.seq > seq).order_by(Event.seq))
    )


async def stored_rows(database: Database, workspace: WorkspaceId) -> dict[RowKey, RowValues]:
    """Stored posts, destinations and accounts as JSON values."""
    rows: dict[RowKey, RowValues] = {}
    reader = database.reader(workspace)
    for model in (Post, Destination, Account):
        for row in await reader.rows(Statement(select(*model.__table__.columns))):
            columns = {column.name: getattr(row, column.name) for column in model.__table__.columns}
            rows[model.__name__, row.id] = dict(_reported_values(columns))
    return rows


def apply_events(events: Sequence[Any]) -> dict[RowKey, RowValues]:
    """State that a reader of all events can derive, who skips types of other objects."""
    rows: dict[RowKey, RowValues] = {}
    for event in events:
        noun, _, action = event.kind.partition(".")
        if noun not in ("post", "destination", "account"):
            continue
        key = (noun.capitalize(), getattr(event, f"{noun}_id"))
        changes = event.payload["changes"]
        if action in ("created", "added", "connected"):
            assert key not in rows
            rows[key] = dict(changes)
            if noun == "destination":
                rows[key]["is_duplicated"] = False
        elif action == "removed":
            del rows[key]
        elif action == "duplicated":  # reports another publication; the rest is unchanged
            rows[key]["is_duplicated"] = True
        else:
            rows[key] |= changes
    for (model_name, post_id), values in rows.items():
        if model_name == "Post":
            values["published_at"] = _last_publication(events, rows, post_id)
    return rows


def _last_publication(
    events: Sequence[Any], rows: dict[RowKey, RowValues], post_id: object
) -> str | None:
    """Latest `published_at` of the destinations of a post."""
    destination_ids = {event.destination_id for event in events if event.post_id == post_id}
    times = (rows.get(("Destination", id), {}).get("published_at") for id in destination_ids)
    return max((str(time) for time in times if time), default=None)


def _reported_values(row: Any) -> Iterator[tuple[str, object]]:
    return (
        (name, _to_json(value)) for name, value in row.items() if name not in UNREPORTED_COLUMNS
    )


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


assert {
    column.name for table in Base.metadata.sorted_tables for column in table.c
} >= UNREPORTED_COLUMNS
