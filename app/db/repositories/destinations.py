"""Reads of destinations: by id, by post, in filtered pages, and as counts. Writes are in `posts`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, not_, select

from app.db.core.conditions import (
    any_of,
    equality_parameter,
    filter_conditions,
    filter_param,
    filter_params,
    time_range_conditions,
    unindexed,
    without_indexes,
)
from app.db.core.database import Reader
from app.db.core.paging import (
    Direction,
    Order,
    Page,
    PageRequest,
    PageSlice,
    read_page,
    slice_statement,
)
from app.db.core.projections import (
    ALL_COLUMNS,
    Projection,
    cached_statement,
    columns_except,
    labelled_columns,
    projected_columns,
)
from app.db.core.statements import AnyRow, AnySelect, Record, Statement, column_values
from app.db.core.types import ColumnValues, UtcDateTime
from app.db.models import (
    ACCOUNT_JOIN,
    POST_JOIN,
    Account,
    Destination,
    Post,
)
from app.db.repositories.accounts import ACCOUNT_COLUMNS
from app.db.repositories.overdue import overdue_condition
from app.db.repositories.posts import POST_COLUMNS
from app.domain.destinations import (
    OUTCOMES_BY_STATUS,
    OVERDUE_AFTER,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId, DestinationId, PostId

ACCOUNT_RELATION, POST_RELATION = "account", "post"
"""Names of the related rows in a destination's record."""


