"""Plans of pages of filtered destinations."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.paging import Direction, NullGroup, Order, PageRequest, null_groups_of
from app.db.models import Destination
from app.db.repositories import destination_pages, destinations
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destination_pages import MAX_SORTED_BY_INDEX, PagePart, PagePlan, plan_page
from app.db.repositories.destinations import DestinationOrderField, destinations_page
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction, known_errors
from app.domain.ids import WorkspaceId
from app.domain.signing import KeysetPosition
from tests.db.core.test_database import only_on_postgresql
from tests.db.repositories.explain import OTHER_WORKSPACE, OWN_WORKSPACE
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    claimed,
    failed,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.recording_driver import record_statements

QUEUED, PUBLISHING, PUBLISHED, FAILED = (
    DestinationStatus.QUEUED,
    DestinationStatus.PUBLISHING,
    DestinationStatus.PUBLISHED,
    DestinationStatus.FAILED,
)
BY = DestinationOrderField
DAY = timedelta(days=1)
ERROR_STATUSES = {QUEUED, PUBLISHING, FAILED}


async def add_every_status(database: Database) -> None:
    """Add two destinations in each of six states on one account, and a failed one on another platform."""
    await add_workspace(database, id=OWN_WORKSPACE)
    account = await add_account(database, OWN_WORKSPACE, platform="instagram")
    other_account = await add_account(database, OWN_WORKSPACE, platform="x")
    await add_post(database, OWN_WORKSPACE, {other_account: failed()})
    for state in (queued(), waiting_for_retry(), claimed(), published(), failed(), unknown()):
        for _ in range(2):
            await add_post(database, OWN_WORKSPACE, {account: state})


async def plan(
    database: Database,
    order_field: DestinationOrderField,
    filters: Mapping[str, Any],
    request: PageRequest | None = None,
) -> PagePlan:
    order = Order(getattr(Destination, order_field.value), Destination.id, Direction.DESC)
    groups = null_groups_of(order, request or PageRequest(size=5))
    criteria = DestinationCriteria(**filters)
    reader = database.reader(OWN_WORKSPACE)
    return await plan_page(
        reader, criteria, order, NOW, null_groups=groups, max_sorted_by_index=MAX_SORTED_BY_INDEX
    )


def statuses_of(parts: Mapping[NullGroup, PagePart]) -> dict[NullGroup, set[DestinationStatus]]:
    return {null_group: set(part.statuses) for null_group, part in parts.items()}


ALL, NON_NULL, NULL = NullGroup.ALL, NullGroup.NON_NULL, NullGroup.NULL
POSSIBLE_STATUSES: list[tuple[DestinationOrderField, dict[str, Any], dict[NullGroup, set[Any]]]] = [
    (BY.CREATED_AT, {}, {ALL: {*DestinationStatus}}),
    (BY.CREATED_AT, {"status": [FAILED]}, {ALL: {FAILED}}),
    (BY.CREATED_AT, {"outcome": [Outcome.NONE]}, {ALL: {QUEUED, PUBLISHING}}),
    (BY.CREATED_AT, {"status": [QUEUED], "outcome": [Outcome.FAILED]}, {}),
    (BY.CREATED_AT, {"status": []}, {}),
    (BY.CREATED_AT, {"duplicated": True}, {}),
    (BY.FAILED_AT, {}, {NON_NULL: {FAILED}, NULL: {QUEUED, PUBLISHING, PUBLISHED}}),
    (BY.FAILED_AT, {"outcome": [Outcome.UNKNOWN]}, {NON_NULL: {FAILED}}),
    (
        BY.FAILED_AT,
        {"source": [ErrorSource.USER]},
        {NON_NULL: {FAILED}, NULL: {QUEUED, PUBLISHING}},
    ),
    (BY.PUBLISHED_AT, {"failed_after": NOW}, {NULL: {FAILED}}),
    (BY.LATENESS, {"published_before": NOW}, {}),
    (BY.LATENESS, {}, {NON_NULL: {PUBLISHED}, NULL: ERROR_STATUSES}),
    (BY.NEXT_RETRY_AT, {"retrying": True}, {NON_NULL: {QUEUED}, NULL: {QUEUED}}),
    (BY.NEXT_RETRY_AT, {"overdue": True}, {}),
    (BY.FAILED_AT, {"next_action": [NextAction.WAIT]}, {NULL: {QUEUED}}),
    (
        BY.FAILED_AT,
        {"retrying": False},
        {NON_NULL: {FAILED}, NULL: {QUEUED, PUBLISHING, PUBLISHED}},
    ),
    (BY.SCHEDULED_FOR, {"error_category": [ErrorCategory.AUTH]}, {}),
]


async def test_groups_without_a_possible_match_are_not_read(database: Database) -> None:
    await add_every_status(database)
    for order_field, filters, expected in POSSIBLE_STATUSES:
        parts = (await plan(database, order_field, filters)).parts
        assert statuses_of(parts) == expected, (order_field, filters)


SORTED_FILTERS: list[tuple[int, DestinationOrderField, dict[str, Any], tuple[str, ...]]] = [
    (5000, BY.UPDATED_AT, {"account_id": [1]}, ("one_account_id",)),
    (5000, BY.UPDATED_AT, {"account_id": [1], "status": [FAILED]}, ("one_account_id",)),
    (5000, BY.CREATED_AT, {"account_id": [1]}, ()),
    (5000, BY.UPDATED_AT, {"status": [FAILED]}, ("one_status",)),
    (5000, BY.UPDATED_AT, {"status": [FAILED, PUBLISHED]}, ("status",)),
    (5000, BY.CREATED_AT, {"status": [FAILED]}, ()),
    (3, BY.UPDATED_AT, {"status": [FAILED]}, ()),
    (3, BY.UPDATED_AT, {"status": [FAILED], "platform": ["x"]}, ("one_platform",)),
    (3, BY.UPDATED_AT, {"outcome": [Outcome.PUBLISHED]}, ("one_outcome_statuses",)),
    (5000, BY.UPDATED_AT, {"max_attempts": 9}, ()),
    (5000, BY.UPDATED_AT, {"late_by_seconds": 0}, ("late_by_seconds",)),
    (5000, BY.PUBLISHED_AT, {"late_by_seconds": 0}, ("published_late",)),
    (5000, BY.UPDATED_AT, {"late_by_seconds": 0, "status": [QUEUED]}, ("waiting_late",)),
    (5000, BY.LATENESS, {"late_by_seconds": 0}, ()),
]


@pytest.mark.parametrize(("maximum", "order_field", "filters", "sorted_filters"), SORTED_FILTERS)
async def test_few_matches_of_selective_filters_are_sorted(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    maximum: int,
    order_field: DestinationOrderField,
    filters: dict[str, Any],
    sorted_filters: tuple[str, ...],
) -> None:
    monkeypatch.setattr(destination_pages, "MAX_SORTED", maximum)
    monkeypatch.setattr(destination_pages, "MAX_SORTED_UNSELECTIVE", maximum)
    await add_every_status(database)

    first_part = next(iter((await plan(database, order_field, filters)).parts.values()))

    assert first_part.sorted_filters == sorted_filters
    assert (first_part.ids is not None) == (bool(sorted_filters) and not database.is_sqlite)


async def test_matches_are_counted_once_for_all_groups_of_a_page(database: Database) -> None:
    await add_every_status(database)
    with record_statements(database) as statements:
        both = await plan(database, BY.FAILED_AT, {"error_code": ["CAPTION_TOO_LONG"]})
    assert len(both.parts) == 2
    assert len(statements) == 1

    after = KeysetPosition(None, str(UUID(int=1)))
    request = PageRequest(size=5, after=after)
    rest = await plan(database, BY.FAILED_AT, {"error_code": ["CAPTION_TOO_LONG"]}, request)
    assert [*rest.parts] == [NULL]


async def page_text(
    database: Database, order_field: DestinationOrderField, *, number: int = 0, **filters: Any
) -> str:
    """Return the text of a statement of a page."""
    with record_statements(database) as statements:
        await destinations_page(
            database.reader(OWN_WORKSPACE),
            DestinationCriteria(**filters),
            order_field,
            Direction.DESC,
            PageRequest(size=5),
            NOW,
        )
    return statements[number].text


@pytest.mark.parametrize(
    ("filters", "pattern"),
    [
        ({"failed_after": NOW}, r"destination\.status = "),
        ({"published_before": NOW}, r"destination\.status = "),
        ({"error_code": ["X"]}, r"destination\.error_category IS NOT NULL"),
        (
            {"source": [ErrorSource.USER]},
            r"AND \S*destination\.error_category .*AND \S*destination\.error_category ",
        ),
        ({"retrying": True}, r"destination\.error_category IS NOT NULL"),
        ({"late_by_seconds": 0}, r"destination\.status = \S+ OR destination\.due_at <= "),
    ],
)
async def test_index_of_due_times_decides_filters(
    database: Database, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any], pattern: str
) -> None:
    monkeypatch.setattr(destination_pages, "MAX_SORTED", -1)
    assert re.search(pattern, await page_text(database, BY.SCHEDULED_FOR, number=1, **filters))


async def test_matches_by_due_time_are_counted_in_the_statuses_of_the_group(
    database: Database,
) -> None:
    text = await page_text(database, BY.LATENESS, scheduled_after=NOW)
    assert "destination.status = " in text


@only_on_postgresql
async def test_long_errors_are_compared_whole(database: Database) -> None:
    """The type of a category is limited to 32 characters, at which PostgreSQL would cut the error."""
    assert any(len(f"{category}/{code}") > 32 for category, code in known_errors())
    text = await page_text(database, BY.CREATED_AT, source=[ErrorSource.USER])
    assert set(re.findall(r"error_code = ANY \(\$\d+::(\w+)", text)) == {"TEXT"}


BY_INDEX: list[tuple[DestinationOrderField, Direction, dict[str, Any], bool]] = [
    (BY.CREATED_AT, Direction.DESC, {"scheduled_before": NOW}, True),
    (BY.CREATED_AT, Direction.ASC, {"scheduled_after": NOW - DAY}, True),
    (BY.CREATED_AT, Direction.DESC, {"updated_after": NOW - DAY, "updated_before": NOW}, True),
    (BY.FAILED_AT, Direction.DESC, {"scheduled_before": NOW, "status": [FAILED]}, True),
    (BY.FAILED_AT, Direction.ASC, {"updated_after": NOW - DAY}, True),
    (BY.CREATED_AT, Direction.DESC, {"scheduled_before": NOW, "status": [FAILED, QUEUED]}, True),
    (BY.CREATED_AT, Direction.DESC, {"scheduled_after": NOW - DAY}, False),
    (BY.CREATED_AT, Direction.ASC, {"updated_before": NOW}, False),
    (BY.CREATED_AT, Direction.DESC, {"scheduled_before": NOW, "updated_before": NOW}, False),
    (BY.CREATED_AT, Direction.DESC, {"scheduled_before": NOW, "platform": ["x"]}, False),
    (BY.LATENESS, Direction.DESC, {"scheduled_before": NOW}, False),
]
"""Order and filters of a page, and whether an index sorts any number of its matches."""


async def add_at_many_times(database: Database) -> None:
    """Add destinations whose times are in different orders, some of deleted posts, to two workspaces."""
    for workspace in (OWN_WORKSPACE, OTHER_WORKSPACE):
        await add_workspace(database, id=workspace)
        await add_destinations(database, workspace)


async def add_destinations(database: Database, workspace: WorkspaceId) -> None:
    account = await add_account(database, workspace, platform="x")
    for number in range(14):
        due_at = NOW - timedelta(hours=1 + number * 5 % 14)
        failed_at = due_at + timedelta(minutes=number * 3 % 14)
        states = (
            queued(due_at),
            published(due_at, due_at=due_at),
            failed(due_at=due_at, settled_at=failed_at),
        )
        for state in states:
            await add_post(
                database,
                workspace,
                {account: state},
                created_at=due_at - timedelta(hours=number * 9 % 14),
                updated_at=failed_at,
                deleted_at=NOW if number % 5 == 1 else None,
            )


async def ids_of_pages(
    database: Database,
    order: tuple[DestinationOrderField, Direction],
    criteria: DestinationCriteria,
) -> list[list[object]]:
    """Return the ids of each page of four destinations, of the last two, and of a page at an offset."""
    reader, ids, after, has_next_page = database.reader(OWN_WORKSPACE), [], None, True
    while has_next_page:
        request = PageRequest(size=4, after=after)
        page = await destinations_page(reader, criteria, *order, request, NOW)
        ids.append([row.id for row in page.rows])
        after = KeysetPosition(getattr(page.rows[-1], order[0].value), str(page.rows[-1].id))
        has_next_page = page.has_next_page
    for request in (
        PageRequest(size=2, from_end=True),
        PageRequest(size=3, offset=2),
        PageRequest(size=2, from_end=True, before=after),
    ):
        page = await destinations_page(reader, criteria, *order, request, NOW)
        ids.append([row.id for row in page.rows])
    return ids


async def own_ids(database: Database) -> set[object]:
    """Return the ids of the destinations of the own workspace."""
    async with database.read_engine.connect() as connection:
        statement = select(Destination.id).where(Destination.workspace_id == OWN_WORKSPACE)
        return {*(await connection.scalars(statement))}


async def test_index_does_not_sort_in_a_workspace_with_many_deleted_posts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_at_many_times(database)
    for maximum, by_index in ((9, True), (8, False)):
        monkeypatch.setattr(destination_pages, "MAX_DELETED_POSTS", maximum)
        parts = (await plan(database, BY.CREATED_AT, {"scheduled_before": NOW})).parts
        assert parts[ALL].is_sorted_by_index == by_index


@pytest.mark.parametrize(("order_field", "direction", "filters", "by_index"), BY_INDEX)
async def test_index_sorts_as_many_matches_as_there_are(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    order_field: DestinationOrderField,
    direction: Direction,
    filters: dict[str, Any],
    by_index: bool,
) -> None:
    monkeypatch.setattr(destination_pages, "MAX_SORTED", 0)
    await add_at_many_times(database)
    order, criteria = (order_field, direction), DestinationCriteria(**filters)
    with record_statements(database) as statements:
        sorted_pages = await ids_of_pages(database, order, criteria)
    assert any("IN (SELECT destination" in each.text for each in statements) == by_index
    assert {row for page in sorted_pages for row in page} <= await own_ids(database)

    monkeypatch.setattr(destinations, "MAX_SORTED_BY_INDEX", 0)
    with record_statements(database) as statements:
        assert await ids_of_pages(database, order, criteria) == sorted_pages
    assert not any("IN (SELECT destination" in each.text for each in statements)
    assert len(sorted_pages) >= 5


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"scheduled_before": NOW}, "ix_destination_due"),
        ({"updated_before": NOW}, "ix_destination_updated"),
    ],
)
@pytest.mark.parametrize("order_field", [BY.CREATED_AT, BY.FAILED_AT])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_sorted_matches_of_a_range_are_read_without_the_table(
    database: Database,
    order_field: DestinationOrderField,
    filters: dict[str, Any],
    index: str,
) -> None:
    await add_at_many_times(database)
    with record_statements(database) as statements:
        criteria, request = DestinationCriteria(**filters), PageRequest(size=3)
        order = (order_field, Direction.DESC)
        reader = database.reader(OWN_WORKSPACE)
        await destinations_page(reader, criteria, *order, request, NOW)
    statement = next(each for each in statements if "IN (SELECT destination" in each.text)
    async with database.read_engine.connect() as connection:
        explain = f"EXPLAIN QUERY PLAN {statement.text}"
        plan = [
            str(row[-1]) for row in await connection.exec_driver_sql(explain, statement.arguments)
        ]
    assert any(f"COVERING INDEX {index} " in step for step in plan)
