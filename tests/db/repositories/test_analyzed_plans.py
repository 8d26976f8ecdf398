"""Plans on SQLite without statistics, and with those of an ANALYZE on a million destinations."""

from collections.abc import Awaitable

import pytest

from app.db.core.database import Database, Reader
from app.db.core.paging import Direction, PageRequest
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import DestinationOrderField, destinations_page
from app.domain.destinations import DestinationStatus
from app.domain.posts import PostStatus
from tests.db.repositories.million_destinations import write_statistics
from tests.db.repositories.test_batched_reads import WITH_ACCOUNT
from tests.db.repositories.test_query_plans import (
    BLOCKED_ACCOUNT_QUERIES,
    FAILURE_GROUP_QUERIES,
    FILTERS,
    LOADERS,
    LOCKING_QUERIES,
    PLAN_ALTERNATIVES,
    POST_BY_ID,
    UNIQUE_DESTINATION_INDEX,
    Query,
    destination_count_query,
    destinations_page_query,
    explain_locking_query,
    explain_query,
    feed_queries,
    null_time_queries,
    post_count_query,
    posts_page_query,
    sorted_page_queries,
)
from tests.factories import NOW

OVERDUE_INDEXES = {"ix_destination_claimable", "ix_destination_leased"}
FOUND_FIRST: dict[str, tuple[Query, set[str]]] = {
    "posts, search": (
        posts_page_query(search="sale"),
        {"scan", POST_BY_ID, "sort"},  # scan of the matches in the index
    ),
    "destinations, overdue": (
        destinations_page_query(overdue=True),
        {*OVERDUE_INDEXES, "pk_destination", "sort", POST_BY_ID},
    ),
    "destinations, published": (
        destinations_page_query(published_after=NOW),
        {"ix_destination_workspace_id_published_at_id", "pk_destination", "sort", POST_BY_ID},
    ),
    "destinations, retried": (
        destinations_page_query(next_retry_before=NOW),
        {"ix_destination_next_retry", "pk_destination", "sort", POST_BY_ID},
    ),
}
PLATFORM_INDEXES = {"ix_destination_platform", "ix_destination_workspace_id_platform_post_id"}
"""Two indexes that begin with the platform, and count its destinations equally fast."""
OF_DELETED_POSTS = {"ix_post_deleted", UNIQUE_DESTINATION_INDEX}
TOTALS: dict[str, tuple[Query, set[str]]] = {
    "total of posts": (post_count_query(), {POST_BY_ID, "ix_post_deleted"}),
    "total of posts, status": (post_count_query(status=[PostStatus.FAILED]), {"ix_post_status"}),
    "total of posts, platform": (
        post_count_query(platform=["x"]),
        {"ix_destination_workspace_id_platform_post_id", POST_BY_ID},
    ),
    "total of posts, search": (
        post_count_query(search="sale"),
        {POST_BY_ID, "scan"},  # scan of the matches in the index
    ),
    "total, status": (
        destination_count_query(status=[DestinationStatus.PUBLISHED]),
        {"ix_destination_workspace_id_status_created_at_id", *OF_DELETED_POSTS},
    ),
    "total, platform": (
        destination_count_query(platform=["x"]),
        OF_DELETED_POSTS,
    ),
    "total, account": (
        destination_count_query(account_id=[3]),
        {"ix_destination_workspace_id_account_id_created_at_id", *OF_DELETED_POSTS},
    ),
    "total, overdue": (
        destination_count_query(overdue=True),
        {*OVERDUE_INDEXES, *OF_DELETED_POSTS},
    ),
}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "analyzed"])
async def test_plans_do_not_depend_on_statistics(database: Database, is_analyzed: bool) -> None:
    if is_analyzed:
        await write_statistics(database)
    queries = {
        **sorted_page_queries(),
        **null_time_queries(database),
        **FILTERS,
        **FOUND_FIRST,
        **TOTALS,
        **LOADERS,
        **BLOCKED_ACCOUNT_QUERIES,
        **feed_queries(database),
        **FAILURE_GROUP_QUERIES,
    }
    plans = {
        name: await explain_query(database, query) - PLAN_ALTERNATIVES.get(name, set())
        for name, (query, _) in queries.items()
    }
    locking_plans = {
        name: await explain_locking_query(database, query)
        for name, (query, _) in LOCKING_QUERIES.items()
    }

    for name in plans:
        if name.startswith(f"destinations by {DestinationOrderField.NEXT_RETRY_AT}"):
            plans[name] -= {
                "pk_destination"
            }  # of those without a retry, read next in an empty table
    plans["total, platform"] -= PLATFORM_INDEXES
    for name in FAILURE_GROUP_QUERIES:
        plans[name] -= {"scan"}
    assert plans == {name: indexes for name, (_, indexes) in queries.items()}
    assert locking_plans == {name: indexes for name, (_, indexes) in LOCKING_QUERIES.items()}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "analyzed"])
async def test_accounts_of_destinations_are_read_after_them(
    database: Database, is_analyzed: bool
) -> None:
    if is_analyzed:
        await write_statistics(database)

    def query(reader: Reader) -> Awaitable[object]:
        order, request = DestinationOrderField.CREATED_AT, PageRequest(size=5)
        return destinations_page(
            reader, DestinationCriteria(), order, Direction.DESC, request, NOW, WITH_ACCOUNT
        )

    assert await explain_query(database, query) == {
        "ix_destination_workspace_id_created_at_id",
        POST_BY_ID,
        "pk_account",
    }
