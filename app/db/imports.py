"""Reading what an import goes by, and writing what it made of it. Decides nothing."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import fields
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import DeclarativeBase

from app.db.engine import AnyRow, Reader, WriteSession
from app.db.models import Account, Destination, Post
from app.db.types import Row
from app.db.workspaces import reserve_account_ids
from app.domain.destinations import DestinationState
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId
from app.domain.imports.stored import StoredAccount, StoredDestination, StoredPost
from app.domain.posts import post_published_at, search_text

_STATE = tuple(field.name for field in fields(DestinationState))
_OF_POST = tuple(field.name for field in fields(StoredPost) if field.name != "destinations")
_OF_DESTINATION = tuple(field.name for field in fields(StoredDestination) if field.name != "state")


async def lock_posts(reader: Reader, ids: Collection[PostId]) -> None:
    """Until the transaction ends, nobody else changes those that exist."""
    await reader.rows(select(Post.id).where(Post.id.in_(ids)).order_by(Post.id).with_for_update())


async def stored_accounts(
    reader: Reader, ids: Collection[AccountId]
) -> dict[AccountId, StoredAccount]:
    rows = await reader.rows(
        select(
            Account.id,
            Account.platform,
            func.coalesce(
                Account.account_name, Account.display_name, Account.platform_username
            ).label("name"),
            Account.created_at,
        ).where(Account.id.in_(ids))
    )
    return {row.id: StoredAccount(**row._mapping) for row in rows}


async def stored_posts(reader: Reader, ids: Collection[PostId]) -> dict[PostId, StoredPost]:
    """With their destinations in order; deleted ones too."""
    posts = await reader.rows(
        select(*(getattr(Post, name) for name in _OF_POST)).where(Post.id.in_(ids))
    )
    destinations = await reader.rows(
        select(
            Destination.post_id,
            *(getattr(Destination, name) for name in (*_OF_DESTINATION, *_STATE)),
        )
        .where(Destination.post_id.in_(ids))
        .order_by(Destination.position)
    )
    by_post: dict[UUID, list[StoredDestination]] = defaultdict(list)
    for row in destinations:
        by_post[row.post_id].append(_stored_destination(row))
    return {
        post.id: StoredPost(**post._mapping, destinations=tuple(by_post[post.id])) for post in posts
    }


def _stored_destination(row: AnyRow) -> StoredDestination:
    return StoredDestination(
        **{name: getattr(row, name) for name in _OF_DESTINATION},
        state=DestinationState(**{name: getattr(row, name) for name in _STATE}),
    )


async def posts_of_destinations(
    reader: Reader, ids: Collection[DestinationId]
) -> dict[DestinationId, PostId]:
    """Of those that exist."""
    rows = await reader.rows(
        select(Destination.id, Destination.post_id).where(Destination.id.in_(ids))
    )
    return {row.id: row.post_id for row in rows}


async def write_accounts(
    session: WriteSession,
    workspace_id: WorkspaceId,
    *,
    new: Collection[StoredAccount],
    named: Collection[StoredAccount],
) -> None:
    """Add new ones as inactive, and give names to those that had none."""
    if new:
        await reserve_account_ids(session, workspace_id, up_to=max(each.id for each in new))
    await _insert(session, Account, [_account_row(workspace_id, each) for each in new])
    await _update(
        session,
        Account,
        [
            {"workspace_id": workspace_id, "id": each.id, "account_name": each.name}
            for each in named
        ],
    )


def _account_row(workspace_id: WorkspaceId, account: StoredAccount) -> Row:
    return {
        "workspace_id": workspace_id,
        "id": account.id,
        "platform": account.platform,
        "account_name": account.name,
        "is_active": False,
        "connected_at": account.created_at,
        "created_at": account.created_at,
        "updated_at": account.created_at,
    }


async def write_posts(
    session: WriteSession,
    workspace_id: WorkspaceId,
    posts: Collection[StoredPost],
    *,
    before: Mapping[PostId, StoredPost],
) -> None:
    """Write posts with their destinations; `before` has those that exist, as they are stored."""
    was = {each.id: each for post in before.values() for each in post.destinations}
    destinations = {each.id: (post, each) for post in posts for each in post.destinations}
    gone = {
        each.id for post in posts if post.id in before for each in before[post.id].destinations
    } - destinations.keys()
    rows_of_posts = {post.id: _post_row(workspace_id, post) for post in posts}
    rows = {
        key: _destination_row(workspace_id, post, each)
        for key, (post, each) in destinations.items()
        if was.get(key) != each
    }
    await _insert(session, Post, [rows_of_posts[key] for key in rows_of_posts.keys() - before])
    await _update(session, Post, [rows_of_posts[key] for key in rows_of_posts.keys() & before])
    if gone:
        await session.execute(
            delete(Destination).where(
                Destination.workspace_id == workspace_id, Destination.id.in_(gone)
            )
        )
    await _insert(session, Destination, [rows[key] for key in rows.keys() - was])
    await _update(session, Destination, [rows[key] for key in rows.keys() & was])


def _post_row(workspace_id: WorkspaceId, post: StoredPost) -> Row:
    return {
        "workspace_id": workspace_id,
        **{name: getattr(post, name) for name in _OF_POST},
        "status": post.status,
        "published_at": post_published_at(each.state for each in post.destinations),
        "search_text": search_text(post.content, post.platform_content),
    }


def _destination_row(
    workspace_id: WorkspaceId, post: StoredPost, destination: StoredDestination
) -> Row:
    return {
        "workspace_id": workspace_id,
        "post_id": post.id,
        **{name: getattr(destination, name) for name in _OF_DESTINATION},
        **{name: getattr(destination.state, name) for name in _STATE},
    }


async def _insert(session: WriteSession, model: type[DeclarativeBase], rows: list[Row]) -> None:
    if rows:
        await session.execute(insert(model), rows)


async def _update(session: WriteSession, model: type[DeclarativeBase], rows: list[Row]) -> None:
    """Each by its primary key."""
    if rows:
        await session.execute(update(model), rows)
