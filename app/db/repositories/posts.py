"""Posts: pages and counts for readers, and whole posts with their destinations for writers."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, func, select

from app.db.core.conditions import (
    any_of,
    equality_parameter,
    filter_conditions,
    filter_params,
    time_range_conditions,
    unindexed,
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
from app.db.core.statements import AnySelect, Record, Statement, decoded_values
from app.db.core.types import ColumnValues, field_names, values_of
from app.db.core.write_session import WriteSession
from app.db.core.writes import write_rows
from app.db.models import ATTEMPT_JOIN, POST_JOIN, Destination, Post
from app.db.models import Attempt as AttemptRow
from app.db.repositories.analytics import count_posts_created
from app.db.repositories.attempts import ATTEMPT_COLUMNS, OLDEST_FIRST, attempt_from_row
from app.db.repositories.post_search import (
    SEARCH_CONDITIONS,
    join_search_index,
    page_search_values,
    search_values,
)
from app.domain.attempts import Attempt
from app.domain.destinations import Destination as DomainDestination
from app.domain.destinations import DestinationState, DestinationStatus
from app.domain.failure_groups import failure_group
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import Post as DomainPost
from app.domain.posts import PostStatus, post_published_at, search_text


class PostOrderField(StrEnum):
    """Sort keys of posts; each value is the name of a column."""

    CREATED_AT = "created_at"
    SCHEDULED_FOR = "scheduled_for"
    PUBLISHED_AT = "published_at"
    UPDATED_AT = "updated_at"


POST_COLUMNS = columns_except(Post, "is_draft", "submitted_now", "search_text", "deleted_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCriteria:
    """Filters of posts: None does not filter, an empty list matches nothing.

    `*_after` is inclusive, `*_before` is exclusive.
    """

    post_id: Sequence[PostId] | None = None
    status: Sequence[PostStatus] | None = None
    platform: Sequence[str] | None = None
    account_id: Sequence[AccountId] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    scheduled_after: datetime | None = None
    scheduled_before: datetime | None = None
    published_after: datetime | None = None
    published_before: datetime | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    search: str | None = None
    reference: str | None = None


def _has_destination(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return EXISTS for the post. Served by the unique key of post and account, or the index on platform."""
    return exists().where(POST_JOIN, condition)


