"""Outcomes of destinations and starts of attempts by span of time, for statistics.

Those of deleted posts, which are few, are read separately, to be subtracted: a check of every post would
take several times as long.
"""

from asyncio import gather
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Text, bindparam, func, literal, null, select

from app.db.core.aggregates import edge_spans, json_list, json_row, parse_json_row
from app.db.core.conditions import AnyColumn, any_of, unindexed
from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import Record, Statement
from app.db.core.types import ColumnValues
from app.db.models import Attempt, Destination, Post
from app.db.repositories.analytics import DELETED_POST_JOIN, iter_platforms, select_next_platform
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.ids import AccountId
from app.domain.outcome_statistics import (
    AttemptKey,
    FailureKind,
    OutcomeGrouping,
    OutcomeGroupKey,
    OutcomeTable,
    OutcomeTally,
    SettledDestinations,
    StartedAttempts,
)
from app.domain.time_buckets import TimeSpan
from app.runtime.computations import compute

PlatformPart: TypeAlias = tuple[str | None, Sequence[Record]]
"""Some rows with the values of spans, and their platform; None if all platforms are read together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeQuery:
    """Destinations or attempts to read, and which of their values."""

    edges: Sequence[datetime]
    """Limits of consecutive spans, in order, of `settled_at` or `started_at`."""
    platforms: Sequence[str] | None
    """None for all, like `account_ids`."""
    account_ids: Sequence[AccountId] | None
    has_platforms: bool
    """True to read each platform separately; otherwise, all are read together."""
    has_lateness: bool
    has_accounts: bool
    has_categories: bool
    """True to read the categories of attempts; those of destinations are always read."""

    def includes(self, row: Record) -> bool:
        return (self.platforms is None or row.platform in self.platforms) and (
            self.account_ids is None or row.account_id in self.account_ids
        )

    @property
    def values(self) -> ColumnValues:
        """Parameters of all statements."""
        accounts = {} if self.account_ids is None else {"account_ids": self.account_ids}
        return {"edges": self.edges, **accounts}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomePeriod:
    """Period whose outcomes to read, from `start` until before `end`, and which of their values."""

    start: datetime
    end: datetime
    has_lateness: bool
    has_attempts: bool


async def fill_outcome_table(
    reader: Reader,
    query: OutcomeQuery,
    table: OutcomeTable,
    *,
    has_attempts: bool,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Count outcomes, and attempts if they are selected, in a table with the spans of the query.

    `check` is called after each part of the rows, and may raise an exception to stop. Deleted posts are read
    first: one that is deleted between the statements makes no number negative.
    """

    async def count_settled() -> None:
        async for settled in read_deleted_outcomes(reader, query):
            table.add(settled, sign=-1)
        async for platform, rows in read_outcomes(reader, query):
            await _count_part(rows, partial(_add_outcomes, table, query, platform))
            check()

    async def count_attempts() -> None:
        if not has_attempts:
            return
        async for started in read_deleted_attempts(reader, query):
            table.add_attempts(started, sign=-1)
        async for platform, rows in read_attempts(reader, query):
            await _count_part(rows, partial(_add_attempts, table, platform))
            check()

    await gather(count_settled(), count_attempts())


async def outcomes_by_account_id(
    reader: Reader, ids: Sequence[AccountId], period: OutcomePeriod
) -> list[OutcomeTally]:
    """Return the outcomes of each account, also of one without any."""
    query = OutcomeQuery(
        edges=[period.start, period.end],
        platforms=None,
        account_ids=ids,
        has_platforms=False,
        has_lateness=period.has_lateness,
        has_accounts=True,
        has_categories=False,
    )
    span = TimeSpan(period.start, period.end, bucket=0, hour_of_week=None)
    table = OutcomeTable([span], [OutcomeGrouping.ACCOUNT], categories=None)
    await fill_outcome_table(reader, query, table, has_attempts=period.has_attempts)
    tallies = table.groups_in(span.bucket)
    return [tallies.get(OutcomeGroupKey(account_id=each)) or OutcomeTally() for each in ids]


def read_outcomes(reader: Reader, query: OutcomeQuery) -> AsyncIterator[PlatformPart]:
    """Yield the destinations of all spans in parts, also those of deleted posts."""
    statement = _select_outcomes(
        query.has_lateness, query.has_accounts, query.account_ids is not None
    )
    return _iter_parts(reader, query, statement, _NEXT_SETTLED_PLATFORM)


