"""Plans on SQLite without statistics, and with those of an ANALYZE on a million destinations."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from app.db.core.database import Database, Reader
from app.db.core.paging import Direction, PageRequest
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destination_pages import MAX_SORTED
from app.db.repositories.destinations import DestinationOrderField, destinations_page
from app.db.repositories.post_progress import count_post_progress
from app.db.repositories.posts import PostCriteria
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.diagnosis import NextAction
from app.domain.posts import PostStatus
from tests.claim_benchmark import copy_post
from tests.db.repositories.explain import (
    OWN_WORKSPACE,
    POST_BY_ID,
    UNIQUE_DESTINATION_INDEX,
    Query,
    explain_locking_query,
    explain_query,
    explain_stream,
)
from tests.db.repositories.million_destinations import write_statistics
from tests.db.repositories.test_batched_reads import WITH_ACCOUNT
from tests.db.repositories.test_claim_plans import LOCKING_QUERIES
from tests.db.repositories.test_query_plans import (
    BLOCKED_ACCOUNT_QUERIES,
    FAILURE_GROUP_QUERIES,
    FILTERS,
    LOADERS,
    PLAN_ALTERNATIVES,
    destination_count_query,
    destinations_page_query,
    feed_queries,
    null_time_queries,
    post_count_query,
    posts_page_query,
    sorted_page_queries,
)
from tests.factories import NOW, add_account, add_post, add_workspace, published

OVERDUE_INDEXES = {
    *("ix_destination_claimable", "ix_destination_leased"),
    *("pk_account", "pk_account_pause", "pk_account_breaker", "pk_server_breaker"),
}
SELECTIVE_FILTERS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "overdue": ({"overdue": True}, OVERDUE_INDEXES),
    "unknown": ({"outcome": [Outcome.UNKNOWN]}, {"ix_destination_verifiable"}),
    "group": ({"failure_group": ["1-0"]}, {"ix_destination_failure_group"}),
    "groups": ({"failure_group": ["1-0", "1-1"]}, {"ix_destination_failure_group"}),
    "failed": ({"failed_after": NOW, "failed_before": NOW}, {"ix_destination_failed"}),
    "scheduled": (
        {"scheduled_after": NOW, "scheduled_before": NOW},
        {"ix_destination_due"},
    ),
    "published": ({"published_after": NOW}, {"ix_destination_workspace_id_published_at_id"}),
    "settled": ({"settled_after": NOW}, {"ix_destination_settled_at"}),
    "imported": ({"imported": True}, {"ix_post_imported", UNIQUE_DESTINATION_INDEX}),
    "next retry": ({"next_retry_before": NOW}, {"ix_destination_next_retry"}),
    "updated": ({"updated_after": NOW}, {"ix_destination_updated"}),
    "retrying": ({"retrying": True}, {"ix_destination_next_retry"}),
    "waiting": ({"next_action": [NextAction.WAIT]}, {"ix_destination_next_retry"}),
    "late": ({"late_by_seconds": 60}, {"ix_destination_lateness", "ix_destination_waiting"}),
    "duplicated": ({"duplicated": True}, {"ix_destination_duplicated"}),
    "url": ({"platform_post_url": ["https://a.example"]}, {"ix_destination_platform_post_url"}),
    "reference": ({"reference": "a"}, {"ix_post_reference", UNIQUE_DESTINATION_INDEX}),
    "search": ({"search": "sale"}, {"scan", UNIQUE_DESTINATION_INDEX}),
}
"""Filters that no destination of an empty database matches, and the indexes that find that out."""

STEPS_OF_SERVED_ORDERS = {
    ("failed", DestinationOrderField.FAILED_AT): {POST_BY_ID},
    ("late", DestinationOrderField.LATENESS): {POST_BY_ID, "scan"},  # of waiting ones, counted
}
"""Steps of pairs that read the page, because the index of the filter serves its order."""


def selective_queries() -> dict[str, tuple[Query, set[str]]]:
    """Pages with each selective filter, in the orders of the lists of failures."""
    queries: dict[str, tuple[Query, set[str]]] = {
        "posts, search": (
            posts_page_query(search="sale"),
            {"scan", POST_BY_ID, "sort"},  # scan of the matches in the index
        ),
        "destinations, drafts": (
            destinations_page_query(draft=True),
            {"ix_destination_undated", "scan"},
        ),
    }
    for order in (
        DestinationOrderField.CREATED_AT,
        DestinationOrderField.FAILED_AT,
        DestinationOrderField.LATENESS,
    ):
        for name, (filters, indexes) in SELECTIVE_FILTERS.items():
            steps = STEPS_OF_SERVED_ORDERS.get((name, order), {"scan"})  # of the counted matches
            if name in ("scheduled", "updated") and order is not DestinationOrderField.LATENESS:
                steps = {*steps, "ix_post_deleted", "sort"}
                if order is DestinationOrderField.CREATED_AT:
                    steps.add("pk_destination")
            query = destinations_page_query(order, **filters)
            queries[f"destinations by {order}, {name}"] = (query, {*indexes, *steps})
    return queries


ORDERS_WITH_NULL = tuple(
    f"destinations by {field}"
    for field in (
        DestinationOrderField.SCHEDULED_FOR,
        DestinationOrderField.NEXT_RETRY_AT,
        DestinationOrderField.FAILED_AT,
        DestinationOrderField.LATENESS,
    )
)
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
    "page of posts to cancel, of a plan": (
        posts_page_query(platform=["x"], updated_before=NOW),
        {"ix_post_created_at", "ix_destination_workspace_id_platform_post_id"},
    ),
    "posts to cancel, of a plan": (
        lambda reader: count_post_progress(
            reader, PostCriteria(scheduled_after=NOW, updated_before=NOW)
        ),
        {"ix_post_scheduled_for", UNIQUE_DESTINATION_INDEX},
    ),
}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statistics", [None, "of all rows", "of samples"])
async def test_plans_do_not_depend_on_statistics(
    database: Database, statistics: str | None
) -> None:
    if statistics:
        await write_statistics(database, of_samples=statistics == "of samples")
    queries = {
        **sorted_page_queries(),
        **null_time_queries(database),
        **FILTERS,
        **selective_queries(),
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
        name: await explain_locking_query(database, query) - {"pk_account"}
        for name, (query, _) in LOCKING_QUERIES.items()
    }

    for name in plans:
        if name.startswith(ORDERS_WITH_NULL):
            # of those without a value, read next in an empty table
            plans[name] -= {"pk_destination", "ix_destination_undated"}
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


FEW = {"published_after": NOW + timedelta(days=1)}
MANY = {"published_after": NOW}
STREAMS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "all": ({}, "ix_destination_workspace_id_created_at_id", set()),
    "one status": (
        {"status": [DestinationStatus.FAILED]},
        "ix_destination_workspace_id_status_created_at_id",
        set(),
    ),
    "one platform": ({"platform": ["x"]}, "ix_destination_platform", set()),
    "few by time": (FEW, "ix_destination_workspace_id_published_at_id", {"sort"}),
    "many by time": (MANY, "ix_destination_workspace_id_created_at_id", set()),
}
"""Filters of an export, the index that finds its destinations, and whether they are sorted."""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "analyzed"])
async def test_exports_read_many_destinations_in_the_order_of_an_index(
    database: Database, is_analyzed: bool
) -> None:
    await add_workspace(database, id=OWN_WORKSPACE)
    account = await add_account(database, OWN_WORKSPACE)
    post = await add_post(database, OWN_WORKSPACE, {account: published()})
    await add_post(database, OWN_WORKSPACE, {account: published(FEW["published_after"])})
    await database.write_all_workspaces(lambda session: copy_post(session, post.id, MAX_SORTED))
    if is_analyzed:
        await write_statistics(database)

    plans = {
        name: await explain_stream(database, **filters) for name, (filters, _, _) in STREAMS.items()
    }

    assert plans == {
        name: {index, POST_BY_ID, "pk_account", *steps}
        for name, (_, index, steps) in STREAMS.items()
    }
