"""Indexes that serve pages, counts and loaders, as reported by EXPLAIN on both engines."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.db.core.database import Database, Reader
from app.db.core.paging import Direction, PageRequest
from app.db.repositories import (
    account_failures,
    accounts,
    analytics,
    attempts,
    destinations,
    events,
    failure_groups,
    post_progress,
    posts,
    retries,
    sessions,
)
from app.db.repositories.account_filters import AccountCriteria, account_filter_values
from app.db.repositories.accounts import AccountOrderField
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import DestinationOrderField
from app.db.repositories.failure_groups import FailureGroupOrderField
from app.db.repositories.posts import PostCriteria, PostOrderField
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.events import FEED_START, EventFilter, EventKind, FeedPosition
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import PostStatus
from app.domain.signing import KeysetPosition
from tests.db.core.test_database import only_on_postgresql
from tests.db.repositories.explain import (
    OWN_WORKSPACE,
    POST_BY_ID,
    UNIQUE_DESTINATION_INDEX,
    Query,
    explain_query,
    explain_statements,
)
from tests.db.repositories.many_posts import ACCOUNTS
from tests.db.repositories.test_batched_reads import POINT_READS
from tests.factories import NOW
from tests.recording_driver import record_statements

WEEK_AGO = NOW - timedelta(days=7)
POST_IDS = [PostId(UUID(int=number)) for number in range(20)]
DESTINATION_IDS = [DestinationId(post_id) for post_id in POST_IDS]
GROUP_KEYS = [f"1-{number:032x}" for number in range(20)]
ACCOUNT_IDS = [AccountId(number) for number in range(1, ACCOUNTS + 1)]

ATTEMPT_LOG_INDEX = "ix_attempt_workspace_id_destination_id_started_at_id"
POST_ORDERS = {
    PostOrderField.CREATED_AT: "ix_post_created_at",
    PostOrderField.UPDATED_AT: "ix_post_updated_at",
    PostOrderField.SCHEDULED_FOR: "ix_post_scheduled_for",
    PostOrderField.PUBLISHED_AT: "ix_post_published_at",
}
DESTINATION_ORDERS = {
    DestinationOrderField.CREATED_AT: "ix_destination_workspace_id_created_at_id",
    DestinationOrderField.UPDATED_AT: "ix_destination_updated",
    DestinationOrderField.SCHEDULED_FOR: "ix_destination_due",
    DestinationOrderField.PUBLISHED_AT: "ix_destination_workspace_id_published_at_id",
    DestinationOrderField.NEXT_RETRY_AT: "ix_destination_next_retry",
    DestinationOrderField.FAILED_AT: "ix_destination_failed",
    DestinationOrderField.LATENESS: "ix_destination_lateness",
}


def posts_page_query(
    order_field: PostOrderField = PostOrderField.CREATED_AT,
    direction: Direction = Direction.DESC,
    *,
    after: KeysetPosition | None = None,
    **filters: Any,
) -> Query:
    """A page of posts, by default of the newest."""
    criteria, request = PostCriteria(**filters), PageRequest(size=5, after=after)
    return lambda reader: posts.posts_page(reader, criteria, order_field, direction, request)


def destinations_page_query(
    order_field: DestinationOrderField = DestinationOrderField.CREATED_AT,
    direction: Direction = Direction.DESC,
    *,
    after: KeysetPosition | None = None,
    **filters: Any,
) -> Query:
    """A page of destinations, by default of the newest."""
    criteria, request = DestinationCriteria(**filters), PageRequest(size=5, after=after)
    return lambda reader: destinations.destinations_page(
        reader, criteria, order_field, direction, request, NOW
    )


def accounts_page_query(
    order_field: AccountOrderField = AccountOrderField.ACCOUNT_ID,
    *,
    after: KeysetPosition | None = None,
    **filters: Any,
) -> Query:
    """A page of accounts, with their number."""
    criteria, request = AccountCriteria(**filters), PageRequest(size=5, after=after)

    async def query(reader: Reader) -> None:
        values = await account_filter_values(reader, criteria, NOW)
        await accounts.accounts_page(reader, values, order_field, Direction.ASC, request)
        await accounts.count_accounts(reader, values)

    return query


def retry_candidates_query(**filters: Any) -> Query:
    failed = DestinationCriteria(status=[DestinationStatus.FAILED], **filters)
    return lambda reader: retries.retry_candidates(reader, failed, PageRequest(size=5), NOW)


def retry_states_query(**filters: Any) -> Query:
    failed = DestinationCriteria(status=[DestinationStatus.FAILED], **filters)
    return lambda reader: retries.count_retry_states(reader, failed, NOW)


def post_count_query(**filters: Any) -> Query:
    return lambda reader: posts.count_posts(reader, PostCriteria(**filters))


def destination_count_query(**filters: Any) -> Query:
    return lambda reader: destinations.count_destinations(
        reader, DestinationCriteria(**filters), NOW
    )


ACCOUNT_LISTS: dict[str, tuple[Query, set[str]]] = {
    "accounts": (accounts_page_query(), {"pk_account"}),
    "accounts, middle page": (
        accounts_page_query(after=KeysetPosition(9, "9")),
        {"pk_account"},
    ),
    "accounts, number": (accounts_page_query(account_id=ACCOUNT_IDS), {"pk_account"}),
    "accounts, can post": (accounts_page_query(can_post=True), {"pk_account"}),
    "accounts, search": (accounts_page_query(search="a"), {"pk_account"}),
    "accounts, by time": (  # sorts those of the workspace
        accounts_page_query(AccountOrderField.CREATED_AT, after=KeysetPosition(NOW, "9")),
        {"pk_account", "sort"},
    ),
}
FILTERS: dict[str, tuple[Query, set[str]]] = {
    "posts, ids": (posts_page_query(post_id=POST_IDS[:3]), {POST_BY_ID, "sort"}),
    "posts, status": (posts_page_query(status=[PostStatus.FAILED]), {"ix_post_status"}),
    "posts, reference": (posts_page_query(reference="reference-10"), {"ix_post_reference"}),
    "posts, platform": (
        posts_page_query(platform=["platform-1"]),
        {"ix_post_created_at", "ix_destination_workspace_id_platform_post_id"},
    ),
    "posts, account": (
        posts_page_query(account_id=[3]),
        {"ix_post_created_at", UNIQUE_DESTINATION_INDEX},
    ),
    "posts, created": (posts_page_query(created_after=WEEK_AGO), {"ix_post_created_at"}),
    "destinations, status": (
        destinations_page_query(status=[DestinationStatus.FAILED]),
        {"ix_destination_workspace_id_status_created_at_id", POST_BY_ID},
    ),
    "destinations, platform": (
        destinations_page_query(platform=["platform-1"]),
        {"ix_destination_platform", POST_BY_ID},
    ),
    "destinations, account": (
        destinations_page_query(account_id=[3]),
        {"ix_destination_workspace_id_account_id_created_at_id", POST_BY_ID},
    ),
    "destinations, no such account": (
        destinations_page_query(account_id=[99]),
        {"ix_destination_workspace_id_account_id_created_at_id", POST_BY_ID},
    ),
    "destinations, error category": (
        destinations_page_query(error_category=[ErrorCategory.AUTH]),
        {"ix_destination_error_category", POST_BY_ID},
    ),
    "destinations, error code": (
        destinations_page_query(error_code=["CAPTION_TOO_LONG"]),
        {"ix_destination_error_code", POST_BY_ID},
    ),
    "destinations, cancelled": (
        destinations_page_query(cancelled=True),
        {"ix_destination_error_code", POST_BY_ID},
    ),
}

TOTALS: dict[str, tuple[Query, set[str]]] = {
    "posts": (post_count_query(), {POST_BY_ID, "ix_post_deleted"}),
    "posts, status": (post_count_query(status=[PostStatus.FAILED]), {"ix_post_status"}),
    "posts, reference": (post_count_query(reference="reference-10"), {"ix_post_reference"}),
    "posts, created": (post_count_query(created_after=WEEK_AGO), {"ix_post_created_at"}),
    "posts, viewer": (
        lambda reader: analytics.count_posts_created(reader, WEEK_AGO),
        {"ix_post_created_at"},
    ),
    "destinations, status": (
        destination_count_query(status=[DestinationStatus.FAILED]),
        {"ix_destination_workspace_id_status_created_at_id", "ix_post_deleted"},
    ),
    "destinations, overdue": (
        destination_count_query(overdue=True),
        {
            *("ix_destination_claimable", "ix_destination_leased"),
            *("pk_account", "pk_account_pause", "pk_account_breaker", "ix_post_deleted"),
        },
    ),
    "destinations to retry, failed lately": (
        retry_states_query(failed_after=WEEK_AGO),
        {"ix_destination_failed", "ix_post_deleted", "ix_post_imported"},
    ),
    "destinations to retry, of a failure group": (
        retry_states_query(failure_group=["1-x"]),
        {"ix_destination_failure_group", "ix_post_deleted", "ix_post_imported"},
    ),
    "posts to cancel, created": (
        lambda reader: post_progress.count_post_progress(
            reader, PostCriteria(created_after=WEEK_AGO)
        ),
        {"ix_post_created_at", UNIQUE_DESTINATION_INDEX},
    ),
}

LOADERS: dict[str, tuple[Query, set[str]]] = {
    "posts_by_id": (lambda reader: posts.posts_by_id(reader, POST_IDS), {POST_BY_ID}),
    "destinations_by_id": (
        lambda reader: destinations.destinations_by_id(reader, DESTINATION_IDS),
        {"pk_destination", POST_BY_ID},
    ),
    "destinations_by_post_id": (  # sorts the destinations of the batch
        lambda reader: destinations.destinations_by_post_id(reader, POST_IDS),
        {UNIQUE_DESTINATION_INDEX, "sort"},
    ),
    "accounts_by_id": (lambda reader: accounts.accounts_by_id(reader, ACCOUNT_IDS), {"pk_account"}),
    "activity_by_account_id": (
        lambda reader: accounts.activity_by_account_id(reader, ACCOUNT_IDS, WEEK_AGO),
        {
            "pk_account",
            "ix_destination_account_published",
            "ix_destination_account_failed",
            "ix_destination_account_unsettled",
        },
    ),
    "open_failures_by_account_id": (
        lambda reader: account_failures.open_failures_by_account_id(reader, ACCOUNT_IDS),
        {"pk_account", "ix_destination_account_failed", "ix_post_deleted"},
    ),
    "unknown_count_by_account_id": (
        lambda reader: account_failures.unknown_count_by_account_id(reader, ACCOUNT_IDS),
        {"ix_destination_verifiable"},
    ),
    "last_failures_by_account_id": (  # sorts failures of one instant
        lambda reader: account_failures.last_failures_by_account_id(reader, ACCOUNT_IDS),
        {
            "pk_account",
            "ix_destination_account_failed",
            "ix_post_deleted",
            "pk_destination",
            "sort",
        },
    ),
    "attempts_by_destination_id": (
        lambda reader: attempts.attempts_by_destination_id(reader, DESTINATION_IDS),
        {ATTEMPT_LOG_INDEX},
    ),
    "attempts_page": (
        lambda reader: attempts.attempts_page(reader, DESTINATION_IDS[0], PageRequest(size=5)),
        {ATTEMPT_LOG_INDEX},
    ),
    "attempts_page, after": (
        lambda reader: attempts.attempts_page(
            reader,
            DESTINATION_IDS[0],
            PageRequest(size=5, after=KeysetPosition(WEEK_AGO, str(UUID(int=1)))),
        ),
        {ATTEMPT_LOG_INDEX},
    ),
    "first_attempts_pages": (
        lambda reader: attempts.first_attempts_pages(reader, DESTINATION_IDS, PageRequest(size=5)),
        {ATTEMPT_LOG_INDEX},
    ),
}


FAILURE_GROUPS = {"ix_destination_failure_group", "ix_post_deleted"}
PAGE_OF_GROUPS = {*FAILURE_GROUPS, "pk_destination", "sort"}  # sorts the groups


def failure_groups_query(
    order_field: FailureGroupOrderField = FailureGroupOrderField.COUNT,
    *,
    after: KeysetPosition | None = None,
    **filters: Any,
) -> Query:
    criteria, request = DestinationCriteria(**filters), PageRequest(size=5, after=after)
    return lambda reader: failure_groups.failure_groups_page(
        reader, criteria, order_field, request, NOW
    )


FAILURE_GROUP_QUERIES: dict[str, tuple[Query, set[str]]] = {
    "groups, by count": (failure_groups_query(), PAGE_OF_GROUPS),
    "groups, by latest failure": (
        failure_groups_query(
            FailureGroupOrderField.LAST_SEEN, after=KeysetPosition(NOW, GROUP_KEYS[0])
        ),
        PAGE_OF_GROUPS,
    ),
    "groups, status": (failure_groups_query(status=[DestinationStatus.FAILED]), PAGE_OF_GROUPS),
    "groups, outcome": (failure_groups_query(outcome=[Outcome.FAILED]), PAGE_OF_GROUPS),
    "groups, of a period": (
        failure_groups_query(failed_after=NOW),
        {*PAGE_OF_GROUPS, "ix_destination_failed"},
    ),
    "groups, by key": (
        lambda reader: failure_groups.failure_groups_by_key(reader, GROUP_KEYS, NOW),
        PAGE_OF_GROUPS,
    ),
    "groups, hourly": (
        lambda reader: failure_groups.hourly_counts(reader, DestinationCriteria(), GROUP_KEYS, NOW),
        FAILURE_GROUPS,
    ),
    "groups, accounts": (
        lambda reader: failure_groups.failures_by_account(
            reader, DestinationCriteria(), GROUP_KEYS, NOW
        ),
        {*FAILURE_GROUPS, "sort"},
    ),
    "groups, retry": (
        lambda reader: failure_groups.retry_counts(reader, DestinationCriteria(), GROUP_KEYS, NOW),
        {*FAILURE_GROUPS, "ix_post_imported", "pk_account"},
    ),
}


async def test_failure_groups_are_read_from_their_index(analyzed_database: Database) -> None:
    plans = {
        # SQLite scans the few groups of a page.
        name: await explain_query(analyzed_database, query) - {"scan"}
        for name, (query, _) in FAILURE_GROUP_QUERIES.items()
    }

    expected = {name: indexes for name, (_, indexes) in FAILURE_GROUP_QUERIES.items()}
    if not analyzed_database.is_sqlite:  # it reads the few failures of a day, and sorts them
        expected["groups, hourly"] = {"ix_destination_failed", "ix_post_deleted", "sort"}
        page = expected["groups, of a period"]
        expected["groups, of a period"] = page - {"ix_destination_failure_group"}
    assert plans == expected


DESTINATIONS_OF_DELETED_POSTS = {
    UNIQUE_DESTINATION_INDEX,
    "ix_destination_workspace_id_platform_post_id",
}
PLAN_ALTERNATIVES = {
    "attempts_by_destination_id": {"sort"},
    "attempts_page": {"sort"},  # of attempts with the same start, by number
    "attempts_page, after": {"sort", "pk_attempt", "sqlite_autoindex_attempt_1"},
    "first_attempts_pages": {"sort", "scan"},  # SQLite scans the numbered rows
    "open_failures_by_account_id": {"scan"},  # of the limited rows that are counted
    "unknown_count_by_account_id": {"sort"},
    "destinations by lateness_ms desc, middle page": {"pk_destination"},  # too few have a lateness
    "destinations without a due time": {"sort"},  # PostgreSQL sorts by id, though all are NULL
    "destinations, status": DESTINATIONS_OF_DELETED_POSTS,
    # PostgreSQL reads all servers.
    "destinations, overdue": DESTINATIONS_OF_DELETED_POSTS | {"pk_server_breaker", "scan"},
    "destinations to retry, failed lately": {"sort"},
    "destinations to retry, of a failure group": {"sort"},
    "posts to cancel, created": {"sort"},
    "changes, of a person": {"sort"},  # of the scanned part of the feed
    "earlier changes, of a person": {"sort"},
}
"""Plan steps that an engine may add: sorting a few rows costs as little as index order, and PostgreSQL finds
destinations in such small tables by any index, and sorts to group."""

UNSETTLED_INDEX = "ix_destination_account_unsettled"
BLOCKED_ACCOUNT_QUERIES: dict[str, tuple[Query, set[str]]] = {
    "due_post_ids": (
        lambda reader: accounts.due_post_ids(reader, ACCOUNT_IDS[0], NOW, limit=5),
        {UNSETTLED_INDEX},
    ),
    "count_queued_destinations": (
        lambda reader: accounts.count_queued_destinations(reader, ACCOUNT_IDS[0]),
        {UNSETTLED_INDEX},
    ),
    "posts_failed_with_auth": (  # sorts failures within one millisecond
        lambda reader: accounts.posts_failed_with_auth(
            reader, ACCOUNT_IDS[0], failed_after=WEEK_AGO, limit=5
        ),
        {"ix_destination_account_failed", "sort", POST_BY_ID},
    ),
    "held_posts": (
        lambda reader: accounts.held_posts(
            reader, ACCOUNT_IDS[0], held_until=NOW, claimable_after=None, limit=5
        ),
        {"ix_destination_account_claimable"},
    ),
}


async def test_due_destinations_of_blocked_accounts_cost_one_lookup_per_account(
    analyzed_database: Database,
) -> None:
    async def query(_reader: Reader) -> None:
        await accounts.blocked_accounts_with_due(analyzed_database.all_workspaces, NOW, limit=5)

    assert await explain_query(analyzed_database, query) == {
        "scan",
        UNSETTLED_INDEX,
    }  # scan of accounts


async def test_sessions_are_found_by_digest_and_by_expiry(analyzed_database: Database) -> None:
    async def by_digest(_reader: Reader) -> None:
        await sessions.find_session(analyzed_database.authentication_reader, bytes(32))

    async def by_expiry(_reader: Reader) -> None:
        await sessions.has_expired_sessions(analyzed_database.all_workspaces, NOW)

    assert await explain_query(analyzed_database, by_digest) == {
        "uq_session_digest",
        "pk_api_key",
        "pk_workspace",
    }
    assert await explain_query(analyzed_database, by_expiry) == {"ix_session_expires_at"}


async def test_queries_use_the_expected_indexes(analyzed_database: Database) -> None:
    for group in (
        sorted_page_queries(),
        null_time_queries(analyzed_database),
        ACCOUNT_LISTS,
        FILTERS,
        failure_queries(analyzed_database),
        TOTALS,
        LOADERS,
        BLOCKED_ACCOUNT_QUERIES,
        feed_queries(analyzed_database),
    ):
        plans = {
            name: await explain_query(analyzed_database, query) - PLAN_ALTERNATIVES.get(name, set())
            for name, (query, _) in group.items()
        }

        assert plans == {name: indexes for name, (_, indexes) in group.items()}


def point_read_query(read: Callable[[Reader, Any], Awaitable[object]], key: object) -> Query:
    return lambda reader: read(reader, key)


@only_on_postgresql
async def test_batch_uses_the_indexes_of_the_single_read(analyzed_database: Database) -> None:
    single, batched = {}, {}
    for name, (read, (key, *_)) in POINT_READS.items():
        query = point_read_query(read, key)
        single[name] = await explain_query(analyzed_database, query)
        with record_statements(analyzed_database) as statements:
            await query(analyzed_database.reader(OWN_WORKSPACE))
        (statement,) = statements
        batch = statement.compiled.batch
        assert batch is not None
        # PostgreSQL assumes ten requests in a generic plan.
        values = {"workspaces": [OWN_WORKSPACE] * 10, "keys": [key] * 10}
        async with analyzed_database.read_engine.connect() as connection:
            recorded = (batch.statement.sql, tuple(batch.statement.encode_arguments(values)))
            batched[name] = await explain_statements(analyzed_database, connection, [recorded])

    assert batched == single


def sorted_page_queries() -> dict[str, tuple[Query, set[str]]]:
    """Pages of rows with a time: the first page, and one from the middle."""
    middle = KeysetPosition(NOW - timedelta(days=180), str(UUID(int=2**127)))
    middle_number = KeysetPosition(0, middle.key)
    orders: dict[str, tuple[Query, set[str]]] = {}
    for direction in Direction:
        for page, after in (("first", None), ("middle", middle)):
            for order_field, index in POST_ORDERS.items():
                name = f"posts by {order_field} {direction}, {page} page"
                orders[name] = (posts_page_query(order_field, direction, after=after), {index})
            for destination_sort, index in DESTINATION_ORDERS.items():
                name = f"destinations by {destination_sort} {direction}, {page} page"
                is_number = destination_sort is DestinationOrderField.LATENESS
                orders[name] = (
                    destinations_page_query(
                        destination_sort,
                        direction,
                        after=after and middle_number if is_number else after,
                    ),
                    {index, POST_BY_ID},
                )
    return orders


def null_time_queries(database: Database) -> dict[str, tuple[Query, set[str]]]:
    """Pages of rows without a time, ordered by id."""
    null_position = KeysetPosition(None, str(UUID(int=2**127)))
    return {
        "posts without a time": (
            posts_page_query(PostOrderField.SCHEDULED_FOR, Direction.DESC, after=null_position),
            {"ix_post_scheduled_for"} if database.is_sqlite else {POST_BY_ID},
        ),
        "destinations without a retry": (
            destinations_page_query(
                DestinationOrderField.NEXT_RETRY_AT, Direction.DESC, after=null_position
            ),
            {"pk_destination", POST_BY_ID},
        ),
        "destinations without a due time": (
            destinations_page_query(
                DestinationOrderField.SCHEDULED_FOR, Direction.DESC, after=null_position
            ),
            {"ix_destination_undated", POST_BY_ID},
        ),
    }


def failure_queries(database: Database) -> dict[str, tuple[Query, set[str]]]:
    """Filters by outcome and failure, and retry candidates; the engines differ."""
    in_order = {"ix_destination_workspace_id_status_created_at_id", POST_BY_ID}
    queries = {
        "outcome": destinations_page_query(outcome=[Outcome.UNKNOWN]),
        "failed lately": destinations_page_query(failed_after=WEEK_AGO),
        "to retry, of accounts": retry_candidates_query(account_id=[3]),
        "to retry, by attempts": retry_candidates_query(max_attempts=1),
        "to retry, failed lately": retry_candidates_query(failed_after=WEEK_AGO),
        "to retry, of posts": retry_candidates_query(post_id=POST_IDS),
    }
    by_failure = {"ix_destination_failed", POST_BY_ID, "sort"}
    outcome = {"ix_destination_verifiable"}  # none match
    expected = {
        "outcome": outcome,
        "failed lately": by_failure,
        "to retry, failed lately": by_failure,
    }
    if database.is_sqlite:
        for indexes in (by_failure, outcome):
            indexes.add("scan")  # of the counted matches
    else:
        expected |= {
            "to retry, of accounts": {
                "ix_destination_workspace_id_account_id_created_at_id",
                POST_BY_ID,
            },
            "to retry, of posts": {UNIQUE_DESTINATION_INDEX, POST_BY_ID, "sort"},
        }
    return {name: (query, expected.get(name, in_order)) for name, query in queries.items()}


def feed_queries(database: Database) -> dict[str, tuple[Query, set[str]]]:
    """Reads of the change feed; each page also reads the newest event and the cursor's event."""

    def changes_page(after: FeedPosition | None, **filters: Any) -> Query:
        return lambda reader: events.read_events(reader, after, EventFilter(**filters), limit=5)

    def earlier_page(**filters: Any) -> Query:
        return lambda reader: events.read_earlier_events(
            reader, None, EventFilter(**filters), limit=5
        )

    deleted = [EventKind.POST_DELETED]
    post_indexes = {"pk_event", "ix_event_workspace_id_post_id_seq"}
    return {
        "changes, newest": (events.latest_position, {"pk_event"}),
        "changes, oldest": (
            lambda reader: events.oldest_events(reader, limit=5),
            {"pk_event"},
        ),
        "changes, all that follow": (
            lambda reader: events.read_contiguous_events(reader, FEED_START, limit=5),
            {"pk_event"},
        ),
        "changes, first page": (changes_page(None), {"pk_event"}),
        "changes, from the start": (changes_page(FEED_START), {"pk_event"}),
        "changes, of a type": (changes_page(None, kinds=deleted), {"pk_event"}),
        "changes, of a person": (changes_page(None, person="Ann"), {"pk_event"}),
        "earlier changes": (earlier_page(), {"pk_event"}),
        "earlier changes, of a person": (earlier_page(person="Ann"), {"pk_event"}),
        "earlier changes, of a post": (earlier_page(post_id=POST_IDS[0]), post_indexes),
        "changes, of a post": (changes_page(None, post_id=POST_IDS[0]), post_indexes),
        "earlier changes, of a destination, without operations": (
            earlier_page(
                post_id=POST_IDS[0],
                destination_id=DestinationId(UUID(int=1)),
                excluded_operations=["claimDestinations"],
            ),
            post_indexes,
        ),
        "changes, of a type and post": (
            changes_page(None, kinds=deleted, post_id=POST_IDS[0]),
            post_indexes,
        ),
    }
