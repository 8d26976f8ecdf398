"""Checks of posts against the content schemas of their platforms: of those to save, and of stored ones."""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from uuid import UUID

import structlog

from app.db.core.database import Database, Reader
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories.content_errors import (
    account_platforms,
    content_schema_version,
    count_content_errors,
    count_content_errors_on_account,
    posts_waiting_on_account,
    store_content_schema_version,
    waiting_destinations,
)
from app.db.repositories.posts import load_posts
from app.db.repositories.workspaces import list_workspaces
from app.domain.accounts import AccountPublisher
from app.domain.destinations import Destination
from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, DestinationId, PostId, WorkspaceId, WorkspaceKind
from app.domain.operations import CHECK_CONTENTS
from app.domain.posts import Post
from app.domain.times import FIRST_INSTANT
from app.domain.transitions import content_checked
from app.domain.validation.json_values import json_equal
from app.domain.validation.post_contents import CONTENT_SCHEMA_VERSION
from app.platforms.content_schemas import (
    PUBLISHERS_WITH_SCHEMA,
    destination_errors,
    post_errors,
    unfamiliar_platforms,
)
from app.runtime.computations import compute
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction

CHECK_BATCH_SIZE = 200
"""Posts of one batch: few enough that a transaction does not delay other writers for long."""

MAX_CHECKED_POSTS_OF_ACCOUNT = 1_000
"""Posts that are checked when the publisher of an account changes, while the client waits."""

logger = structlog.stdlib.get_logger(__name__)


async def load_account_platforms(reader: Reader, posts: Iterable[Post]) -> Collection[str]:
    """Return the platforms of the workspace's accounts; reads nothing if no post needs them."""
    if not any(map(unfamiliar_platforms, posts)):
        return ()
    return await account_platforms(reader)


def check_contents(
    post: Post,
    stored: Post | None,
    platforms: Collection[str],
    unknown_member: InvalidInput | None,
    now: datetime,
) -> Post:
    """Return a post to save with its content errors; raises the first error of `refusals`."""
    for error in refusals(post, stored, platforms, unknown_member):
        raise error
    return with_content_errors(post, platforms, now)


def refusals(
    post: Post,
    stored: Post | None,
    platforms: Collection[str],
    unknown_member: InvalidInput | None,
) -> list[InvalidInput]:
    """Return the errors of what does not fit the schemas of the platforms of a post.

    `stored` is the post before the change, or the one of which this is a copy. A part that does not fit there
    either is accepted, unless a draft is submitted or the post gets another account with a schema.
    `unknown_member` is the error of a member of the request that posts do not have: where there is a schema,
    it may be a misspelt setting.
    """
    accepted = [] if stored is None else _accepted_parts(post, stored, platforms)
    errors = [
        error
        for part, error in post_errors(post, platforms)
        if not any(json_equal(part, each) for each in accepted)
    ]
    has_schema = any(each.publisher in PUBLISHERS_WITH_SCHEMA for each in post.destinations)
    return [unknown_member, *errors] if has_schema and unknown_member is not None else errors


def with_content_errors(post: Post, platforms: Collection[str], now: datetime) -> Post:
    """Return the post with the content error of each destination; itself if they are the same."""

    # A post may have hundreds of accounts on a platform.
    find_error = cache(partial(_find_content_error, post, platforms))
    destinations = tuple(
        each.with_state(content_checked(each.state, find_error(each.platform, each.publisher)), now)
        for each in post.destinations
    )
    if all(map(operator.is_, destinations, post.destinations)):
        return post
    return replace(post, destinations=destinations)  # nothing about the post itself changed


async def find_content_errors(
    reader: Reader, destinations: Sequence[tuple[Post, Destination]]
) -> Mapping[DestinationId, str]:
    """Return why destinations, each with its post, do not fit their platform; those that fit are left out."""
    checked = [pair for pair in destinations if pair[1].publisher in PUBLISHERS_WITH_SCHEMA]
    if not checked:
        return {}
    platforms = await load_account_platforms(reader, [post for post, _ in checked])
    return await compute(_find_content_errors, checked, platforms)


