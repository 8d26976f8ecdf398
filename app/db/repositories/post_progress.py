"""Numbers of posts by the properties that decide whether a post may be cancelled."""

from sqlalchemy import ColumnElement, func, or_, select

from app.db.core.conditions import without_indexes
from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import Statement
from app.db.core.types import field_names
from app.db.models import Destination, Post
from app.db.repositories.posts import (
    PostCriteria,
    has_destination,
    select_matching_posts,
    total_values,
)
from app.domain.cancellations import PostProgress
from app.domain.destinations import DestinationStatus, Outcome


async def count_post_progress(
    reader: Reader, criteria: PostCriteria
) -> list[tuple[PostProgress, int]]:
    """Count the matching posts that are not deleted, by their progress."""
    values = total_values(reader, criteria)
    rows = await reader.rows(_select_progress(tuple(values)), **values)
    names = field_names(PostProgress)
    return [
        (PostProgress(**{name: bool(getattr(row, name)) for name in names}), row.posts)
        for row in rows
    ]


def _has(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition of at least one such destination. Served by the unique key of post and account."""
    return has_destination(without_indexes(condition, Destination.__table__))


_PROGRESS: dict[str, ColumnElement[bool]] = {
    "is_imported": Post.imported_at.is_not(None),
    "is_draft": Post.is_draft.expression,
    "is_publishing": _has(Destination.status == DestinationStatus.PUBLISHING),
    "is_unknown": _has(Destination.outcome == Outcome.UNKNOWN),
    "was_attempted": _has(
        or_(Destination.status == DestinationStatus.PUBLISHED, Destination.attempts > 0)
    ),
    "is_queued": _has(Destination.status == DestinationStatus.QUEUED),
}


@cached_statement()
def _select_progress(filters: tuple[str, ...]) -> Statement:
    columns = (condition.label(name) for name, condition in _PROGRESS.items())
    progress = select_matching_posts(filters, *columns).subquery("progress")
    return Statement(select(*progress.c, func.count().label("posts")).group_by(*progress.c))
