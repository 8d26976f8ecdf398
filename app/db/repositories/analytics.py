"""Counts of posts and destinations over a period, and of all posts."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, select

from app.db.core.database import Reader
from app.db.core.statements import Record, Statement
from app.db.models import POST_JOIN, Destination, Post
from app.domain.times import FIRST_INSTANT, TimeRange


async def count_posts_by_status(reader: Reader, period: TimeRange) -> Sequence[Record]:
    """Return the columns status and posts for the posts created in the period."""
    return await reader.rows(_POSTS_BY_STATUS, start=period.start or FIRST_INSTANT, end=period.end)


async def count_destinations_by_platform(reader: Reader, period: TimeRange) -> Sequence[Record]:
    """Return the columns platform, status and destinations for the same posts, without drafts."""
    return await reader.rows(
        _DESTINATIONS_BY_PLATFORM, start=period.start or FIRST_INSTANT, end=period.end
    )


async def count_posts_created(reader: Reader, since: datetime | None) -> int:
    """Count all posts, or those created since a time. Served by the primary key or ix_post_created_at."""
    if since is None:
        return await reader.count(_TOTAL_COUNT)
    return await reader.count(_COUNT_SINCE, since=since)


_IN_PERIOD = (
    Post.deleted_at.is_(None),
    Post.created_at >= bindparam("start"),
    Post.created_at <= bindparam("end"),
)
_POSTS_BY_STATUS = Statement(
    select(Post.status, func.count().label("posts")).where(*_IN_PERIOD).group_by(Post.status)
)
_DESTINATIONS_BY_PLATFORM = Statement(
    select(Destination.platform, Destination.status, func.count().label("destinations"))
    .join(Post, POST_JOIN)
    .where(*_IN_PERIOD, Post.is_draft.is_(False))
    .group_by(Destination.platform, Destination.status)
)
_POST_COUNT = select(func.count()).select_from(Post)
# Not the number of those that are not deleted: with statistics, SQLite would read all rows for it.
_TOTAL_COUNT = Statement(
    select(
        _POST_COUNT.scalar_subquery()
        - _POST_COUNT.where(Post.deleted_at.is_not(None)).scalar_subquery()
    )
)
_COUNT_SINCE = Statement(
    _POST_COUNT.where(Post.deleted_at.is_(None), Post.created_at >= bindparam("since"))
)