async def check_posts_of_account(
    database: Database,
    write_context: WriteContext,
    account_id: AccountId,
    *,
    limit: int = MAX_CHECKED_POSTS_OF_ACCOUNT,
    batch_size: int = CHECK_BATCH_SIZE,
) -> int:
    """Check the next posts of an account whose publisher has changed, and store their content errors.

    Returns the number of destinations with one, of the `limit` that are due next.
    """
    reader = database.reader(write_context.workspace_id)
    ids = await posts_waiting_on_account(reader, account_id, limit=limit)
    for start in range(0, len(ids), batch_size):
        await _check_batch(database, write_context, ids[start : start + batch_size])
    return await count_content_errors_on_account(reader, account_id)


async def check_waiting_posts(
    database: Database, now: datetime, *, batch_size: int = CHECK_BATCH_SIZE
) -> None:
    """Check all waiting posts once after each change of the schemas, and log how many will fail.

    Several processes may run it at the same time. A post that is stored meanwhile by a process with older
    schemas is only checked when it is claimed.
    """
    if await content_schema_version(database.all_workspaces) == CONTENT_SCHEMA_VERSION:
        return
    for workspace in await list_workspaces(database.all_workspaces):
        if workspace.kind is WorkspaceKind.LOCAL:
            write_context = WriteContext.without_actor(workspace.id, CHECK_CONTENTS, now)
            await _check_workspace(database, write_context, batch_size)

    async def store_version(session: AllWorkspacesWriteSession) -> None:
        await store_content_schema_version(session, CONTENT_SCHEMA_VERSION)

    await database.write_all_workspaces(store_version)
    if count := await count_content_errors(database.all_workspaces):
        logger.warning("scheduled posts have invalid content", count=count)


async def _check_workspace(
    database: Database, write_context: WriteContext, batch_size: int
) -> None:
    reader = database.reader(WorkspaceId(write_context.workspace_id))
    for publisher in sorted(PUBLISHERS_WITH_SCHEMA):
        after = (FIRST_INSTANT, DestinationId(UUID(int=0)))
        while rows := await waiting_destinations(reader, publisher, after, limit=batch_size):
            await _check_batch(database, write_context, [PostId(row.post_id) for row in rows])
            after = (rows[-1].claimable_at, DestinationId(rows[-1].id))


async def _check_batch(
    database: Database, write_context: WriteContext, post_ids: Sequence[PostId]
) -> None:
    """Store the content errors of posts that differ from the stored ones; locks only those posts."""
    now = write_context.now
    reader = database.reader(write_context.workspace_id)
    posts = (await load_posts(reader, {*post_ids})).values()
    platforms = await load_account_platforms(reader, posts)
    changed = [post.id for post in posts if with_content_errors(post, platforms, now) is not post]
    if not changed:
        return

    async def work(uow: UnitOfWork) -> None:
        locked = (await uow.load_posts_for_update(changed)).values()
        await uow.save_posts([with_content_errors(post, platforms, now) for post in locked])

    await run_in_transaction(database, write_context, work)


def _accepted_parts(post: Post, stored: Post, platforms: Collection[str]) -> list[object]:
    """Return the parts of a stored post that do not fit, and stay accepted in the changed post."""
    is_submitted = stored.is_draft and not post.is_draft
    is_added = any(
        destination.publisher in PUBLISHERS_WITH_SCHEMA
        and stored.destination_on(destination.account_id) is None
        for destination in post.destinations
    )
    if is_submitted or is_added:
        return []
    return [part for part, _ in post_errors(stored, platforms)]


def _find_content_errors(
    destinations: Sequence[tuple[Post, Destination]], platforms: Collection[str]
) -> Mapping[DestinationId, str]:
    errors = {
        each.id: _find_content_error(post, platforms, each.platform, each.publisher)
        for post, each in destinations
    }
    return {key: error for key, error in errors.items() if error is not None}


def _find_content_error(
    post: Post, platforms: Collection[str], platform: str, publisher: AccountPublisher
) -> str | None:
    errors = destination_errors(post, platform, publisher, platforms)
    return errors[0].error.message if errors else None
