"""Counts over a period: posts by status, destinations by platform. Nothing changes here."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select

from app.db.engine import Reader
from app.db.models import Destination, Post
from app.db.queries import AnyRow
from app.domain.periods import TimeRange


async def posts_by_status(reader: Reader, period: TimeRange) -> Sequence[AnyRow]:
    """(status, count) of the posts created in the period."""
    return await reader.rows(
        select(Post.status, func.count().label("posts"))
        .where(*_created_within(period))
        .group_by(Post.status)
    )


async def destinations_by_platform(reader: Reader, period: TimeRange) -> Sequence[AnyRow]:
    """(platform, status, count) of the destinations of those posts that are no drafts."""
    same_post = and_(Post.workspace_id == Destination.workspace_id, Post.id == Destination.post_id)
    return await reader.rows(
        select(Destination.platform, Destination.status, func.count().label("destinations"))
        .join(Post, same_post)
        .where(*_created_within(period), Post.is_draft.is_(False))
        .group_by(Destination.platform, Destination.status)
    )


async def count_posts_created(reader: Reader, since: datetime | None) -> int:
    """All posts, or those created since then; served by uq_post_kept or ix_post_created_at."""
    statement = select(func.count()).select_from(Post).where(Post.deleted_at.is_(None))
    if since is not None:
        statement = statement.where(Post.created_at >= since)
    return await reader.count(statement)


def _created_within(period: TimeRange) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        Post.deleted_at.is_(None),
        Post.created_at <= period.end,
    ]
    if period.start is not None:
        conditions.append(Post.created_at >= period.start)
    return conditions
