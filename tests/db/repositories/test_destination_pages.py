"""Plans of pages of filtered destinations."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from app.db.core.database import Database
from app.db.core.paging import Direction, NullGroup, Order, PageRequest, null_groups_of
from app.db.models import Destination
from app.db.repositories import destination_pages
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destination_pages import PagePart, PagePlan, plan_page
from app.db.repositories.destinations import DestinationOrderField, destinations_page
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.diagnosis import ErrorSource, NextAction, known_errors
from app.domain.signing import KeysetPosition
from tests.db.core.test_database import only_on_postgresql
from tests.db.repositories.explain import OWN_WORKSPACE
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
    return await plan_page(reader, criteria, order, NOW, null_groups=groups)


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
