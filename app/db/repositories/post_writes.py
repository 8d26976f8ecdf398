"""Posts as they are loaded to be changed, and the one write of them. What changes is decided elsewhere."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import fields
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import DeclarativeBase

from app.db import models
from app.db.core.database import Reader, WriteSession
from app.db.core.statements import AnyRow
from app.db.core.types import ColumnValues
from app.domain.destinations import Destination, DestinationState
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.posts import Post, post_published_at, search_text

_STATE_FIELDS = tuple(field.name for field in fields(DestinationState))
_POST_FIELDS = tuple(field.name for field in fields(Post) if field.name != "destinations")
_DESTINATION_FIELDS = tuple(field.name for field in fields(Destination) if field.name != "state")


async def lock_posts(reader: Reader, ids: Collection[PostId]) -> None:
    """Until the transaction ends, nobody else changes those that exist, or their destinations."""
    await reader.rows(
        select(models.Post.id)
        .where(models.Post.id.in_(ids))
        .order_by(models.Post.id)
        .with_for_update()
    )


async def load_posts(reader: Reader, ids: Collection[PostId]) -> dict[PostId, Post]:
    """With their destinations in order; deleted ones too. Lock them before, to write them."""
    posts = await reader.rows(
        select(*(getattr(models.Post, name) for name in _POST_FIELDS)).where(
            models.Post.id.in_(ids)
        )
    )
    destinations = await reader.rows(
        select(
            models.Destination.post_id,
            *(getattr(models.Destination, name) for name in (*_DESTINATION_FIELDS, *_STATE_FIELDS)),
        )
        .where(models.Destination.post_id.in_(ids))
        .order_by(models.Destination.position)
    )
    by_post: dict[UUID, list[Destination]] = defaultdict(list)
    for row in destinations:
        by_post[row.post_id].append(_destination_from_row(row))
    return {
        post.id: Post(
            **{name: getattr(post, name) for name in _POST_FIELDS},
            destinations=tuple(by_post[post.id]),
        )
        for post in posts
    }


def _destination_from_row(row: AnyRow) -> Destination:
    return Destination(
        **{name: getattr(row, name) for name in _DESTINATION_FIELDS},
        state=DestinationState(**{name: getattr(row, name) for name in _STATE_FIELDS}),
    )


async def post_ids_by_destination_id(
    reader: Reader, ids: Collection[DestinationId]
) -> dict[DestinationId, PostId]:
    """Of those that exist."""
    rows = await reader.rows(
        select(models.Destination.id, models.Destination.post_id).where(
            models.Destination.id.in_(ids)
        )
    )
    return {row.id: row.post_id for row in rows}


async def write_posts(
    session: WriteSession,
    workspace_id: WorkspaceId,
    posts: Collection[Post],
    *,
    previous: Mapping[PostId, Post],
) -> None:
    """Write posts with their destinations; `before` has those that exist, as they are stored."""
    was = {each.id: each for post in previous.values() for each in post.destinations}
    destinations = {each.id: (post, each) for post in posts for each in post.destinations}
    gone = {
        each.id for post in posts if post.id in previous for each in previous[post.id].destinations
    } - destinations.keys()
    rows_of_posts = {post.id: _post_row(workspace_id, post) for post in posts}
    rows = {
        key: _destination_row(workspace_id, post, each)
        for key, (post, each) in destinations.items()
        if was.get(key) != each
    }
    await _insert(
        session, models.Post, [rows_of_posts[key] for key in rows_of_posts.keys() - previous]
    )
    await _update(
        session, models.Post, [rows_of_posts[key] for key in rows_of_posts.keys() & previous]
    )
    if gone:
        await session.execute(
            delete(models.Destination).where(
                models.Destination.workspace_id == workspace_id, models.Destination.id.in_(gone)
            )
        )
    await _insert(session, models.Destination, [rows[key] for key in rows.keys() - was])
    await _update(session, models.Destination, [rows[key] for key in rows.keys() & was])


def _post_row(workspace_id: WorkspaceId, post: Post) -> ColumnValues:
    return {
        "workspace_id": workspace_id,
        **{name: getattr(post, name) for name in _POST_FIELDS},
        "status": post.status,
        "published_at": post_published_at(each.state for each in post.destinations),
        "search_text": search_text(post.content, post.platform_content),
    }


def _destination_row(
    workspace_id: WorkspaceId, post: Post, destination: Destination
) -> ColumnValues:
    return {
        "workspace_id": workspace_id,
        "post_id": post.id,
        **{name: getattr(destination, name) for name in _DESTINATION_FIELDS},
        **{name: getattr(destination.state, name) for name in _STATE_FIELDS},
    }


async def _insert(
    session: WriteSession, model: type[DeclarativeBase], rows: list[ColumnValues]
) -> None:
    """In one statement, whichever columns are empty in which row."""
    if rows:
        await session.execute(insert(model), rows, execution_options={"render_nulls": True})


async def _update(
    session: WriteSession, model: type[DeclarativeBase], rows: list[ColumnValues]
) -> None:
    """Each by its primary key."""
    if rows:
        await session.execute(update(model), rows)