class DestinationOrderField(StrEnum):
    """Sort keys of destinations; each value is the name of a column."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    SCHEDULED_FOR = "due_at"
    PUBLISHED_AT = "published_at"
    NEXT_RETRY_AT = "next_retry_at"


_COLUMNS = columns_except(
    Destination,
    "position",
    "round_attempts",
    "fence",
    "lease_token",
    "settled_at",
    "verifiable_at",
    "verification_token",
    "due_day",
    "lateness_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationCriteria:
    """Filters of destinations: None does not filter, an empty list matches nothing.

    `*_after` is inclusive, `*_before` is exclusive.
    """

    status: Sequence[DestinationStatus] | None = None
    platform: Sequence[str] | None = None
    account_id: Sequence[AccountId] | None = None
    post_id: Sequence[PostId] | None = None
    error_category: Sequence[ErrorCategory] | None = None
    error_code: Sequence[str] | None = None
    outcome: Sequence[Outcome] | None = None
    failed_after: datetime | None = None
    """Time at which the destination was settled as failed or unknown; excludes all others."""
    failed_before: datetime | None = None
    max_attempts: int | None = None
    """Maximum number of started attempts over all rounds."""
    published_after: datetime | None = None
    published_before: datetime | None = None
    next_retry_after: datetime | None = None
    next_retry_before: datetime | None = None
    overdue: bool | None = None


_HAS_FAILED = and_(
    Destination.error_category.is_not(None), Destination.status == DestinationStatus.FAILED
)
"""Served by the index on status, or by ix_destination_account_failed if the filter names accounts."""

_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **filter_conditions(
        status=Destination.status,
        platform=Destination.platform,
        account_id=Destination.account_id,
        post_id=Destination.post_id,
        error_category=Destination.error_category,
        error_code=Destination.error_code,
        # No index has outcomes, so the matching statuses are added to use the index on status.
        outcome=Destination.outcome,
        outcome_statuses=Destination.status,
    ),
    "failed_after": and_(_HAS_FAILED, Destination.settled_at >= bindparam("failed_after")),
    "failed_before": and_(_HAS_FAILED, Destination.settled_at < bindparam("failed_before")),
    "max_attempts": Destination.attempts <= bindparam("max_attempts"),
    **time_range_conditions(
        published=Destination.published_at, next_retry=Destination.next_retry_at
    ),
    "candidate_ids": any_of(Destination.id, "candidate_ids"),
    "overdue": overdue_condition(bindparam("overdue", type_=UtcDateTime())),
    "not_overdue": not_(overdue_condition(bindparam("not_overdue", type_=UtcDateTime()))),
}
"""Condition of each filter, under the name of its parameter."""

_TIME_COLUMNS: Mapping[str, str | None] = {
    "overdue": None,
    "published_after": "published_at",
    "published_before": "published_at",
    "next_retry_after": "next_retry_at",
    "next_retry_before": "next_retry_at",
}
"""Column of each filter by time that an index serves; several columns decide what is overdue."""

MAX_CANDIDATES = 5_000
"""Destinations in a range of times that a page sorts. Of more, some are soon found in page order."""


async def destinations_by_id(
    reader: Reader, ids: Sequence[DestinationId], projection: Projection = ALL_COLUMNS
) -> Sequence[AnyRow]:
    """Return the destinations that exist and whose post is not deleted, in no particular order."""
    return await reader.rows(_select_by_id(projection), ids=ids)


@cached_statement()
def _select_by_id(projection: Projection) -> Statement:
    return Statement(
        _exclude_deleted_posts(_select_destinations(projection)).where(
            any_of(Destination.id, "ids")
        ),
        point_key="ids",
    )


async def find_matching_destination(
    reader: Reader,
    destination_id: DestinationId,
    criteria: DestinationCriteria,
    now: datetime,
    projection: Projection,
) -> AnyRow | None:
    """Return the destination if it matches now and its post is not deleted, else None."""
    values = _filter_values(criteria, now)
    statement = _select_matching(projection, tuple(values))
    return await reader.first(statement, id=destination_id, **values)


@cached_statement()
def _select_matching(projection: Projection, filters: tuple[str, ...]) -> Statement:
    statement = _exclude_deleted_posts(_select_destinations(projection)).where(
        Destination.id == bindparam("id")
    )
    return Statement(statement.where(*_conditions(filters)))


async def destinations_by_post_id(
    reader: Reader, post_ids: Sequence[PostId], projection: Projection = ALL_COLUMNS
) -> Sequence[AnyRow]:
    """Return all destinations of the posts, those of each post by position.

    Served by the unique key of post and account; sorting so few rows is cheaper than another index.
    """
    return await reader.rows(_select_by_post_id(projection), post_ids=post_ids)


@cached_statement()
def _select_by_post_id(projection: Projection) -> Statement:
    return Statement(
        _select_destinations(projection, "post_id")
        .where(any_of(Destination.post_id, "post_ids"))
        .order_by(Destination.post_id, Destination.position, Destination.id),
        point_key="post_ids",
    )


async def destinations_for_posts(
    reader: Reader, posts: Sequence[Record], projection: Projection
) -> list[Sequence[Record]]:
    """Return the destinations of each post, as `destinations_by_post_id`, without decoding the ids."""
    ids = column_values(posts, "id")
    rows = await reader.rows(_select_by_post_id(projection), post_ids=ids)
    by_post: dict[object, list[Record]] = {post_id: [] for post_id in ids}
    for post_id, row in zip(column_values(rows, "post_id"), rows, strict=True):
        by_post[post_id].append(row)
    return [by_post[post_id] for post_id in ids]


@cached_statement()
def select_with_post(projection: Projection, post_projection: Projection) -> Statement:
    """Select all destinations of the post `post_id`, each with the post as related row.

    Selects nothing if the post is deleted.
    """
    post = labelled_columns(POST_RELATION, POST_COLUMNS, post_projection, "id")
    return Statement(
        _exclude_deleted_posts(_select_destinations(projection).add_columns(*post))
        .where(Destination.post_id == bindparam("post_id"))
        .order_by(Destination.position, Destination.id),
        point_key="post_id",
    )


async def destinations_page(
    reader: Reader,
    criteria: DestinationCriteria,
    order_field: DestinationOrderField,
    direction: Direction,
    request: PageRequest,
    now: datetime,
    projection: Projection = ALL_COLUMNS,
) -> Page:
    """Return one page in the order of the index on the sort column; `now` decides what is overdue."""
    order = Order(getattr(Destination, order_field.value), Destination.id, direction)
    values = _filter_values(criteria, now)
    if reader.is_sqlite:
        values |= await _find_candidates(reader, values, order)
    build_statement = partial(_select_page, projection, tuple(values), order)
    return await read_page(reader, build_statement, values, order, request)


@cached_statement()
def _select_page(
    projection: Projection, filters: tuple[str, ...], order: Order, page_slice: PageSlice
) -> Statement:
    by_time = _time_filters(filters, order)
    conditions = [
        without_indexes(_CONDITIONS[name], Destination.__table__)
        if name in by_time
        else _CONDITIONS[name]
        for name in filters
    ]
    statement = _select_destinations(projection, order.column.key).where(
        _post_exists(), *conditions
    )
    return slice_statement(statement, order, page_slice, selects_few="candidate_ids" in filters)


async def _find_candidates(reader: Reader, values: ColumnValues, order: Order) -> ColumnValues:
    """Return the ids of the destinations in ranges of times as `candidate_ids`; nothing if there are many.

    SQLite cannot know their number: it would read all destinations in page order if none is in the range,
    or sort all that are, depending on its statistics.
    """
    filters = _time_filters(tuple(values), order)
    if not filters:
        return {}
    times = {name: values[name] for name in filters}
    rows = await reader.rows(_select_candidate_ids(filters), **times, limit=MAX_CANDIDATES + 1)
    return {} if len(rows) > MAX_CANDIDATES else {"candidate_ids": [row.id for row in rows]}


@cached_statement()
def _select_candidate_ids(filters: tuple[str, ...]) -> Statement:
    return Statement(select(Destination.id).where(*_conditions(filters)).limit(bindparam("limit")))


async def select_matching(
    reader: Reader, statement: AnySelect, criteria: DestinationCriteria, now: datetime
) -> tuple[AnySelect, ColumnValues]:
    """Add the filters to a statement that reads all destinations, newest first; return their parameters.

    SQLite reads in this order, unless few destinations are in the ranges of times: it sorts those.
    """
    values = _filter_values(criteria, now)
    by_time = _time_filters(tuple(values), _NEWEST_FIRST)
    order: list[ColumnElement[Any]] = [Destination.created_at.expression, Destination.id.expression]
    if reader.is_sqlite and await _find_candidates(reader, values, _NEWEST_FIRST):
        by_time, order = (), [unindexed(column) for column in order]
    conditions = [
        without_indexes(_CONDITIONS[name], Destination.__table__)
        if name in by_time
        else _CONDITIONS[name]
        for name in values
    ]
    return statement.where(*conditions).order_by(*(column.desc() for column in order)), values


def _time_filters(filters: tuple[str, ...], order: Order) -> tuple[str, ...]:
    """Return the filters by time, except for one by the sort column, whose index serves both."""
    return tuple(
        name
        for name in filters
        if name in _TIME_COLUMNS and _TIME_COLUMNS[name] != order.column.key
    )


async def retry_candidates(
    reader: Reader, criteria: DestinationCriteria, request: PageRequest, now: datetime
) -> Page:
    """Return a page of matching destinations that were not imported, newest first, with post and account ids.

    Cancelled destinations are included only if the filter names error codes. A retry does not change
    this order, so consecutive pages return each destination once.
    """
    values = _filter_values(criteria, now)
    build_statement = partial(_select_retry_candidates, tuple(values))
    return await read_page(reader, build_statement, values, _NEWEST_FIRST, request)


@cached_statement()
def _select_retry_candidates(filters: tuple[str, ...], page_slice: PageSlice) -> Statement:
    columns = (Destination.id, Destination.post_id, Destination.account_id, Destination.created_at)
    statement = select(*columns).where(
        _post_exists(Post.imported_at.is_(None)), *_conditions(filters)
    )
    if not {"error_code", equality_parameter("error_code")}.intersection(filters):
        statement = statement.where(Destination.error_code.is_distinct_from(CANCELLED))
    return slice_statement(statement, _NEWEST_FIRST, page_slice)


async def count_destinations(
    reader: Reader, criteria: DestinationCriteria, now: datetime, limit: int | None = None
) -> int:
    """Count matching destinations whose post is not deleted, up to `limit` if there is one."""
    values = _filter_values(criteria, now)
    if limit is not None:
        return await reader.count(_select_limited_count(tuple(values)), **values, limit=limit)
    return await reader.count(_select_count(tuple(values)), **values)


@cached_statement()
def _select_count(filters: tuple[str, ...]) -> Statement:
    """Count all, and subtract those of deleted posts, which are few. Joining every post takes far longer.

    Served by the indexes of the filters, and by ix_post_deleted with the unique key of post and account.
    """
    conditions = [*_conditions(filters)]
    count = select(func.count()).select_from(Destination).where(*conditions)
    # Not a join, for which SQLite without statistics may read all destinations first. And no count(*), for
    # which it may read all of the workspace for each post, because an index covers it: none has `position`.
    count_of_post = (
        select(func.count(Destination.position))
        .where(POST_JOIN, *(without_indexes(each, Destination.__table__) for each in conditions))
        .correlate(Post)
        .scalar_subquery()
    )
    count_of_deleted_posts = select(func.coalesce(func.sum(count_of_post), 0)).where(
        Post.deleted_at.is_not(None)
    )
    return Statement(select(count.scalar_subquery() - count_of_deleted_posts.scalar_subquery()))


@cached_statement()
def _select_limited_count(filters: tuple[str, ...]) -> Statement:
    statement = select(Destination.id).where(_post_exists(), *_conditions(filters))
    return Statement(statement.limit(bindparam("limit")), counts_rows=True)


def _select_destinations(projection: Projection, *required_names: str) -> AnySelect:
    """Select destinations with their ids, and the account if the projection includes it."""
    columns = projected_columns(_COLUMNS, projection, "id", *required_names)
    account = projection.relations.get(ACCOUNT_RELATION)
    if account is None:
        return select(*columns)
    account_columns = labelled_columns(ACCOUNT_RELATION, ACCOUNT_COLUMNS, account, "id")
    return select(*columns, *account_columns).select_from(Destination).join(Account, ACCOUNT_JOIN)


def _exclude_deleted_posts(statement: AnySelect) -> AnySelect:
    """Exclude destinations of deleted posts from a read by key. Served by uq_post_kept."""
    return statement.join(Post, POST_JOIN).where(Post.deleted_at.is_(None))


def _post_exists(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that the post is not deleted. Served by the primary key, or uq_post_kept.

    Not a join, for which SQLite may read all posts first, once it has statistics.
    """
    return exists(Post.id).where(POST_JOIN, Post.deleted_at.is_(None), *conditions)


def _statuses_for_outcomes(outcomes: Sequence[Outcome]) -> Sequence[DestinationStatus]:
    """Return the statuses that a destination with one of the outcomes can have."""
    return [
        status
        for status in DestinationStatus
        if not OUTCOMES_BY_STATUS[status].isdisjoint(outcomes)
    ]


def _filter_values(criteria: DestinationCriteria, now: datetime) -> dict[str, object]:
    """Return the parameters of the filters."""
    values = filter_params(criteria)
    values.pop("overdue", None)
    if criteria.outcome is not None:
        name, statuses = filter_param("outcome_statuses", _statuses_for_outcomes(criteria.outcome))
        values[name] = statuses
    if criteria.overdue is not None:
        values["overdue" if criteria.overdue else "not_overdue"] = now - OVERDUE_AFTER
    return values


def _conditions(filters: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    return (_CONDITIONS[name] for name in filters)


_NEWEST_FIRST = Order(Destination.created_at, Destination.id, Direction.DESC)
