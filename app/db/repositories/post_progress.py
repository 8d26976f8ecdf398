"""Numbers of posts by the properties that decide whether a post may be cancelled."""

from sqlalchemy import ColumnElement, case, func, literal, or_, select

from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import Record, Statement
from app.db.models import POST_JOIN, Destination, Post
from app.db.repositories.posts import (
    UPDATED_BEFORE,
    PostCriteria,
    select_matching_posts,
    total_values,
)
from app.domain.cancellations import PostProgress
from app.domain.destinations import DestinationStatus, Outcome
from app.domain.posts import PostStatus


async def count_post_progress(
    reader: Reader, criteria: PostCriteria
) -> list[tuple[PostProgress, int]]:
    """Count the matching posts that are not deleted, by their progress."""
    values = total_values(reader, criteria)
    rows = await reader.rows(_select_progress(tuple(values)), **values)
    return [(_to_progress(row), row.posts) for row in rows]


def _to_progress(row: Record) -> PostProgress:
    return PostProgress(
        is_imported=bool(row.is_imported),
        is_draft=bool(row.is_draft),
        **{name: bool(row.destination_flags & flag) for name, flag in _FLAGS.items()},
    )


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "is_publishing": Destination.status == DestinationStatus.PUBLISHING,
    "is_unknown": Destination.outcome == Outcome.UNKNOWN,
    "was_attempted": or_(
        Destination.status == DestinationStatus.PUBLISHED, Destination.attempts > 0
    ),
    "is_queued": Destination.status == DestinationStatus.QUEUED,
}
"""Properties of a post by the condition of at least one of its destinations."""

_FLAGS = {name: 1 << index for index, name in enumerate(_CONDITIONS)}
"""Bit of each of these properties, as one subquery returns one number."""


@cached_statement()
def _select_progress(filters: tuple[str, ...]) -> Statement:
    """Select the numbers. The destinations are served by the unique key of post and account."""
    indexed = tuple(name for name in filters if name != "updated_before")
    flags = (
        func.max(case((condition, _FLAGS[name]), else_=0))
        for name, condition in _CONDITIONS.items()
    )
    destination_flags = select(func.coalesce(sum(flags, start=literal(0)), 0)).where(POST_JOIN)
    progress = select_matching_posts(
        indexed,
        Post.imported_at.is_not(None).label("is_imported"),
        Post.is_draft.expression,
        case(
            # All of its destinations are queued and none was attempted, so they need not be read.
            (Post.status == PostStatus.SCHEDULED, _FLAGS["is_queued"]),
            else_=destination_flags.scalar_subquery(),
        ).label("destination_flags"),
    )
    if "updated_before" in filters:
        progress = progress.where(UPDATED_BEFORE)
    columns = progress.subquery("progress").c
    return Statement(select(*columns, func.count().label("posts")).group_by(*columns))
