"""Plans of statistics, analytics and the calendar: each reads ranges of an index that covers it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from app.db.core.database import Database, Reader
from app.db.repositories.analytics import count_destinations_by_platform, count_posts_by_status
from app.db.repositories.calendar import CalendarCriteria, count_posts_by_span, first_posts
from app.db.repositories.outcomes import (
    OutcomeQuery,
    read_attempts,
    read_deleted_attempts,
    read_deleted_outcomes,
    read_outcomes,
)
from app.domain.ids import AccountId
from app.domain.times import TimeRange
from tests.db.repositories.explain import OWN_WORKSPACE, explain_query
from tests.db.repositories.million_destinations import write_statistics
from tests.factories import (
    NOW,
    add_account,
    add_attempt,
    add_post,
    add_workspace,
    published,
)
from tests.recording_driver import record_statements

DAY = timedelta(days=1)
EDGES = [NOW - DAY, NOW, NOW + DAY]
WITH_ALL = OutcomeQuery(
    edges=EDGES,
    platforms=None,
    account_ids=[AccountId(1)],
    has_platforms=False,
    has_lateness=True,
    has_accounts=True,
    has_categories=True,
)
BY_PLATFORM = OutcomeQuery(
    edges=EDGES,
    platforms=None,
    account_ids=None,
    has_platforms=True,
    has_lateness=False,
    has_accounts=False,
    has_categories=False,
)
PERIOD = TimeRange(NOW - DAY, NOW)

Read = Callable[[Reader], Awaitable[object]]


def read_all(rows: Callable[[Reader, OutcomeQuery], AsyncIterator[object]]) -> Read:
    async def read(reader: Reader) -> None:
        for query in (WITH_ALL, BY_PLATFORM):
            async for _ in rows(reader, query):
                pass

    return read


SETTLED = "ix_destination_settled (workspace_id=? AND platform=? AND settled_at>? AND settled_at<?)"
STARTED = "ix_attempt_started (workspace_id=? AND platform=? AND started_at>? AND started_at<?)"
DELETED_POSTS = "SEARCH post USING INDEX ix_post_deleted (workspace_id=?)"
BY_POST = (
    "SEARCH destination USING INDEX sqlite_autoindex_destination_2 (workspace_id=? AND post_id=?)"
)
NEXT_PLATFORM = "(workspace_id=? AND platform>?)"
"""One row of either index that begins with the platform."""
PLANS: dict[str, tuple[Read, set[str]]] = {
    "outcomes": (
        read_all(read_outcomes),
        {
            f"SEARCH destination USING COVERING INDEX {SETTLED}",
        },
    ),
    "attempts": (
        read_all(read_attempts),
        {
            f"SEARCH attempt USING INDEX {STARTED}",
        },
    ),
    "outcomes of deleted posts": (
        read_all(read_deleted_outcomes),
        {DELETED_POSTS, BY_POST},
    ),
    "attempts of deleted posts": (
        read_all(read_deleted_attempts),
        {
            DELETED_POSTS,
            BY_POST,
            "SEARCH attempt USING INDEX ix_attempt_workspace_id_destination_id_started_at_id"
            " (workspace_id=? AND destination_id=?)",
        },
    ),
    "analytics of posts": (
        lambda reader: count_posts_by_status(reader, PERIOD),
        {
            "SEARCH post USING INDEX ix_post_status"
            " (workspace_id=? AND status=? AND created_at>? AND created_at<?)"
        },
    ),
    "analytics of destinations": (
        lambda reader: count_destinations_by_platform(reader, PERIOD),
        {
            "SEARCH destination USING COVERING INDEX ix_destination_platform"
            " (workspace_id=? AND platform=? AND created_at>? AND created_at<?)",
            "SEARCH destination USING INDEX ix_destination_draft"
            " (workspace_id=? AND platform=? AND created_at>? AND created_at<?)",
            "SEARCH destination USING COVERING INDEX ix_destination_post_created"
            " (workspace_id=? AND post_created_at>? AND post_created_at<?)",
            "SEARCH destination USING COVERING INDEX ix_destination_post_created"
            " (workspace_id=? AND post_created_at>?)",
            DELETED_POSTS,
            BY_POST,
        },
    ),
    "numbers of the calendar": (
        lambda reader: count_posts_by_span(reader, CalendarCriteria(), EDGES),
        {"SEARCH post USING INDEX ix_post_calendar (workspace_id=? AND <expr>>? AND <expr><?)"},
    ),
    "posts of the calendar": (
        lambda reader: first_posts(reader, CalendarCriteria(), NOW, NOW + DAY, 3),
        {"SEARCH post USING INDEX ix_post_calendar (workspace_id=? AND <expr>>? AND <expr><?)"},
    ),
}
INDEXES = {
    "outcomes": {"ix_destination_settled"},
    "attempts": {"ix_attempt_started"},
    "numbers of the calendar": {"ix_post_calendar"},
    "posts of the calendar": {"ix_post_calendar"},
}


@pytest.fixture
async def filled_database(database: Database) -> Database:
    """Database with one published destination and its attempt."""
    await add_workspace(database, id=OWN_WORKSPACE)
    account = await add_account(database, OWN_WORKSPACE)
    post = await add_post(database, OWN_WORKSPACE, {account: published()})
    await add_attempt(database, OWN_WORKSPACE, post.destinations[0])
    return database


async def search_steps(database: Database, read: Read) -> set[str]:
    """Steps of SQLite's plans that read a table or sort rows."""
    with record_statements(database) as statements:
        await read(database.reader(OWN_WORKSPACE))
    async with database.read_engine.connect() as connection:
        return {
            str(row[-1])
            for statement in statements
            for row in await connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement.text}", statement.arguments
            )
            if (row[-1].startswith("SEARCH") and NEXT_PLATFORM not in row[-1])
            or ("ORDER BY" in row[-1] and "lead(" not in statement.text)  # which sorts the edges
        }


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "analyzed"])
async def test_statistics_read_ranges_of_covering_indexes(
    filled_database: Database, is_analyzed: bool
) -> None:
    if is_analyzed:
        await write_statistics(filled_database)
    steps = {name: await search_steps(filled_database, read) for name, (read, _) in PLANS.items()}
    assert steps == {name: expected for name, (_, expected) in PLANS.items()}


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_statistics_read_the_same_indexes_on_postgresql(analyzed_database: Database) -> None:
    indexes = {name: await explain_query(analyzed_database, PLANS[name][0]) for name in INDEXES}
    assert indexes == INDEXES


@pytest.mark.parametrize(("query", "statement_count"), [(WITH_ALL, 1), (BY_PLATFORM, 2)])
async def test_platforms_are_read_together_unless_statistics_are_by_platform(
    filled_database: Database, query: OutcomeQuery, statement_count: int
) -> None:
    account = await add_account(filled_database, OWN_WORKSPACE, platform="x")
    post = await add_post(filled_database, OWN_WORKSPACE, {account: published()})
    await add_attempt(filled_database, OWN_WORKSPACE, post.destinations[0])
    reader = filled_database.reader(OWN_WORKSPACE)
    for rows in (read_outcomes(reader, query), read_attempts(reader, query)):
        with record_statements(filled_database) as statements:
            async for _ in rows:
                pass
        assert sum("lead(" in statement.text for statement in statements) == statement_count
