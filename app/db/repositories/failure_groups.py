"""Groups of failures: pages with their numbers and latest failure, and counts per hour and for retries.

Each statement reads ix_destination_failure_group, or ix_destination_failed for a period. Both cover it but
for filters by other columns.
Destinations of deleted posts do not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, not_, select, tuple_

from app.db.core.conditions import AnyColumn, any_of, equality_parameter, without_indexes
from app.db.core.database import Reader
from app.db.core.paging import Page, PageRequest, page_of_rows
from app.db.core.projections import ALL_COLUMNS, cached_statement, labelled_columns
from app.db.core.statements import AnyRow, Statement
from app.db.core.types import ColumnValues
from app.db.models import Destination
from app.db.repositories.board_counts import blocked_account_ids
from app.db.repositories.destination_filters import (
    POST_NOT_DELETED,
    POST_NOT_IMPORTED,
    DestinationCriteria,
    conditions,
    count_values,
)
from app.db.repositories.destinations import DESTINATION_COLUMNS
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.ids import AccountId

SAMPLE_RELATION = "sample"
"""Name of the latest failure in a group's record."""

MAX_ACCOUNTS = 100
"""Number of accounts of a group that `failures_by_account` returns."""

HOURS = 24
"""Number of hours that `hourly_counts` returns."""


class FailureGroupOrderField(StrEnum):
    """Sort keys of groups, each in descending order; each value is the name of a column."""

    COUNT = "failure_count"
    LAST_SEEN = "last_seen"


@dataclass(frozen=True, slots=True)
class AccountFailures:
    """Number of a group's failures on one account."""

    account_id: AccountId
    count: int


@dataclass(frozen=True, slots=True)
class RetryCounts:
    """Numbers of destinations that a manual retry would queue again and refuse."""

    retryable: int
    refused: int


async def failure_groups_page(
    reader: Reader,
    criteria: DestinationCriteria,
    order_field: FailureGroupOrderField,
    request: PageRequest,
    now: datetime,
) -> Page:
    """Return one page of groups, in which only matching destinations count.

    The columns of a group are its key as `id`, numbers, times, and what its failures share. Its latest
    failure is the related row SAMPLE_RELATION.
    """
    values = _values(reader, criteria, now)
    bounds = {
        name: position
        for name, position in (("after", request.after), ("before", request.before))
        if position is not None
    }
    statement = _select_page(tuple(values), order_field, tuple(bounds), from_end=request.from_end)
    for name, position in bounds.items():
        values |= {f"{name}_value": position.value, f"{name}_key": position.key}
    rows = await reader.rows(statement, **values, limit=request.size + 1)
    return page_of_rows(rows, request)


async def failure_groups_by_key(
    reader: Reader, keys: Sequence[str], now: datetime
) -> Sequence[AnyRow]:
    """Return the groups that have failures, in no particular order."""
    criteria, request = DestinationCriteria(failure_group=keys), PageRequest(size=len(keys))
    order_field = FailureGroupOrderField.COUNT
    return (await failure_groups_page(reader, criteria, order_field, request, now)).rows


async def hourly_counts(
    reader: Reader, criteria: DestinationCriteria, keys: Sequence[str], now: datetime
) -> list[list[int]]:
    """Return the matching failures of each key's group per UTC hour, from 23 hours ago to the current one."""
    values = _values(reader, criteria, now)
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    hours = {f"hour_{hour}": end - timedelta(hours=HOURS - hour) for hour in range(HOURS + 1)}
    rows = await reader.rows(_select_per_hour(tuple(values)), **values, **hours, keys=keys)
    counts = {key: [0] * HOURS for key in keys}
    for row in rows:
        counts[row.failure_group][row.hour] = row.failures
    return [counts[key] for key in keys]


async def failures_by_account(
    reader: Reader, criteria: DestinationCriteria, keys: Sequence[str], now: datetime
) -> list[list[AccountFailures]]:
    """Return the MAX_ACCOUNTS accounts with the most matching failures of each key's group, in this order."""
    values = _values(reader, criteria, now)
    rows = await reader.rows(
        _select_by_account(tuple(values)), **values, keys=keys, max_accounts=MAX_ACCOUNTS
    )
    accounts: dict[str, list[AccountFailures]] = {key: [] for key in keys}
    for row in rows:
        accounts[row.failure_group].append(AccountFailures(row.account_id, row.failures))
    return [accounts[key] for key in keys]


async def retry_counts(
    reader: Reader, criteria: DestinationCriteria, keys: Sequence[str], now: datetime
) -> list[RetryCounts]:
    """Return the effect that a manual retry of the matching failures of each key's group would have now."""
    values = _values(reader, criteria, now)
    blocked_ids = await blocked_account_ids(reader, now)
    rows = await reader.rows(
        _select_for_retry(tuple(values)), **values, keys=keys, blocked_ids=blocked_ids
    )
    counts = {
        row.failure_group: RetryCounts(row.retryable, row.failures - row.retryable) for row in rows
    }
    return [counts.get(key, RetryCounts(0, 0)) for key in keys]


