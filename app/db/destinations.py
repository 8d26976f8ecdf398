"""Reading destinations: by id, by post, in pages across posts, counted. Nothing changes here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, and_, bindparam, func, literal, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.accounts import ACCOUNT_COLUMNS
from app.db.engine import Reader
from app.db.models import SAME_ACCOUNT, SAME_POST, Account, Destination, Post, Workspace
from app.db.pages import Direction, Order, Page, PageRequest, Part, page_part, read_page
from app.db.posts import POST_COLUMNS
from app.db.queries import (
    AnyRow,
    AnySelect,
    Query,
    Record,
    any_of,
    column_of,
    compared,
    comparisons,
    given_values,
    of_one,
)
from app.db.shapes import WHOLE, Shape, as_part, kept, selected
from app.db.types import Instant
from app.domain.destinations import (
    OUTCOMES,
    OVERDUE_AFTER,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId, DestinationId, PostId

ACCOUNT, POST = "account", "post"
"""The parts of a destination's row that are its account and its post."""


class DestinationSort(StrEnum):
    """What destinations can be ordered by; each value is the name of the column."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    SCHEDULED_FOR = "due_at"
    PUBLISHED_AT = "published_at"
    NEXT_RETRY_AT = "next_retry_at"


_COLUMNS = (
    Destination.id,
    Destination.post_id,
    Destination.account_id,
    Destination.platform,
    Destination.status,
    Destination.outcome,
    Destination.due_at,
    Destination.claimable_at,
    Destination.round_started_at,
    Destination.attempts,
    Destination.next_retry_at,
    Destination.lease_expires_at,
    Destination.started_at,
    Destination.published_at,
    Destination.platform_post_id,
    Destination.platform_post_url,
    Destination.error,
    Destination.error_category,
    Destination.error_code,
    Destination.created_at,
    Destination.updated_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationFilter:
    """None filters nothing; an empty list matches nothing. After is inclusive, before exclusive."""

    status: Sequence[DestinationStatus] | None = None
    platform: Sequence[str] | None = None
    account_id: Sequence[AccountId] | None = None
    post_id: Sequence[PostId] | None = None
    error_category: Sequence[ErrorCategory] | None = None
    error_code: Sequence[str] | None = None
    outcome: Sequence[Outcome] | None = None
    failed_after: datetime | None = None
    """When it became known that it failed, or that nobody knows; no others have failed."""
    failed_before: datetime | None = None
    max_attempts: int | None = None
    """Starts over all rounds."""
    published_after: datetime | None = None
    published_before: datetime | None = None
    next_retry_after: datetime | None = None
    next_retry_before: datetime | None = None
    overdue: bool | None = None


async def destinations_by_id(
    reader: Reader, ids: Sequence[DestinationId], shape: Shape = WHOLE
) -> Sequence[AnyRow]:
    """The existing ones among the ids whose post is not deleted, in no particular order."""
    return await reader.rows(_by_id(shape), ids=ids)


@kept()
def _by_id(shape: Shape) -> Query:
    return Query(_of_kept_posts(_selected(shape)).where(any_of(Destination.id, "ids")))


async def destination_matching(
    reader: Reader, key: DestinationId, wanted: DestinationFilter, now: datetime
) -> AnyRow | None:
    """The destination if it is as wanted now; one of a deleted post never is."""
    values = _values(wanted, now)
    return await reader.first(_matching(tuple(values)), id=key, **values)


@kept()
def _matching(filters: tuple[str, ...]) -> Query:
    statement = _of_kept_posts(_selected(WHOLE)).where(Destination.id == bindparam("id"))
    return Query(statement.where(*_conditions(filters)))


async def destinations_by_post_id(
    reader: Reader, post_ids: Sequence[PostId], shape: Shape = WHOLE
) -> Sequence[AnyRow]:
    """All destinations of the posts, each post's in the order of its request.

    Served by the unique key of post and account: so few are put in order faster than an index is kept.
    """
    return await reader.rows(_by_post_id(shape), post_ids=post_ids)


@kept()
def _by_post_id(shape: Shape) -> Query:
    return Query(
        _selected(shape, "post_id")
        .where(any_of(Destination.post_id, "post_ids"))
        .order_by(Destination.post_id, Destination.position, Destination.id)
    )


async def destinations_of_posts(
    reader: Reader, posts: Sequence[Record], shape: Shape
) -> list[Sequence[Record]]:
    """Of each of the posts its own, as `destinations_by_post_id`; their ids are never decoded."""
    ids = column_of(posts, "id")
    rows = await reader.records(_by_post_id(shape), post_ids=ids)
    found: dict[object, list[Record]] = {each: [] for each in ids}
    for post_id, row in zip(column_of(rows, "post_id"), rows, strict=True):
        found[post_id].append(row)
    return [found[each] for each in ids]


async def destinations_with_post(
    reader: Reader, post_id: PostId, shape: Shape, of_post: Shape
) -> Sequence[Record]:
    """All destinations of one post, and with each of them the post; none of a deleted one."""
    return await reader.records(_with_post(shape, of_post), post_id=post_id)


@kept()
def _with_post(shape: Shape, of_post: Shape) -> Query:
    post = as_part(POST, POST_COLUMNS, of_post, "id")
    return Query(
        _of_kept_posts(_selected(shape).add_columns(*post))
        .where(Destination.post_id == bindparam("post_id"))
        .order_by(Destination.position, Destination.id)
    )


async def destinations_page(
    reader: Reader,
    destination_filter: DestinationFilter,
    sort_by: DestinationSort,
    direction: Direction,
    request: PageRequest,
    now: datetime,
    shape: Shape = WHOLE,
) -> Page:
    """One page in a total order, which an index of the sort's column follows.

    `now` decides what is overdue.
    """
    order = Order(getattr(Destination, sort_by.value), Destination.id, direction)
    values = _values(destination_filter, now)
    query = partial(_page, shape, tuple(values), order)
    return await read_page(reader, query, values, order, request)


@kept()
def _page(shape: Shape, filters: tuple[str, ...], order: Order, part: Part) -> Query:
    statement = _of_kept_posts(_selected(shape, order.column.key)).where(*_conditions(filters))
    return page_part(statement, order, part)


async def retry_candidates(
    reader: Reader, wanted: DestinationFilter, request: PageRequest, now: datetime
) -> Page:
    """Those that match, newest first, with their posts and accounts; none that was imported.

    What somebody cancelled is among them only where the filter names codes. A retry moves nothing in this
    order, so that one page after the other finds each of them once.
    """
    values = _values(wanted, now)
    query = partial(_retry_candidates, tuple(values))
    return await read_page(reader, query, values, _NEWEST_FIRST, request)


@kept()
def _retry_candidates(filters: tuple[str, ...], part: Part) -> Query:
    columns = (Destination.id, Destination.post_id, Destination.account_id, Destination.created_at)
    statement = _of_kept_posts(select(*columns)).where(
        Post.imported_at.is_(None), *_conditions(filters)
    )
    if not {"error_code", of_one("error_code")}.intersection(filters):
        statement = statement.where(Destination.error_code.is_distinct_from(CANCELLED))
    return page_part(statement, _NEWEST_FIRST, part)


async def count_destinations(
    reader: Reader, destination_filter: DestinationFilter, now: datetime
) -> int:
    values = _values(destination_filter, now)
    return await reader.count(_count(tuple(values)), **values)


@kept()
def _count(filters: tuple[str, ...]) -> Query:
    statement = select(func.count()).select_from(Destination)
    return Query(_of_kept_posts(statement).where(*_conditions(filters)))


def _selected(shape: Shape, *always: str) -> AnySelect:
    """Destinations, always with their ids, and what is to come along with them."""
    columns = selected(_COLUMNS, shape, "id", *always)
    account = shape.part(ACCOUNT)
    if account is None:
        return select(*columns)
    along = as_part(ACCOUNT, ACCOUNT_COLUMNS, account, "id")
    return select(*columns, *along).select_from(Destination).join(Account, SAME_ACCOUNT)


def _of_kept_posts(statement: AnySelect) -> AnySelect:
    """Served by uq_post_kept, without a look at the posts themselves."""
    return statement.join(Post, SAME_POST).where(Post.deleted_at.is_(None))


async def count_overdue(connection: AsyncConnection, now: datetime) -> int:
    """Over all workspaces, one look into the indexes of each."""
    of_one = (
        select(func.count())
        .select_from(Destination)
        .where(
            Destination.workspace_id == Workspace.id,
            _is_overdue(literal(now - OVERDUE_AFTER, Instant())),
        )
        .correlate(Workspace)
        .scalar_subquery()
    )
    return int(await connection.scalar(select(func.sum(of_one)).select_from(Workspace)) or 0)


def _statuses_with(outcomes: Sequence[Outcome]) -> Sequence[DestinationStatus]:
    """Where a destination may stand whose outcome is one of these."""
    return [status for status in DestinationStatus if not OUTCOMES[status].isdisjoint(outcomes)]


def _values(wanted: DestinationFilter, now: datetime) -> dict[str, object]:
    """What is compared with."""
    values = given_values(wanted)
    values.pop("overdue", None)
    if wanted.outcome is not None:
        name, statuses = compared("outcome_statuses", _statuses_with(wanted.outcome))
        values[name] = statuses
    if wanted.overdue is not None:
        values["overdue" if wanted.overdue else "not_overdue"] = now - OVERDUE_AFTER
    return values


def _conditions(filters: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    return (_CONDITIONS[name] for name in filters)


def _is_overdue(latest: ColumnElement[datetime]) -> ColumnElement[bool]:
    """domain.destinations.is_overdue in SQL; it is counted by the claimable and leased indexes."""
    return or_(
        and_(
            Destination.claimable_at.is_not(None),
            Destination.claimable_at <= latest,
            Destination.round_started_at.is_not(None),
            Destination.round_started_at <= latest,
        ),
        and_(
            Destination.lease_token.is_not(None),
            Destination.started_at.is_not(None),
            Destination.lease_expires_at <= latest,
        ),
    )


_HAS_FAILED = and_(
    Destination.error_category.is_not(None), Destination.status == DestinationStatus.FAILED
)
"""Served by the index on status, or by ix_destination_account_failed where accounts are given."""

_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **comparisons(
        status=Destination.status,
        platform=Destination.platform,
        account_id=Destination.account_id,
        post_id=Destination.post_id,
        error_category=Destination.error_category,
        error_code=Destination.error_code,
        # Has no index of its own; the statuses that go with the outcomes lead to that of status.
        outcome=Destination.outcome,
        outcome_statuses=Destination.status,
    ),
    "failed_after": and_(_HAS_FAILED, Destination.settled_at >= bindparam("failed_after")),
    "failed_before": and_(_HAS_FAILED, Destination.settled_at < bindparam("failed_before")),
    "max_attempts": Destination.attempts <= bindparam("max_attempts"),
    "published_after": Destination.published_at >= bindparam("published_after"),
    "published_before": Destination.published_at < bindparam("published_before"),
    "next_retry_after": Destination.next_retry_at >= bindparam("next_retry_after"),
    "next_retry_before": Destination.next_retry_at < bindparam("next_retry_before"),
    "overdue": _is_overdue(bindparam("overdue", type_=Instant())),
    "not_overdue": not_(_is_overdue(bindparam("not_overdue", type_=Instant()))),
}
"""Of each filter, by its name, which is also that of its value."""

_NEWEST_FIRST = Order(Destination.created_at, Destination.id, Direction.DESC)
