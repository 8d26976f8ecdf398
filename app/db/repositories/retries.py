"""Destinations for manual retries: pages of candidates, and their numbers by state and account."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, not_, select

from app.db.core.conditions import any_of, equality_parameter, unindexed, without_indexes
from app.db.core.database import Reader
from app.db.core.paging import Page, PageRequest, PageSlice, read_page, slice_statement
from app.db.core.projections import cached_statement
from app.db.core.statements import AnyRow, Statement
from app.db.models import Destination, Post
from app.db.repositories.destination_filters import (
    NEWEST_FIRST,
    POST_NOT_DELETED,
    POST_NOT_IMPORTED,
    DestinationCriteria,
    conditions,
    count_values,
    has_existing_post,
)
from app.db.repositories.destination_pages import PagePart, plan_page
from app.domain.ids import AccountId

_FILTERS_DECIDING_CANCELLATION = {
    name
    for filter_name in ("error_code", "failure_group", "destination_id")
    for name in (filter_name, equality_parameter(filter_name))
} | {"cancelled", "not_cancelled"}
"""With one of these, cancelled destinations are not left out by default."""


async def retry_candidates(
    reader: Reader,
    criteria: DestinationCriteria,
    request: PageRequest,
    now: datetime,
    *,
    excluded_accounts: Sequence[AccountId] = (),
) -> Page:
    """Return a page of matching destinations that were not imported, newest first, with post and account ids.

    Cancelled destinations are left out, unless the filter sets `cancelled`, or names error codes, failure
    groups or destinations.
    A retry does not change this order, so consecutive pages return each destination once.
    """
    plan = await plan_page(reader, criteria, NEWEST_FIRST, now)
    values = {**plan.values, "excluded_accounts": excluded_accounts}

    def build_statement(page_slice: PageSlice) -> Statement:
        return _select_candidates(plan.parts[page_slice.null_group], page_slice)

    return await read_page(
        reader, build_statement, values, NEWEST_FIRST, request, null_groups=plan.parts
    )


@cached_statement()
def _select_candidates(part: PagePart, page_slice: PageSlice) -> Statement:
    times = (Destination.created_at, Destination.updated_at)
    columns = (Destination.id, Destination.post_id, Destination.account_id, *times)
    statement = select(*columns).where(
        has_existing_post(Post.imported_at.is_(None)),
        not_(any_of(unindexed(Destination.account_id), "excluded_accounts")),
        *part.conditions(NEWEST_FIRST),
        *_exclude_cancelled(part.filters),
    )
    return slice_statement(statement, NEWEST_FIRST, page_slice, selects_few=part.is_sorted)


async def count_retry_states(
    reader: Reader, criteria: DestinationCriteria, now: datetime
) -> Sequence[AnyRow]:
    """Count all `retry_candidates`, and imported destinations, by status, outcome and account.

    Each row has the columns `status`, `outcome`, `account_id`, `destinations` and `imported`, which counts
    those of imported posts.
    """
    values = count_values(reader, criteria, now)
    return await reader.rows(_select_states(tuple(values)), **values)


@cached_statement()
def _select_states(filters: tuple[str, ...]) -> Statement:
    """Select the numbers. SQLite would read the destinations of all accounts to group them without a sort."""
    group_columns = (Destination.status, Destination.outcome, Destination.account_id)
    return Statement(
        select(
            *group_columns,
            func.count().label("destinations"),
            func.count().filter(not_(POST_NOT_IMPORTED)).label("imported"),
        )
        .where(POST_NOT_DELETED, *_state_conditions(filters), *_exclude_cancelled(filters))
        .group_by(*map(unindexed, group_columns))
    )


def _state_conditions(filters: Iterable[str]) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters, without indexes for those that match many destinations."""
    return [
        without_indexes(each) if name in _MATCHING_MANY else each
        for name in filters
        for each in conditions([name])
    ]


_MATCHING_MANY = ("updated_before", "platform", equality_parameter("platform"))
"""Filters that usually match more destinations than the filter by status."""


def _exclude_cancelled(filters: Iterable[str]) -> list[ColumnElement[bool]]:
    is_decided = not _FILTERS_DECIDING_CANCELLATION.isdisjoint(filters)
    return [] if is_decided else conditions(["not_cancelled"])