_KEY = Destination.failure_group
_IS_KNOWN = Destination.outcome == Outcome.FAILED
_NUMBERS: dict[str, ColumnElement[Any]] = {
    "failure_count": func.count(),
    "unknown_count": func.count().filter(not_(_IS_KNOWN)),
    "post_count": func.count(Destination.post_id.distinct()),
    "account_count": func.count(Destination.account_id.distinct()),
    "first_seen": func.min(Destination.failed_at),
    "last_seen": func.max(Destination.failed_at),
}
_SHARED = (
    Destination.platform,
    Destination.error_category,
    Destination.error_code,
    Destination.error,
)
"""Columns that are equal in a group, but for details of the error."""


def _values(reader: Reader, criteria: DestinationCriteria, now: datetime) -> ColumnValues:
    """Return the values of the filters, without those that all failures match.

    A search checks the post of each failure, as the posts with a frequent word may be many more.
    """
    if DestinationStatus.FAILED in (criteria.status or ()):
        criteria = replace(criteria, status=None)
    values = count_values(reader, criteria, now)
    for name in ("index_query", "outcome_statuses", equality_parameter("outcome_statuses")):
        values.pop(name, None)
    return values


def _matching(filters: Iterable[str]) -> list[ColumnElement[bool]]:
    """Return the conditions of failures that match the filters and whose post is not deleted."""
    return [_KEY.is_not(None), POST_NOT_DELETED, *conditions(filters)]


@cached_statement()
def _select_page(
    filters: tuple[str, ...],
    order_field: FailureGroupOrderField,
    bounds: tuple[str, ...],
    *,
    from_end: bool,
) -> Statement:
    """Select groups between the bounds: those at the start, descending, or those at the end, ascending."""
    value = _NUMBERS[order_field.value]
    is_failure, *others = _matching(filters)
    if "failed_after" in filters:
        # Mostly few of all failures, so the index of all groups does not serve them on SQLite.
        is_failure = without_indexes(is_failure)
    page = (
        select(_KEY.label("id"), *(number.label(name) for name, number in _NUMBERS.items()))
        .where(is_failure, *others)
        .group_by(_KEY)
        .order_by(*_ordered(value, _KEY, from_end=from_end))
        .limit(bindparam("limit"))
    )
    position = tuple_(value, _KEY)
    for name in bounds:
        bound = tuple_(bindparam(f"{name}_value", type_=value.type), bindparam(f"{name}_key"))
        page = page.having(position < bound if name == "after" else position > bound)
    groups = page.subquery("failure_groups")
    latest_id = (
        select(Destination.id)
        .where(groups.c.id == _KEY, POST_NOT_DELETED, *map(without_indexes, conditions(filters)))
        .order_by(Destination.failed_at.desc(), Destination.id.desc())
        .limit(1)
        .correlate(groups)
        .scalar_subquery()
    )
    sample = labelled_columns(SAMPLE_RELATION, DESTINATION_COLUMNS, ALL_COLUMNS)
    return Statement(
        select(*groups.c, *_SHARED, *sample)
        .select_from(groups)
        .join(Destination, Destination.id == latest_id)
        .order_by(*_ordered(groups.c[order_field.value], groups.c.id, from_end=from_end))
    )


def _ordered(*columns: AnyColumn, from_end: bool) -> list[ColumnElement[Any]]:
    return [column.asc() if from_end else column.desc() for column in columns]


@cached_statement()
def _select_per_hour(filters: tuple[str, ...]) -> Statement:
    failed_at = Destination.failed_at
    hour = case(*((failed_at < bindparam(f"hour_{n + 1}"), n) for n in range(HOURS))).label("hour")
    return Statement(
        select(_KEY, hour, func.count().label("failures"))
        .where(
            any_of(_KEY, "keys"),
            failed_at >= bindparam("hour_0"),
            failed_at < bindparam(f"hour_{HOURS}"),
            *_matching(filters),
        )
        .group_by(_KEY, hour)
    )


@cached_statement()
def _select_by_account(filters: tuple[str, ...]) -> Statement:
    account_id = Destination.account_id
    rank = func.row_number().over(
        partition_by=_KEY, order_by=(func.count().desc(), account_id.asc())
    )
    accounts = (
        select(_KEY, account_id, func.count().label("failures"), rank.label("rank"))
        .where(any_of(_KEY, "keys"), *_matching(filters))
        .group_by(_KEY, account_id)
        .subquery()
    )
    return Statement(
        select(accounts.c.failure_group, accounts.c.account_id, accounts.c.failures)
        .where(accounts.c.rank <= bindparam("max_accounts"))
        .order_by(accounts.c.failure_group, accounts.c.rank)
    )


@cached_statement()
def _select_for_retry(filters: tuple[str, ...]) -> Statement:
    can_post = not_(any_of(Destination.account_id, "blocked_ids"))
    retryable = func.count().filter(_IS_KNOWN, can_post, POST_NOT_IMPORTED)
    return Statement(
        select(_KEY, retryable.label("retryable"), func.count().label("failures"))
        .where(any_of(_KEY, "keys"), *_matching(filters))
        .group_by(_KEY)
    )