def _add_outcomes(
    table: OutcomeTable, query: OutcomeQuery, platform: str | None, rows: Sequence[Record]
) -> None:
    """Count the destinations of some spans, also those of deleted posts."""
    for row in rows:
        kinds, failure_accounts, published, retried, unattempted, lateness = parse_json_row(
            row.json_values
        )
        failures = Counter(zip(kinds or (), failure_accounts or repeat(None), strict=False))
        table.add(
            SettledDestinations(
                span=row.number,
                platform=platform,
                published=_count_by_account(published),
                saved_by_retry=_count_by_account(retried),
                without_attempt=_count_by_account(unattempted),
                lateness_ms=lateness or (),
                accounts=published if query.has_accounts and published else (),
                failures={
                    (_FAILURE_KINDS[text], account): count
                    for (text, account), count in failures.items()
                },
            )
        )


async def read_deleted_outcomes(
    reader: Reader, query: OutcomeQuery
) -> AsyncIterator[SettledDestinations]:
    """Yield each of the same destinations whose post is deleted."""
    start, end = query.edges[0], query.edges[-1]
    for row in await reader.rows(_DELETED_OUTCOMES, start=start, end=end):
        if query.includes(row):
            account, is_published = row.account_id, row.outcome is Outcome.PUBLISHED
            failure = FailureKind(row.outcome, row.error_category)
            yield SettledDestinations(
                span=_span_number(query.edges, row.settled_at),
                platform=row.platform,
                published={account: int(is_published)},
                saved_by_retry={account: int(is_published and row.attempts > 1)},
                without_attempt={account: int(is_published and row.attempts == 0)},
                lateness_ms=[row.lateness_ms] if is_published else (),
                accounts=[account] if is_published else (),
                failures={} if is_published else {(failure, account): 1},
            )


def read_attempts(reader: Reader, query: OutcomeQuery) -> AsyncIterator[PlatformPart]:
    """Yield the counted attempts of all spans in parts, also those of deleted posts."""
    statement = _select_attempts(
        query.has_accounts, query.has_categories, query.account_ids is not None
    )
    return _iter_parts(reader, query, statement, _NEXT_STARTED_PLATFORM)


def _add_attempts(table: OutcomeTable, platform: str | None, rows: Sequence[Record]) -> None:
    """Count the attempts that started in some spans, also those of deleted posts."""
    for row in rows:
        counts = _count_attempts(*parse_json_row(row.json_values))
        table.add_attempts(StartedAttempts(row.number, platform, counts))


async def read_deleted_attempts(
    reader: Reader, query: OutcomeQuery
) -> AsyncIterator[StartedAttempts]:
    """Yield each of the same attempts whose post is deleted."""
    edges = query.edges
    for row in await reader.rows(_DELETED_ATTEMPTS, start=edges[0], end=edges[-1]):
        if query.includes(row):
            number = _span_number(edges, row.started_at)
            yield StartedAttempts(number, row.platform, {(row.account_id, row.category): 1})


def _span_number(edges: Sequence[datetime], instant: datetime) -> int:
    return bisect_right(edges, instant) - 1


def _count_by_account(
    counted: int | Sequence[AccountId] | None,
) -> Mapping[AccountId | None, int]:
    """Return the numbers of a value of `_count`."""
    return {None: counted} if isinstance(counted, int) else Counter(counted or ())


def _count_attempts(
    total: int | Sequence[AccountId] | None,
    categories: Sequence[str] | None,
    failure_accounts: Sequence[AccountId] | None,
) -> Mapping[AttemptKey, int]:
    """Count the attempts of a row; those without a category are what the others leave."""
    totals = _count_by_account(total)
    failures = Counter(zip(failure_accounts or repeat(None), categories or (), strict=False))
    counts: dict[AttemptKey, int] = {(account, None): count for account, count in totals.items()}
    for (account, category), count in failures.items():
        counts[account, ErrorCategory(category)] = count
        counts[account, None] -= count
    return counts


async def _iter_parts(
    reader: Reader, query: OutcomeQuery, statement: Statement, next_platform: Statement
) -> AsyncIterator[PlatformPart]:
    """Yield rows with the values of spans, in parts."""
    found = [each async for each in iter_platforms(reader, next_platform, query.platforms)]
    if query.has_platforms:
        for platform in found:
            for part in _parts(await reader.rows(statement, platforms=[platform], **query.values)):
                yield platform, part
    elif found:
        for part in _parts(await reader.rows(statement, platforms=found, **query.values)):
            yield None, part


