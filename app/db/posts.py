"""Reading posts: by id, in pages, counted. Deleted posts are never returned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, exists, func, select

from app.db.engine import Reader
from app.db.models import Destination, Post
from app.db.pages import Direction, Order, Page, PageRequest, read_page
from app.db.queries import AnyRow, AnySelect
from app.domain.ids import AccountId, PostId
from app.domain.posts import PostStatus
from app.domain.text import fold_for_search


class PostSort(StrEnum):
    """What posts can be ordered by; each value is the name of the column."""

    CREATED_AT = "created_at"
    SCHEDULED_FOR = "scheduled_for"
    PUBLISHED_AT = "published_at"
    UPDATED_AT = "updated_at"


_COLUMNS = (
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


async def posts_by_id(reader: Reader, ids: Sequence[PostId]) -> Sequence[AnyRow]:
    """The existing ones among the ids, in no particular order. Served by uq_post_kept."""
    return await reader.rows(select(*_COLUMNS).where(Post.id.in_(ids), Post.deleted_at.is_(None)))


async def posts_page(
    reader: Reader,
    post_filter: PostFilter,
    sort_by: PostSort,
    direction: Direction,
    request: PageRequest,
) -> Page:
    """One page in a total order, which an index of the sort's column follows."""
    order = Order(getattr(Post, sort_by.value), Post.id, direction)
    return await read_page(reader, _matching(select(*_COLUMNS), post_filter), order, request)


async def count_posts(reader: Reader, post_filter: PostFilter) -> int:
    return await reader.count(_matching(select(func.count()).select_from(Post), post_filter))


def _matching(statement: AnySelect, post_filter: PostFilter) -> AnySelect:
    return statement.where(Post.deleted_at.is_(None), *_conditions(post_filter))


def _conditions(post_filter: PostFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if post_filter.status is not None:
        conditions.append(Post.status.in_(post_filter.status))
    if post_filter.platform is not None:
        conditions.append(_has_destination(Destination.platform.in_(post_filter.platform)))
    if post_filter.account_id is not None:
        conditions.append(_has_destination(Destination.account_id.in_(post_filter.account_id)))
    if post_filter.reference is not None:
        conditions.append(Post.reference == post_filter.reference)
    if post_filter.search:
        needle = fold_for_search(post_filter.search)
        conditions.append(Post.search_text.contains(needle, autoescape=True))
    for column, after, before in (
        (Post.created_at, post_filter.created_after, post_filter.created_before),
        (Post.scheduled_for, post_filter.scheduled_after, post_filter.scheduled_before),
        (Post.published_at, post_filter.published_after, post_filter.published_before),
        (Post.updated_at, post_filter.updated_after, post_filter.updated_before),
    ):
        if after is not None:
            conditions.append(column >= after)
        if before is not None:
            conditions.append(column < before)
    return conditions


def _has_destination(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Served, post by post, by the unique key of post and account or the index on platform and post."""
    return exists().where(
        and_(
            Destination.workspace_id == Post.workspace_id,
            Destination.post_id == Post.id,
            condition,
        )
    )
