"""Counts of posts and destinations over a period, and of all posts."""

from asyncio import gather
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Label, and_, bindparam, func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import AnyColumn, unindexed
from app.db.core.database import Reader
from app.db.core.statements import Record, Statement
from app.db.core.types import ColumnValues
from app.db.models import Destination, Post
from app.domain.destinations import DestinationStatus
from app.domain.posts import PostStatus
from app.domain.times import FIRST_INSTANT, TimeRange


async def count_posts_by_status(reader: Reader, period: TimeRange) -> Mapping[PostStatus, int]:
    """Return the number of posts created in the period, by status. Served by ix_post_status."""
    (row,) = await reader.rows(_POSTS_BY_STATUS, **_period_values(period))
    return dict(zip(PostStatus, row, strict=True))


async def count_destinations_by_platform(
    reader: Reader, period: TimeRange
) -> Mapping[str, Counter[str]]:
    """Return the numbers total, published and failed of the destinations of the same posts, by platform.

    Those of drafts, which have neither due time nor rounds, do not count. Counts the destinations that were
    created in the period, and corrects by the few that are drafts, were added to a post later, or whose
    post is deleted. Joining every post takes ten times as long.
    """
    values = _period_values(period)
    totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    # Corrections first: a destination that is added between two statements makes no number negative.
    for sign, statement in _CORRECTIONS:
        for row in await reader.rows(statement, **values):
            _add(totals[row.platform], row, sign=sign)
    platforms = [platform async for platform in iter_platforms(reader, _NEXT_PLATFORM)]
    counts = await gather(*(_read_platform(reader, name, values) for name in platforms))
    for platform, uncorrected in zip(platforms, counts, strict=True):
        totals[platform].update(uncorrected)
    return {platform: counts for platform, counts in totals.items() if counts["total"]}


async def _read_platform(reader: Reader, platform: str, values: ColumnValues) -> Counter[str]:
    """Count the destinations on one platform that were created in the period, without drafts."""
    counts: Counter[str] = Counter()
    (row,) = await reader.rows(_OF_PLATFORM, platform=platform, **values)
    _add(counts, row, sign=1)
    counts["total"] -= await reader.count(_DRAFTS_OF_PLATFORM, platform=platform, **values)
    return counts


def _add(counts: Counter[str], row: Record, *, sign: int) -> None:
    counts.update(total=sign * row.total, published=sign * row.published, failed=sign * row.failed)


def _period_values(period: TimeRange) -> ColumnValues:
    return {"start": period.start or FIRST_INSTANT, "end": period.end}


async def count_posts_created(reader: Reader, since: datetime | None) -> int:
    """Count all posts, or those created since a time. Served by the primary key or ix_post_created_at."""
    if since is None:
        return await reader.count(_TOTAL_COUNT)
    return await reader.count(_COUNT_SINCE, since=since)


def select_next_platform(
    platform: InstrumentedAttribute[str] | InstrumentedAttribute[str | None],
    *conditions: ColumnElement[bool],
) -> Statement:
    """Select the next platform by name, or NULL, of the rows that meet conditions of an index."""
    return Statement(
        select(func.min(platform).label("platform")).where(
            platform > bindparam("platform"), *conditions
        )
    )


async def iter_platforms(
    reader: Reader, next_platform: Statement, platforms: Sequence[str] | None = None
) -> AsyncIterator[str]:
    """Yield the platforms of the rows by name, or those of them that are in `platforms`.

    One statement per platform: on SQLite, DISTINCT would read all rows.
    """
    found = [""]
    while row := await reader.first(next_platform, platform=found[-1]):
        if row.platform in (None, *found):  # a broken database may return one again
            return
        found.append(row.platform)
        if platforms is None or row.platform in platforms:
            yield row.platform


DELETED_POST_JOIN = and_(
    Post.workspace_id == Destination.workspace_id, unindexed(Post.id) == Destination.post_id
)
"""Join of destinations with few posts. It leaves SQLite only one order: the posts first."""


def _in_period(instant: AnyColumn) -> tuple[ColumnElement[bool], ...]:
    return instant >= bindparam("start"), instant <= bindparam("end")


def _count_posts_with(status: PostStatus) -> Label[int]:
    conditions = (Post.deleted_at.is_(None), Post.status == status, *_in_period(Post.created_at))
    count = select(func.count()).select_from(Post).where(*conditions)
    return count.scalar_subquery().label(status.value)


_POSTS_BY_STATUS = Statement(select(*map(_count_posts_with, PostStatus)))
_NEXT_PLATFORM = select_next_platform(Destination.platform)
_SELECT_COUNTS = select(
    func.count().label("total"),
    func.count().filter(Destination.status == DestinationStatus.PUBLISHED).label("published"),
    func.count().filter(Destination.status == DestinationStatus.FAILED).label("failed"),
).select_from(Destination)
_OF_PLATFORM = Statement(
    _SELECT_COUNTS.where(
        Destination.platform == bindparam("platform"), *_in_period(Destination.created_at)
    )
)
"""Served by ix_destination_platform without a read of the table."""
_DRAFTS_OF_PLATFORM = Statement(
    select(func.count())
    .select_from(Destination)
    .where(
        Destination.round_started_at.is_(None),
        Destination.platform == bindparam("platform"),
        *_in_period(Destination.created_at),
    )
)
"""Served by ix_destination_draft without a read of the table."""
# With the columns as they are, SQLite would read all destinations by platform.
_BY_PLATFORM = _SELECT_COUNTS.add_columns(Destination.platform).group_by(
    unindexed(Destination.platform)
)
_ADDED_LATER = _BY_PLATFORM.where(
    Destination.post_created_at.is_not(None), unindexed(Destination.due_at).is_not(None)
)
_CORRECTIONS = (
    (1, Statement(_ADDED_LATER.where(*_in_period(Destination.post_created_at)))),
    (-1, Statement(_ADDED_LATER.where(*_in_period(unindexed(Destination.created_at))))),
    (
        -1,
        Statement(
            _BY_PLATFORM.join(Post, DELETED_POST_JOIN).where(
                Post.deleted_at.is_not(None),
                unindexed(Destination.due_at).is_not(None),
                *_in_period(unindexed(Post.created_at)),
            )
        ),
    ),
)
"""Sign and statement: destinations that were added later, and those of deleted posts.

Served by ix_destination_post_created and ix_post_deleted.
"""
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
