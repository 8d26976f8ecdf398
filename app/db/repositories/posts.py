"""Reading posts: by id, in pages, counted. Deleted posts are never returned."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, bindparam, exists, func, select

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
from app.db.core.projections import ALL_COLUMNS, Projection, cached_statement, projected_columns
from app.db.core.statements import (
    LIKE_ESCAPE,
    AnyRow,
    AnySelect,
    Statement,
    any_of,
    escape_like,
    filter_conditions,
    filter_params,
)
from app.db.models import POST_JOIN, Destination, Post
from app.domain.ids import AccountId, PostId
from app.domain.posts import PostStatus
from app.domain.validation.text import fold_for_search


class PostSort(StrEnum):
    """What posts can be ordered by; each value is the name of the column."""

    CREATED_AT = "created_at"
    SCHEDULED_FOR = "scheduled_for"
    PUBLISHED_AT = "published_at"
    UPDATED_AT = "updated_at"


POST_COLUMNS = (
    Post.id,
    Post.content,
    Post.status,
    Post.scheduled_for,
    Post.timezone,
    Post.media_ids,
    Post.media,
    Post.platform_content,
    Post.reference,
    Post.published_at,
    Post.version,
    Post.imported_at,
    Post.created_at,
    Post.updated_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostFilter:
    """None filters nothing; an empty list matches nothing. After is inclusive, before exclusive."""

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


async def posts_by_id(
    reader: Reader, ids: Sequence[PostId], projection: Projection = ALL_COLUMNS
) -> Sequence[AnyRow]:
    """The existing ones among the ids, in no particular order. Served by uq_post_kept."""
    return await reader.rows(_select_by_id(projection), ids=ids)


async def post_exists(reader: Reader, post_id: PostId) -> bool:
    """Whether there is such a post, or was before it was deleted."""
    return await reader.first(_POST_EXISTS, id=post_id) is not None


_POST_EXISTS = Statement(select(Post.id).where(Post.id == bindparam("id")))


@cached_statement()
def _select_by_id(projection: Projection) -> Statement:
    return Statement(_select_not_deleted(projection).where(any_of(Post.id, "ids")))


async def posts_page(
    reader: Reader,
    post_filter: PostFilter,
    sort_by: PostSort,
    direction: Direction,
    request: PageRequest,
    projection: Projection = ALL_COLUMNS,
) -> Page:
    """One page in a total order, which an index of the sort's column follows."""
    order = Order(getattr(Post, sort_by.value), Post.id, direction)
    values = _filter_values(post_filter)
    query = partial(_select_page, projection, tuple(values), order)
    return await read_page(reader, query, values, order, request)


@cached_statement()
def _select_page(
    projection: Projection, filters: tuple[str, ...], order: Order, page_slice: PageSlice
) -> Statement:
    statement = _select_not_deleted(projection, order.column.key).where(*_conditions(filters))
    return slice_statement(statement, order, page_slice)


async def count_posts(reader: Reader, post_filter: PostFilter) -> int:
    values = _filter_values(post_filter)
    return await reader.count(_select_count(tuple(values)), **values)


@cached_statement()
def _select_count(filters: tuple[str, ...]) -> Statement:
    statement = select(func.count()).select_from(Post)
    return Statement(statement.where(Post.deleted_at.is_(None), *_conditions(filters)))


def _select_not_deleted(projection: Projection, *required_names: str) -> AnySelect:
    """Posts that are not deleted, always with their ids."""
    return select(*projected_columns(POST_COLUMNS, projection, "id", *required_names)).where(
        Post.deleted_at.is_(None)
    )


def _filter_values(post_filter: PostFilter) -> dict[str, object]:
    """What is compared with; a text that is searched for as the pattern that finds it."""
    values = filter_params(post_filter)
    if post_filter.search:
        values["search"] = f"%{escape_like(fold_for_search(post_filter.search))}%"
    else:
        values.pop("search", None)
    return values


def _conditions(filters: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    return (_CONDITIONS[name] for name in filters)


def _has_destination(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Served, post by post, by the unique key of post and account or the index on platform and post."""
    return exists().where(POST_JOIN, condition)


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **filter_conditions(status=Post.status),
    **{
        name: _has_destination(condition)
        for name, condition in filter_conditions(
            platform=Destination.platform, account_id=Destination.account_id
        ).items()
    },
    "reference": Post.reference == bindparam("reference"),
    "search": Post.search_text.like(bindparam("search"), escape=LIKE_ESCAPE),
    "created_after": Post.created_at >= bindparam("created_after"),
    "created_before": Post.created_at < bindparam("created_before"),
    "scheduled_after": Post.scheduled_for >= bindparam("scheduled_after"),
    "scheduled_before": Post.scheduled_for < bindparam("scheduled_before"),
    "published_after": Post.published_at >= bindparam("published_after"),
    "published_before": Post.published_at < bindparam("published_before"),
    "updated_after": Post.updated_at >= bindparam("updated_after"),
    "updated_before": Post.updated_at < bindparam("updated_before"),
}
"""Of each filter, by its name, which is also that of its value."""