def _parts(rows: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Split rows into parts of about _PART_LENGTH characters of JSON."""
    part: list[Record] = []
    length = 0
    for row in rows:
        part.append(row)
        length += len(row.json_values)
        if length >= _PART_LENGTH:
            yield part
            part, length = [], 0
    if part:
        yield part


async def _count_part(rows: Sequence[Record], count: Callable[[Sequence[Record]], None]) -> None:
    """Count rows: those of a small workspace here, others in a thread."""
    if sum(len(row.json_values) for row in rows) < _INLINE_LENGTH:
        count(rows)
    else:
        await compute(count, rows)


_PART_LENGTH = 100_000
"""Characters of JSON that are counted in one piece, in about 10 ms."""

_INLINE_LENGTH = 10_000
"""Characters of JSON that are counted in the event loop, in about 1 ms."""

_FAILURE_KINDS = {
    f"{outcome}:{category}": FailureKind(outcome, category)
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN)
    for category in ErrorCategory
}
"""Kinds of failures by the text that statements return."""

# Only published destinations have a lateness, and its check takes half the time of that of a text.
_IS_PUBLISHED = Destination.lateness_ms.is_not(None)
_IS_FAILURE = Destination.lateness_ms.is_(None)
_KIND = Destination.outcome.concat(literal(":", Text())).concat(Destination.error_category)


_NEXT_SETTLED_PLATFORM = select_next_platform(
    Destination.platform, Destination.settled_at.is_not(None)
)
_NEXT_STARTED_PLATFORM = select_next_platform(Attempt.platform, Attempt.number.is_not(None))


@cached_statement()
def _select_outcomes(has_lateness: bool, has_accounts: bool, by_account: bool) -> Statement:
    """Select numbers and values by span. Served by ix_destination_settled without a read of the table."""
    account = Destination.account_id if has_accounts else None
    outcomes = json_row(
        json_list(_KIND).filter(_IS_FAILURE),
        _list_if(has_accounts, Destination.account_id, _IS_FAILURE),
        _count(account, _IS_PUBLISHED),
        _count(account, Destination.attempts > 1, _IS_PUBLISHED),
        _count(account, Destination.attempts == 0, _IS_PUBLISHED),
        _list_if(has_lateness, Destination.lateness_ms, _IS_PUBLISHED),
    )
    return _select_by_span(outcomes, Destination, Destination.settled_at, by_account)


@cached_statement()
def _select_attempts(has_accounts: bool, has_categories: bool, by_account: bool) -> Statement:
    """Select numbers and values by span. Served by ix_attempt_started alone."""
    is_failure = Attempt.category.is_not(None)
    attempts = json_row(
        _count(Attempt.account_id if has_accounts else None),
        _list_if(has_categories, Attempt.category, is_failure),
        _list_if(has_categories and has_accounts, Attempt.account_id, is_failure),
    )
    is_counted = Attempt.number.is_not(None)
    return _select_by_span(attempts, Attempt, Attempt.started_at, by_account, is_counted)


def _count(account: AnyColumn | None, *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    """Return the number of rows, or a list of their accounts."""
    return (func.count() if account is None else json_list(account)).filter(*conditions)


def _list_if(
    is_selected: bool, column: AnyColumn, *conditions: ColumnElement[bool]
) -> ColumnElement[Any]:
    return json_list(column).filter(*conditions) if is_selected else null()


def _select_by_span(
    values: json_row,
    model: type[Destination | Attempt],
    instant: AnyColumn,
    by_account: bool,
    *conditions: ColumnElement[bool],
) -> Statement:
    """Select the values of the rows of each span, on some platforms and perhaps of some accounts."""
    span = edge_spans()
    values_of_span = select(values).where(
        any_of(model.platform, "platforms"),
        instant >= span.c.start,
        instant < span.c.stop,
        *([any_of(model.account_id, "account_ids")] if by_account else ()),
        *conditions,
    )
    return Statement(
        select(span.c.number, values_of_span.scalar_subquery().label("json_values")).where(
            span.c.stop.is_not(None)
        )
    )


_DELETED_OUTCOMES = Statement(
    select(
        Destination.platform,
        Destination.account_id,
        Destination.settled_at,
        Destination.outcome,
        Destination.error_category,
        Destination.attempts,
        Destination.lateness_ms,
    )
    .join(Post, DELETED_POST_JOIN)
    .where(
        Post.deleted_at.is_not(None),
        unindexed(Destination.settled_at) >= bindparam("start"),
        unindexed(Destination.settled_at) < bindparam("end"),
    )
)
_DELETED_ATTEMPTS = Statement(
    select(Attempt.platform, Attempt.account_id, Attempt.started_at, Attempt.category).where(
        Attempt.destination_id.in_(
            select(Destination.id).join(Post, DELETED_POST_JOIN).where(Post.deleted_at.is_not(None))
        ),
        unindexed(Attempt.number).is_not(None),
        unindexed(Attempt.started_at) >= bindparam("start"),
        unindexed(Attempt.started_at) < bindparam("end"),
    )
)
"""Served by ix_post_deleted, and by the indexes of destinations by post and of attempts by destination."""
