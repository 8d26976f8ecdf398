"""Reads of destinations: by id, by post, in filtered pages, and as counts. Writes are in `posts`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, bindparam, false, func, select

from app.db.core.conditions import any_of, sort_key, without_indexes
from app.db.core.database import Reader
from app.db.core.paging import (
    Direction,
    NullGroup,
    Order,
    Page,
    PageRequest,
    PageSlice,
    null_groups_of,
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
from app.db.core.types import ColumnValues
from app.db.models import (
    ACCOUNT_JOIN,
    POST_JOIN,
    Account,
    Destination,
    Post,
)
from app.db.repositories.accounts import ACCOUNT_COLUMNS
from app.db.repositories.destination_filters import (
    NEWEST_FIRST,
    POST_NOT_DELETED,
    DestinationCriteria,
    conditions,
    count_values,
    has_existing_post,
    match_values,
)
from app.db.repositories.destination_pages import MAX_SORTED_BY_INDEX, PagePart, plan_page
from app.db.repositories.posts import POST_COLUMNS
from app.domain.ids import DestinationId, PostId

ACCOUNT_RELATION, POST_RELATION = "account", "post"
"""Names of the related rows in a destination's record."""


class DestinationOrderField(StrEnum):
    """Sort keys of destinations; each value is the name of a column."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    SCHEDULED_FOR = "due_at"
    PUBLISHED_AT = "published_at"
    NEXT_RETRY_AT = "next_retry_at"
    FAILED_AT = "failed_at"
    LATENESS = "lateness_ms"


DESTINATION_COLUMNS = columns_except(
    Destination,
    "position",
    "fence",
    "lease_token",
    "verifiable_at",
    "verification_token",
    "due_day",
    "post_created_at",
    "forced_rounds",
)


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
    values = match_values(reader, criteria, now)
    statement = _select_matching(projection, tuple(values))
    return await reader.first(statement, id=destination_id, **values)


@cached_statement()
def _select_matching(projection: Projection, filters: tuple[str, ...]) -> Statement:
    statement = _exclude_deleted_posts(_select_destinations(projection)).where(
        Destination.id == bindparam("id")
    )
    return Statement(statement.where(*conditions(filters)))


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
    null_groups = null_groups_of(order, request)
    plan = await plan_page(
        reader,
        criteria,
        order,
        now,
        null_groups=null_groups,
        max_sorted_by_index=MAX_SORTED_BY_INDEX,
    )

    def build_statement(page_slice: PageSlice) -> Statement:
        return _select_page(projection, plan.parts[page_slice.null_group], order, page_slice)

    return await read_page(
        reader, build_statement, plan.values, order, request, null_groups=plan.parts
    )


@cached_statement()
def _select_page(
    projection: Projection, part: PagePart, order: Order, page_slice: PageSlice
) -> Statement:
    page_conditions = part.conditions(order)
    if part.is_sorted_by_index:
        ids = select(Destination.id).where(*page_conditions, POST_NOT_DELETED)
        page = slice_statement(ids, order, page_slice, selects_few=True).select
        page_conditions = [Destination.id.in_(page.correlate(None))]
        page_slice = replace(page_slice, has_offset=False)
    else:
        page_conditions = [has_existing_post(), *page_conditions]
    statement = _select_destinations(projection, order.column.key).where(*page_conditions)
    return slice_statement(statement, order, page_slice, selects_few=part.is_sorted)


async def select_matching(
    reader: Reader, statement: AnySelect, criteria: DestinationCriteria, now: datetime
) -> tuple[AnySelect, ColumnValues]:
    """Add the filters to a statement that reads all destinations, newest first; return their values."""
    plan = await plan_page(reader, criteria, NEWEST_FIRST, now)
    if (part := plan.parts.get(NullGroup.ALL)) is None:
        return statement.where(false()), plan.values
    order: list[ColumnElement[Any]] = [Destination.created_at.expression, Destination.id.expression]
    if part.is_sorted:
        order = [sort_key(column) for column in order]
    ordered = statement.order_by(*(column.desc() for column in order))
    return ordered.where(*part.conditions(NEWEST_FIRST)), plan.values


async def count_destinations(
    reader: Reader, criteria: DestinationCriteria, now: datetime, limit: int | None = None
) -> int:
    """Count matching destinations whose post is not deleted, up to `limit` if there is one."""
    values = count_values(reader, criteria, now)
    if limit is not None:
        return await reader.count(_select_limited_count(tuple(values)), **values, limit=limit)
    return await reader.count(_select_count(tuple(values)), **values)


@cached_statement()
def _select_count(filters: tuple[str, ...]) -> Statement:
    """Count all, and subtract those of deleted posts, which are few. Joining every post takes far longer.

    Served by the indexes of the filters, and by ix_post_deleted with the unique key of post and account.
    """
    filter_conditions = conditions(filters)
    count = select(func.count()).select_from(Destination).where(*filter_conditions)
    # Not a join, for which SQLite without statistics may read all destinations first. And no count(*), for
    # which it may read all of the workspace for each post, because an index covers it: none has `position`.
    count_of_post = (
        select(func.count(Destination.position))
        .where(POST_JOIN, *(without_indexes(each) for each in filter_conditions))
        .correlate(Post)
        .scalar_subquery()
    )
    count_of_deleted_posts = select(func.coalesce(func.sum(count_of_post), 0)).where(
        Post.deleted_at.is_not(None)
    )
    return Statement(select(count.scalar_subquery() - count_of_deleted_posts.scalar_subquery()))


@cached_statement()
def _select_limited_count(filters: tuple[str, ...]) -> Statement:
    statement = select(Destination.id).where(has_existing_post(), *conditions(filters))
    return Statement(statement.limit(bindparam("limit")), counts_rows=True)


def _select_destinations(projection: Projection, *required_names: str) -> AnySelect:
    """Select destinations with their ids, and the account if the projection includes it."""
    columns = projected_columns(DESTINATION_COLUMNS, projection, "id", *required_names)
    account = projection.relations.get(ACCOUNT_RELATION)
    if account is None:
        return select(*columns)
    account_columns = labelled_columns(ACCOUNT_RELATION, ACCOUNT_COLUMNS, account, "id")
    return select(*columns, *account_columns).select_from(Destination).join(Account, ACCOUNT_JOIN)


def _exclude_deleted_posts(statement: AnySelect) -> AnySelect:
    """Exclude destinations of deleted posts from a read by key. Served by uq_post_kept."""
    return statement.join(Post, POST_JOIN).where(Post.deleted_at.is_(None))
