"""Outcomes of destinations and starts of attempts by span of time, for statistics.

Those of deleted posts, which are few, are read separately, to be subtracted: a check of every post would
take several times as long.
"""

from asyncio import gather
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, func, literal, select

from app.db.core.aggregates import edge_spans, json_list, json_row, parse_json_row
from app.db.core.conditions import any_of, unindexed
from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import Record, Statement
from app.db.core.types import ColumnValues
from app.db.models import Attempt, Destination, Post
from app.db.repositories.analytics import DELETED_POST_JOIN, iter_platforms, select_next_platform
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.ids import AccountId
from app.domain.outcome_statistics import (
    FailureKind,
    OutcomeGrouping,
    OutcomeGroupKey,
    OutcomeTable,
    OutcomeTally,
    SettledDestinations,
    StartedAttempts,
)
from app.domain.time_buckets import TimeSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeQuery:
    """Destinations or attempts to read, and which of their values."""

    edges: Sequence[datetime]
    """Limits of consecutive spans, in order, of `settled_at` or `started_at`."""
    platforms: Sequence[str] | None
    """None for all, like `account_ids`."""
    account_ids: Sequence[AccountId] | None
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
    reader: Reader, query: OutcomeQuery, table: OutcomeTable, *, has_attempts: bool
) -> None:
    """Count outcomes, and attempts if they are selected, in a table with the spans of the query.

    Deleted posts are read first: one that is deleted between the statements makes no number negative.
    """

    async def count_settled() -> None:
        async for settled in read_deleted_outcomes(reader, query):
            table.add(settled, sign=-1)
        async for settled in read_outcomes(reader, query):
            table.add(settled)

    async def count_attempts() -> None:
        if has_attempts:
            async for started in read_deleted_attempts(reader, query):
                table.add_attempts(started, sign=-1)
            async for started in read_attempts(reader, query):
                table.add_attempts(started)

    await gather(count_settled(), count_attempts())


async def outcomes_by_account_id(
    reader: Reader, ids: Sequence[AccountId], period: OutcomePeriod
) -> list[OutcomeTally]:
    """Return the outcomes of each account, also of one without any."""
    query = OutcomeQuery(
        edges=[period.start, period.end],
        platforms=None,
        account_ids=ids,
        has_lateness=period.has_lateness,
        has_accounts=True,
        has_categories=False,
    )
    span = TimeSpan(period.start, period.end, bucket=0, hour_of_week=None)
    table = OutcomeTable([span], [OutcomeGrouping.ACCOUNT], categories=None)
    await fill_outcome_table(reader, query, table, has_attempts=period.has_attempts)
    tallies = table.groups_in(span.bucket)
    return [tallies.get(OutcomeGroupKey(account_id=each)) or OutcomeTally() for each in ids]


async def read_outcomes(reader: Reader, query: OutcomeQuery) -> AsyncIterator[SettledDestinations]:
    """Yield the destinations of each platform and span, also those of deleted posts."""
    statement = _select_outcomes(
        query.has_lateness, query.has_accounts, query.account_ids is not None
    )
    async for platform in iter_platforms(reader, _NEXT_SETTLED_PLATFORM, query.platforms):
        for row in await reader.rows(statement, platform=platform, **query.values):
            settled = _parse_outcomes(query, row.number, platform, row.outcomes)
            if settled.attempts or settled.failures:
                yield settled


async def read_deleted_outcomes(
    reader: Reader, query: OutcomeQuery
) -> AsyncIterator[SettledDestinations]:
    """Yield each of the same destinations whose post is deleted."""
    start, end = query.edges[0], query.edges[-1]
    for row in await reader.rows(_DELETED_OUTCOMES, start=start, end=end):
        if query.includes(row):
            is_published = row.outcome is Outcome.PUBLISHED
            published, failed = ([row.account_id], []) if is_published else ([], [row.account_id])
            yield SettledDestinations(
                span=_span_number(query.edges, row.settled_at),
                platform=row.platform,
                attempts=[row.attempts for _ in published],
                lateness_ms=[row.lateness_ms for _ in published],
                accounts=published,
                failures={
                    (FailureKind(row.outcome, row.error_category), account): 1 for account in failed
                },
            )


async def read_attempts(reader: Reader, query: OutcomeQuery) -> AsyncIterator[StartedAttempts]:
    """Yield the number of counted attempts that started in each span, also those of deleted posts."""
    has_lists = query.has_accounts or query.has_categories
    statement = _select_attempts(
        query.has_accounts, query.has_categories, query.account_ids is not None
    )
    async for platform in iter_platforms(reader, _NEXT_STARTED_PLATFORM, query.platforms):
        for row in await reader.rows(statement, platform=platform, **query.values):
            if has_lists:
                for started in _parse_attempts(query, row.number, platform, row.attempts):
                    yield started
            elif row.attempts:
                yield StartedAttempts(row.number, platform, row.attempts)


