"""Point reads in batches: the same rows, in the same order, as the statement of one request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from app.db.core.database import Database, Reader
from app.db.core.projections import ALL_COLUMNS, Projection
from app.db.core.statements import AnyRow
from app.db.repositories import accounts, destinations, posts
from app.db.repositories.destinations import ACCOUNT_RELATION
from app.domain.ids import AccountId, DestinationId, PostId
from tests.db.core.batching_driver import BatchingDriver
from tests.db.core.test_database import only_on_postgresql
from tests.factories import add_account, add_post, add_workspace, failed, published, queued

WITH_ACCOUNT = Projection(relations={ACCOUNT_RELATION: ALL_COLUMNS})
POSTS = [UUID(int=number) for number in (3, 1, 2)]
DESTINATIONS = [UUID(int=number) for number in (6, 5, 4, 9, 8, 7, 3, 2, 1)]
"""Not in the order of the positions."""
MISSING = UUID(int=99)

POINT_READS: dict[str, tuple[Callable[[Reader, Any], Awaitable[Sequence[AnyRow]]], list[Any]]] = {
    "destinations_with_post": (
        lambda reader, key: destinations.destinations_with_post(
            reader, PostId(key), WITH_ACCOUNT, ALL_COLUMNS
        ),
        [*POSTS, MISSING],
    ),
    "destinations_by_post_id": (
        lambda reader, key: destinations.destinations_by_post_id(
            reader, [PostId(key)], WITH_ACCOUNT
        ),
        [*POSTS, MISSING],
    ),
    "destinations_by_id": (
        lambda reader, key: destinations.destinations_by_id(reader, [DestinationId(key)]),
        [*DESTINATIONS, MISSING],
    ),
    "posts_by_id": (lambda reader, key: posts.posts_by_id(reader, [key]), [*POSTS, MISSING]),
    "accounts_by_id": (
        lambda reader, key: accounts.accounts_by_id(reader, [AccountId(key)]),
        [1, 2, 3, 99],
    ),
}


@only_on_postgresql
@pytest.mark.parametrize(("read", "keys"), POINT_READS.values(), ids=POINT_READS)
async def test_batch_returns_the_rows_of_the_single_statement(
    database: Database,
    database_url: str,
    read: Callable[[Reader, Any], Awaitable[Sequence[AnyRow]]],
    keys: list[Any],
) -> None:
    """The ids are the same in both workspaces, and every request is sent twice."""
    workspaces = [await add_workspace(database) for _ in range(2)]
    for workspace in workspaces:
        ids = iter(DESTINATIONS)
        states = (published(), failed(), queued())
        numbers = [await add_account(database, workspace) for _ in states]
        for post in POSTS:
            await add_post(
                database,
                workspace,
                dict(zip(numbers, states, strict=True)),
                id=post,
                destination_ids=[next(ids) for _ in states],
                content=f"{workspace} {post}",
            )
    driver = BatchingDriver()
    async with Database(database_url, wrap_driver=driver) as batching:
        requests = [*product(workspaces, keys)] * 2
        single = [await read(database.reader(workspace), key) for workspace, key in requests]
        batched = await asyncio.gather(
            *(read(batching.read(workspace), key) for workspace, key in requests)
        )

    # The last column of a row from a batch is the number of its request.
    assert [[tuple(row)[:-1] for row in rows] for rows in batched] == [
        [tuple(row) for row in rows] for rows in single
    ]
    assert [bool(rows) for rows in single] == [key not in (99, MISSING) for _, key in requests]
    assert driver.batched_reads == 4 * (len(keys) - 1)
