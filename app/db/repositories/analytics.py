"""Counts over a period: posts by status, destinations by platform and status."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, func, select

from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AnyRow, Statement
from app.db.models import POST_JOIN, Destination, Post
from app.domain.times import TimeRange


async def posts_by_status(reader: Reader, period: TimeRange) -> Sequence[AnyRow]:
    """Return the columns status and posts for the posts created in the period."""
    return await reader.rows(
        _select_posts_by_status(is_start_unbounded=period.start is None), **_period_params(period)
    )


@cached_statement()
def _select_posts_by_status(*, is_start_unbounded: bool) -> Statement:
    return Statement(
        select(Post.status, func.count().label("posts"))
        .where(*_period_conditions(is_start_unbounded=is_start_unbounded))
        .group_by(Post.status)
    )


async def destinations_by_platform(reader: Reader, period: TimeRange) -> Sequence[AnyRow]:
    """Return the columns platform, status and destinations for the same posts, without drafts."""
    return await reader.rows(
        _select_destinations_by_platform(is_start_unbounded=period.start is None),
        **_period_params(period),
    )


@cached_statement()
def _select_destinations_by_platform(*, is_start_unbounded: bool) -> Statement:
    return Statement(
        select(Destination.platform, Destination.status, func.count().label("destinations"))
        .join(Post, POST_JOIN)
        .where(*_period_conditions(is_start_unbounded=is_start_unbounded), Post.is_draft.is_(False))
        .group_by(Destination.platform, Destination.status)
    )


async def count_posts_created(reader: Reader, since: datetime | None) -> int:
    """Count all posts, or those created since a time. Served by uq_post_kept or ix_post_created_at."""
    if since is None:
        return await reader.count(_TOTAL_COUNT)
    return await reader.count(_COUNT_SINCE, since=since)


_POST_COUNT = select(func.count()).select_from(Post).where(Post.deleted_at.is_(None))
_TOTAL_COUNT = Statement(_POST_COUNT)
_COUNT_SINCE = Statement(_POST_COUNT.where(Post.created_at >= bindparam("since")))


def _period_params(period: TimeRange) -> dict[str, object]:
    return {"start": period.start, "end": period.end}


def _period_conditions(*, is_start_unbounded: bool) -> list[ColumnElement[bool]]:
    conditions = [Post.deleted_at.is_(None), Post.created_at <= bindparam("end")]
    if not is_start_unbounded:
        conditions.append(Post.created_at >= bindparam("start"))
    return conditions