def _is_post_of(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the same condition for totals, which read the matching destinations once.

    Served by the index on account or platform.
    """
    return Post.id.in_(select(Destination.post_id).where(condition))


_DESTINATION_CONDITIONS = filter_conditions(
    platform=Destination.platform, account_id=Destination.account_id
)
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **filter_conditions(post_id=Post.id, status=Post.status),
    **{name: _has_destination(condition) for name, condition in _DESTINATION_CONDITIONS.items()},
    **time_range_conditions(
        created=Post.created_at,
        scheduled=Post.scheduled_for,
        published=Post.published_at,
        updated=Post.updated_at,
    ),
    "reference": Post.reference == bindparam("reference"),
    **SEARCH_CONDITIONS,
}
"""Condition of each filter, under the name of its parameter."""

UPDATED_BEFORE = unindexed(Post.updated_at) < bindparam("updated_before")
"""Condition of the filter `updated_before` for statements that the index of another column serves.

Most posts meet it, and SQLite would read all of them by its own index.
"""

_FEW_MATCHES = frozenset({"candidate_ids", "post_id", equality_parameter("post_id")})
"""Filters that leave so few posts that sorting them costs least."""

_COUNT_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **_CONDITIONS,
    **{name: _is_post_of(condition) for name, condition in _DESTINATION_CONDITIONS.items()},
}


async def posts_by_id(
    reader: Reader, ids: Sequence[PostId], projection: Projection = ALL_COLUMNS
) -> Sequence[Record]:
    """Return the posts that exist and are not deleted, in no particular order. Served by uq_post_kept."""
    return await reader.rows(_select_by_id(projection), ids=ids)


@cached_statement()
def _select_by_id(projection: Projection) -> Statement:
    return Statement(_select_not_deleted(projection).where(any_of(Post.id, "ids")), point_key="ids")


async def post_exists(reader: Reader, post_id: PostId) -> bool:
    """Return whether the post exists, deleted or not."""
    return await reader.first(_POST_EXISTS, id=post_id) is not None


_POST_EXISTS = Statement(select(Post.id).where(Post.id == bindparam("id")))


async def posts_page(
    reader: Reader,
    criteria: PostCriteria,
    order_field: PostOrderField,
    direction: Direction,
    request: PageRequest,
    projection: Projection = ALL_COLUMNS,
) -> Page:
    """Return one page of posts that are not deleted, in the order of the index on the sort column."""
    order = Order(getattr(Post, order_field.value), Post.id, direction)
    values = _filter_values(criteria)
    if criteria.search:
        values |= await page_search_values(reader, criteria.search)
    build_statement = partial(_select_page, projection, tuple(values), order)
    return await read_page(reader, build_statement, values, order, request)


@cached_statement()
def _select_page(
    projection: Projection, filters: tuple[str, ...], order: Order, page_slice: PageSlice
) -> Statement:
    conditions = {name: _CONDITIONS[name] for name in filters}
    if "updated_before" in filters and order.column.key != "updated_at":
        conditions["updated_before"] = UPDATED_BEFORE
    statement = _select_not_deleted(projection, order.column.key).where(*conditions.values())
    selects_few = not _FEW_MATCHES.isdisjoint(filters)
    return slice_statement(statement, order, page_slice, selects_few=selects_few)


async def count_posts(reader: Reader, criteria: PostCriteria, limit: int | None = None) -> int:
    """Count matching posts that are not deleted, up to `limit` if there is one."""
    values = total_values(reader, criteria)
    if limit is not None:
        return await reader.count(_select_limited_count(tuple(values)), **values, limit=limit)
    if not values:
        return await count_posts_created(reader, since=None)
    return await reader.count(_select_count(tuple(values)), **values)


@cached_statement()
def _select_count(filters: tuple[str, ...]) -> Statement:
    return Statement(select_matching_posts(filters, Post.id.expression), counts_rows=True)


@cached_statement()
def _select_limited_count(filters: tuple[str, ...]) -> Statement:
    return Statement(
        select_matching_posts(filters, Post.id.expression).limit(bindparam("limit")),
        counts_rows=True,
    )


def select_matching_posts(filters: tuple[str, ...], *columns: ColumnElement[Any]) -> AnySelect:
    """Select columns of all matching posts that are not deleted."""
    conditions = (_COUNT_CONDITIONS[name] for name in filters)
    statement = select(*columns).where(Post.deleted_at.is_(None), *conditions)
    return join_search_index(statement) if "index_query" in filters else statement


def _select_not_deleted(projection: Projection, *required_names: str) -> AnySelect:
    return select(*projected_columns(POST_COLUMNS, projection, "id", *required_names)).where(
        Post.deleted_at.is_(None)
    )


def total_values(reader: Reader, criteria: PostCriteria) -> ColumnValues:
    """Return the values of all filters, for statements that read all matches."""
    values = _filter_values(criteria)
    return values | search_values(reader, criteria.search) if criteria.search else values


def _filter_values(criteria: PostCriteria) -> dict[str, object]:
    """Return the parameters of all filters but the search."""
    values = filter_params(criteria)
    values.pop("search", None)
    return values


_STATE_FIELDS = field_names(DestinationState)
_POST_FIELDS = field_names(DomainPost, "destinations")
_DESTINATION_FIELDS = field_names(DomainDestination, "state")


async def load_posts(reader: Reader, ids: Collection[PostId]) -> dict[PostId, DomainPost]:
    """Load existing posts, also deleted ones, with their destinations in order; to change them, lock them."""
    return await _load_posts(reader, _POSTS_BY_ID, ids)


async def load_posts_for_update(
    reader: Reader, ids: Collection[PostId]
) -> dict[PostId, DomainPost]:
    """Lock existing posts, and so their destinations, until the transaction ends, and load them.

    The destinations are read by a second statement: on PostgreSQL, a statement that waited for the lock
    of a post would still see the destinations as they were before the wait.
    """
    return await _load_posts(reader, _POSTS_BY_ID_FOR_UPDATE, ids)


async def load_post_and_attempts_for_update(
    reader: Reader, post_id: PostId, destination_id: DestinationId
) -> tuple[DomainPost, list[Attempt]] | None:
    """Lock and load a post, with the attempt log of one of its destinations; None if it does not exist.

    Two statements, for the reason given for `load_posts_for_update`.
    """
    posts = await reader.rows(_POSTS_BY_ID_FOR_UPDATE, ids=[post_id])
    if not posts:
        return None
    rows = await reader.rows(
        _DESTINATIONS_WITH_ATTEMPTS, ids=[post_id], destination_id=destination_id
    )
    destinations = {row.id: row for row in rows}
    attempts = [
        attempt_from_row(row, _ATTEMPT)
        for row in rows
        if decoded_values(row, ["id"], _ATTEMPT)["id"] is not None
    ]
    return _post_from_rows(posts[0], destinations.values()), attempts


_SELECT_POSTS = select(*(getattr(Post, name) for name in _POST_FIELDS)).where(
    any_of(Post.id, "ids")
)
_POSTS_BY_ID = Statement(_SELECT_POSTS)
_POSTS_BY_ID_FOR_UPDATE = Statement(_SELECT_POSTS.order_by(Post.id).with_for_update())
_SELECT_DESTINATIONS = (
    select(
        Destination.post_id,
        *(getattr(Destination, name) for name in (*_DESTINATION_FIELDS, *_STATE_FIELDS)),
    )
    .where(any_of(Destination.post_id, "ids"))
    .order_by(Destination.position)
)
_DESTINATIONS_BY_POST_ID = Statement(_SELECT_DESTINATIONS)
_ATTEMPT = "attempt"
_DESTINATIONS_WITH_ATTEMPTS = Statement(
    _SELECT_DESTINATIONS.add_columns(*labelled_columns(_ATTEMPT, ATTEMPT_COLUMNS, ALL_COLUMNS))
    .outerjoin(AttemptRow, and_(ATTEMPT_JOIN, Destination.id == bindparam("destination_id")))
    .order_by(*OLDEST_FIRST)
)
"""Each destination once, but the one of `destination_id` once for each of its attempts."""


async def _load_posts(
    reader: Reader, statement: Statement, ids: Collection[PostId]
) -> dict[PostId, DomainPost]:
    ids = [*ids]
    posts = await reader.rows(statement, ids=ids)
    destinations = await reader.rows(_DESTINATIONS_BY_POST_ID, ids=ids)
    by_post: dict[UUID, list[Record]] = defaultdict(list)
    for row in destinations:
        by_post[row.post_id].append(row)
    return {post.id: _post_from_rows(post, by_post[post.id]) for post in posts}


def _post_from_rows(post: Record, destinations: Iterable[Record]) -> DomainPost:
    return DomainPost(
        **decoded_values(post, _POST_FIELDS),
        destinations=tuple(
            DomainDestination(
                **decoded_values(row, _DESTINATION_FIELDS),
                state=DestinationState(**decoded_values(row, _STATE_FIELDS)),
            )
            for row in destinations
        ),
    )


async def destination_counts_by_post_id(
    reader: Reader, post_ids: Collection[PostId]
) -> dict[PostId, int]:
    """Return the number of destinations of each post that has some. Served by their unique key."""
    rows = await reader.rows(_DESTINATION_COUNTS, ids=[*post_ids])
    return {PostId(row.post_id): row.destinations for row in rows}


_DESTINATION_COUNTS = Statement(
    select(Destination.post_id, func.count().label("destinations"))
    .where(any_of(Destination.post_id, "ids"))
    .group_by(Destination.post_id)
)


async def post_ids_by_destination_id(
    reader: Reader, ids: Collection[DestinationId]
) -> dict[DestinationId, PostId]:
    """Return the post of each destination that exists."""
    rows = await reader.rows(_POST_IDS_BY_DESTINATION, ids=[*ids])
    return {row.id: row.post_id for row in rows}


_POST_IDS_BY_DESTINATION = Statement(
    select(Destination.id, Destination.post_id).where(any_of(Destination.id, "ids"))
)


async def write_posts(
    session: WriteSession,
    posts: Collection[DomainPost],
    *,
    previous: Mapping[PostId, DomainPost],
) -> None:
    """Write posts with their destinations; `previous` has the stored state of those that exist."""
    stored = {
        destination.id: destination
        for post in previous.values()
        for destination in post.destinations
    }
    removed_ids = {
        destination.id
        for post in posts
        if post.id in previous
        for destination in previous[post.id].destinations
    } - {destination.id for post in posts for destination in post.destinations}
    post_rows = [_post_row(post) for post in posts]
    await write_rows(session, Post, post_rows, stored_ids=previous)
    if removed_ids:
        await session.rows(_DELETE_DESTINATIONS, ids=[*removed_ids])
    destination_rows = [
        _destination_row(post, destination)
        for post in posts
        for destination in post.destinations
        if stored.get(destination.id) != destination
        or previous[post.id].created_at != post.created_at
    ]
    await write_rows(session, Destination, destination_rows, stored_ids=stored)


_DELETE_DESTINATIONS = delete(Destination).where(any_of(Destination.id, "ids"))


def _post_row(post: DomainPost) -> ColumnValues:
    return {
        **values_of(post, _POST_FIELDS),
        "status": post.status,
        "published_at": post_published_at(destination.state for destination in post.destinations),
        "search_text": search_text(post.content, post.platform_content),
    }


def _destination_row(post: DomainPost, destination: DomainDestination) -> ColumnValues:
    return {
        "post_id": post.id,
        **values_of(destination, _DESTINATION_FIELDS),
        **state_columns(destination.platform, destination.state),
        "post_created_at": None if post.created_at == destination.created_at else post.created_at,
    }


def state_columns(platform: str, state: DestinationState) -> ColumnValues:
    """Return the columns of a destination that its state decides."""
    return {
        **values_of(state, _STATE_FIELDS),
        "failed_at": state.settled_at if state.status is DestinationStatus.FAILED else None,
        "failure_group": failure_group(platform, state),
    }
