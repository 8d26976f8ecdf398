"""Counts over a period: posts by status, destinations by platform. Nothing changes here."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, func, select

from app.db.engine import Reader
from app.db.models import SAME_POST, Destination, Post
from app.db.queries import AnyRow, Query
from app.db.shapes import kept
from app.domain.periods import TimeRange


async def posts_by_status(reader: Reader, period: TimeRange) -> Sequence[AnyRow]:
    """(status, count) of the posts created in the period."""
    return await reader.rows(_posts_by_status(is_open=period.start is None), **_bounds(period))


@kept()
def _posts_by_status(*, is_open: bool) -> Query:
    return Query(
        select(Post.status, func.count().label("posts"))
        .where(*_created_within(is_open=is_open))
        .group_by(Post.status)
    )


async def destinations_by_platform(reader: Reader, period: TimeRange) -> Sequence[AnyRow]:
    """(platform, status, count) of the destinations of those posts that are no drafts."""
    return await reader.rows(
        _destinations_by_platform(is_open=period.start is None), **_bounds(period)
    )


@kept()
def _destinations_by_platform(*, is_open: bool) -> Query:
    return Query(
        select(Destination.platform, Destination.status, func.count().label("destinations"))
        .join(Post, SAME_POST)
        .where(*_created_within(is_open=is_open), Post.is_draft.is_(False))
        .group_by(Destination.platform, Destination.status)
    )


async def count_posts_created(reader: Reader, since: datetime | None) -> int:
    """All posts, or those created since then; served by uq_post_kept or ix_post_created_at."""
    if since is None:
        return await reader.count(_ALL)
    return await reader.count(_SINCE, since=since)


_POSTS = select(func.count()).select_from(Post).where(Post.deleted_at.is_(None))
_ALL, _SINCE = Query(_POSTS), Query(_POSTS.where(Post.created_at >= bindparam("since")))


def _bounds(period: TimeRange) -> dict[str, object]:
    return {"start": period.start, "end": period.end}


def _created_within(*, is_open: bool) -> list[ColumnElement[bool]]:
    """Before an end, and after a start unless the period has none."""
    conditions: list[ColumnElement[bool]] = [
        Post.deleted_at.is_(None),
        Post.created_at <= bindparam("end"),
    ]
    if not is_open:
        conditions.append(Post.created_at >= bindparam("start"))
    return conditions
