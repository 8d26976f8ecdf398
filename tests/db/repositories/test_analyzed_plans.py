"""Plans on SQLite without statistics, and with those of an ANALYZE on a million destinations."""

from typing import Any

import pytest

from app.db.core.database import Database
from app.db.core.paging import Direction
from app.db.repositories import accounts, analytics
from app.db.repositories.destinations import DestinationOrderField
from app.db.repositories.posts import PostOrderField
from app.domain.destinations import DestinationStatus, ErrorCategory
from app.domain.posts import PostStatus
from tests.db.repositories.million_destinations import write_statistics
from tests.db.repositories.test_query_plans import (
    ACCOUNT_IDS,
    DESTINATION_ORDERS,
    POST_BY_ID,
    POST_ORDERS,
    UNIQUE_DESTINATION_INDEX,
    WEEK_AGO,
    Query,
    destination_count_query,
    destinations_page_query,
    explain_query,
    post_count_query,
    posts_page_query,
)

only_on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

BY_STATUS = "ix_destination_workspace_id_status_created_at_id"
BY_ACCOUNT = "ix_destination_workspace_id_account_id_created_at_id"
OF_DELETED_POSTS = {"ix_post_deleted", UNIQUE_DESTINATION_INDEX}
FAILED, PUBLISHED = [DestinationStatus.FAILED], [DestinationStatus.PUBLISHED]


def destination_page(**filters: Any) -> Query:
    return destinations_page_query(DestinationOrderField.CREATED_AT, Direction.DESC, **filters)


PAGES: dict[str, tuple[Query, set[str]]] = {
    **{
        f"posts by {order} {direction}": (posts_page_query(order, direction), {index})
        for order, index in POST_ORDERS.items()
        if order in (PostOrderField.CREATED_AT, PostOrderField.UPDATED_AT)
        for direction in Direction
    },
    "posts, status": (posts_page_query(status=[PostStatus.FAILED]), {"ix_post_status"}),
    "posts, platform": (
        posts_page_query(platform=["x"]),
        {"ix_post_created_at", UNIQUE_DESTINATION_INDEX},
    ),
    "posts, account": (
        posts_page_query(account_id=[3]),
        {"ix_post_created_at", UNIQUE_DESTINATION_INDEX},
    ),
    **{
        f"destinations by {order} {direction}": (
            destinations_page_query(order, direction),
            {index, POST_BY_ID},
        )
        for order, index in DESTINATION_ORDERS.items()
        if order in (DestinationOrderField.CREATED_AT, DestinationOrderField.UPDATED_AT)
        for direction in Direction
    },
    "destinations, status": (destination_page(status=FAILED), {BY_STATUS, POST_BY_ID}),
    "destinations, platform": (
        destination_page(platform=["x"]),
        {"ix_destination_platform", POST_BY_ID},
    ),
    "destinations, account": (destination_page(account_id=[3]), {BY_ACCOUNT, POST_BY_ID}),
    "destinations, error category": (
        destination_page(error_category=[ErrorCategory.AUTH]),
        {"ix_destination_error_category", POST_BY_ID},
    ),
    "destinations, error code": (
        destination_page(error_code=["CAPTION_TOO_LONG"]),
        {"ix_destination_error_code", POST_BY_ID},
    ),
}

TOTALS: dict[str, tuple[Query, set[str]]] = {
    "posts": (post_count_query(), {POST_BY_ID, "ix_post_deleted"}),
    "posts, viewer": (
        lambda reader: analytics.count_posts_created(reader, WEEK_AGO),
        {"ix_post_created_at"},
    ),
    "posts, status": (post_count_query(status=[PostStatus.FAILED]), {"ix_post_status"}),
    "posts, platform": (
        post_count_query(platform=["x"]),
        {"ix_destination_platform", POST_BY_ID},
    ),
    "destinations, status": (
        destination_count_query(status=PUBLISHED),
        {BY_STATUS, *OF_DELETED_POSTS},
    ),
    "destinations, platform": (
        destination_count_query(platform=["x"]),
        {"ix_destination_platform", *OF_DELETED_POSTS},
    ),
    "destinations, account": (
        destination_count_query(account_id=[3]),
        {BY_ACCOUNT, *OF_DELETED_POSTS},
    ),
    "destinations, overdue": (
        destination_count_query(overdue=True),
        {"ix_destination_claimable", "ix_destination_leased", *OF_DELETED_POSTS},
    ),
}

HEALTH: Query = lambda reader: accounts.activity_by_account_id(reader, ACCOUNT_IDS, WEEK_AGO)  # noqa: E731
HEALTH_INDEXES = {
    "pk_account",
    "ix_destination_account_published",
    "ix_destination_account_failed",
    "ix_destination_account_unsettled",
    POST_BY_ID,
}


@only_on_sqlite
@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "analyzed"])
async def test_plans_do_not_depend_on_statistics(database: Database, is_analyzed: bool) -> None:
    if is_analyzed:
        await write_statistics(database)
    queries = {**PAGES, **TOTALS, "health": (HEALTH, HEALTH_INDEXES)}
    plans = {name: await explain_query(database, query) for name, (query, _) in queries.items()}

    assert plans == {name: indexes for name, (_, indexes) in queries.items()}