async def read_deleted_attempts(
    reader: Reader, query: OutcomeQuery
) -> AsyncIterator[StartedAttempts]:
    """Yield each of the same attempts whose post is deleted."""
    edges = query.edges
    for row in await reader.rows(_DELETED_ATTEMPTS, start=edges[0], end=edges[-1]):
        if query.includes(row):
            number = _span_number(edges, row.started_at)
            yield StartedAttempts(number, row.platform, 1, row.account_id, row.category)


def _span_number(edges: Sequence[datetime], instant: datetime) -> int:
    return bisect_right(edges, instant) - 1


def _parse_outcomes(
    query: OutcomeQuery, number: int, platform: str, outcomes: str
) -> SettledDestinations:
    failures, attempts, *others = (values or () for values in parse_json_row(outcomes))
    lateness = others.pop(0) if query.has_lateness else ()
    accounts, failure_accounts = others or ((), repeat(None))
    return SettledDestinations(
        span=number,
        platform=platform,
        attempts=attempts,
        lateness_ms=lateness,
        accounts=accounts,
        failures={
            (_FAILURE_KINDS[text], account): count
            for (text, account), count in Counter(zip(failures, failure_accounts)).items()  # noqa: B905
        },
    )


def _parse_attempts(
    query: OutcomeQuery, number: int, platform: str, attempts: str
) -> Iterator[StartedAttempts]:
    count, *lists = parse_json_row(attempts)
    if query.has_accounts:
        accounts, categories = (values or () for values in lists)
        pairs = Counter(zip(accounts, categories, strict=True))
    else:
        pairs = Counter((None, category) for category in lists[0] or ())
        pairs[None, None] = count - pairs.total()
    for (account, category), number_of_pair in pairs.items():
        yield StartedAttempts(
            number, platform, number_of_pair, account, category and ErrorCategory(category)
        )


_FAILURE_KINDS = {
    f"{outcome}:{category}": FailureKind(outcome, category)
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN)
    for category in ErrorCategory
}
"""Kinds of failures by the text that statements return."""

_IS_PUBLISHED = Destination.outcome == Outcome.PUBLISHED
_IS_FAILURE = Destination.outcome != Outcome.PUBLISHED
_KIND = Destination.outcome.concat(literal(":", Text())).concat(Destination.error_category)


_NEXT_SETTLED_PLATFORM = select_next_platform(
    Destination.platform, Destination.settled_at.is_not(None)
)
_NEXT_STARTED_PLATFORM = select_next_platform(Attempt.platform, Attempt.number.is_not(None))


@cached_statement()
def _select_outcomes(has_lateness: bool, has_accounts: bool, by_account: bool) -> Statement:
    """Select a JSON text for each span. Served by ix_destination_settled without a read of the table."""
    span = edge_spans()
    lists = [json_list(_KIND).filter(_IS_FAILURE), json_list(Destination.attempts)]
    if has_lateness:
        lists.append(json_list(Destination.lateness_ms))
    if has_accounts:
        lists.append(json_list(Destination.account_id))
    published = [values.filter(_IS_PUBLISHED) for values in lists[1:]]
    if has_accounts:
        published.append(json_list(Destination.account_id).filter(_IS_FAILURE))
    conditions = [
        Destination.platform == bindparam("platform"),
        Destination.settled_at >= span.c.start,
        Destination.settled_at < span.c.stop,
    ]
    if by_account:
        conditions.append(any_of(Destination.account_id, "account_ids"))
    outcomes = select(json_row(lists[0], *published)).where(*conditions).scalar_subquery()
    return Statement(
        select(span.c.number, outcomes.label("outcomes")).where(span.c.stop.is_not(None))
    )


@cached_statement()
def _select_attempts(has_accounts: bool, has_categories: bool, by_account: bool) -> Statement:
    """Select a number, or a JSON text, for each span. Served by ix_attempt_started alone."""
    span = edge_spans()
    selected: ColumnElement[Any] = func.count()
    if has_accounts:
        lists = json_list(Attempt.account_id), json_list(Attempt.category)
        selected = json_row(func.count(), *lists)
    elif has_categories:
        categories = json_list(Attempt.category).filter(Attempt.category.is_not(None))
        selected = json_row(func.count(), categories)
    conditions = [
        Attempt.platform == bindparam("platform"),
        Attempt.number.is_not(None),
        Attempt.started_at >= span.c.start,
        Attempt.started_at < span.c.stop,
    ]
    if by_account:
        conditions.append(any_of(Attempt.account_id, "account_ids"))
    attempts = select(selected).where(*conditions).scalar_subquery()
    return Statement(
        select(span.c.number, attempts.label("attempts")).where(span.c.stop.is_not(None))
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
