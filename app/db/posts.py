"""Reading posts: by id, in pages, counted. Deleted posts are never returned."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, bindparam, exists, func, select

from app.db.engine import Reader
from app.db.models import SAME_POST, Destination, Post
from app.db.pages import Direction, Order, Page, PageRequest, Part, page_part, read_page
from app.db.queries import (
    ESCAPE,
    AnyRow,
    AnySelect,
    Query,
    any_of,
    comparisons,
    escaped,
    given_values,
)
from app.db.shapes import WHOLE, Shape, kept, selected
from app.domain.ids import AccountId, PostId
from app.domain.posts import PostStatus
from app.domain.text import fold_for_search


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
    reader: Reader, ids: Sequence[PostId], shape: Shape = WHOLE
) -> Sequence[AnyRow]:
    """The existing ones among the ids, in no particular order. Served by uq_post_kept."""
    return await reader.rows(_by_id(shape), ids=ids)


async def post_exists(reader: Reader, post_id: PostId) -> bool:
    """Whether there is such a post, or was before it was deleted."""
    return await reader.first(_EXISTS, id=post_id) is not None


_EXISTS = Query(select(Post.id).where(Post.id == bindparam("id")))


@kept()
def _by_id(shape: Shape) -> Query:
    return Query(_kept(shape).where(any_of(Post.id, "ids")))


async def posts_page(
    reader: Reader,
    post_filter: PostFilter,
    sort_by: PostSort,
    direction: Direction,
    request: PageRequest,
    shape: Shape = WHOLE,
) -> Page:
    """One page in a total order, which an index of the sort's column follows."""
    order = Order(getattr(Post, sort_by.value), Post.id, direction)
    values = _values(post_filter)
    query = partial(_page, shape, tuple(values), order)
    return await read_page(reader, query, values, order, request)


@kept()
def _page(shape: Shape, filters: tuple[str, ...], order: Order, part: Part) -> Query:
    statement = _kept(shape, order.column.key).where(*_conditions(filters))
    return page_part(statement, order, part)


async def count_posts(reader: Reader, post_filter: PostFilter) -> int:
    values = _values(post_filter)
    return await reader.count(_count(tuple(values)), **values)


@kept()
def _count(filters: tuple[str, ...]) -> Query:
    statement = select(func.count()).select_from(Post)
    return Query(statement.where(Post.deleted_at.is_(None), *_conditions(filters)))


def _kept(shape: Shape, *always: str) -> AnySelect:
    """Posts that are not deleted, always with their ids."""
    return select(*selected(POST_COLUMNS, shape, "id", *always)).where(Post.deleted_at.is_(None))


def _values(post_filter: PostFilter) -> dict[str, object]:
    """What is compared with; a text that is searched for as the pattern that finds it."""
    values = given_values(post_filter)
    if post_filter.search:
        values["search"] = f"%{escaped(fold_for_search(post_filter.search))}%"
    else:
        values.pop("search", None)
    return values


def _conditions(filters: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    return (_CONDITIONS[name] for name in filters)


def _has_destination(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Served, post by post, by the unique key of post and account or the index on platform and post."""
    return exists().where(SAME_POST, condition)


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **comparisons(status=Post.status),
    **{
        name: _has_destination(condition)
        for name, condition in comparisons(
            platform=Destination.platform, account_id=Destination.account_id
        ).items()
    },
    "reference": Post.reference == bindparam("reference"),
    "search": Post.search_text.like(bindparam("search"), escape=ESCAPE),
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
