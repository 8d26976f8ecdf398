"""Posts by their time in the calendar: the scheduled time, or else the time of creation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, exists, func, select

from app.db.core.aggregates import edge_spans, json_row, parse_json_row
from app.db.core.conditions import filter_conditions, filter_params
from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import Record, Statement
from app.db.models import POST_JOIN, Destination, Post
from app.db.repositories.posts import POST_COLUMNS
from app.domain.ids import AccountId
from app.domain.posts import PostStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarCriteria:
    """Filters of posts: None does not filter, an empty list matches nothing."""

    status: Sequence[PostStatus] | None = None
    platform: Sequence[str] | None = None
    account_id: Sequence[AccountId] | None = None


_calendar_time = func.coalesce(Post.scheduled_for, Post.created_at)
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    **filter_conditions(status=Post.status),
    **{
        name: exists().where(POST_JOIN, condition)
        for name, condition in filter_conditions(
            platform=Destination.platform, account_id=Destination.account_id
        ).items()
    },
}
"""Condition of each filter, under the name of its parameter."""


async def count_posts_by_span(
    reader: Reader, criteria: CalendarCriteria, edges: Sequence[datetime]
) -> list[dict[PostStatus, int]]:
    """Return the number of posts by status for each span between two edges."""
    values = filter_params(criteria)
    rows = await reader.rows(_select_counts(tuple(values)), edges=edges, **values)
    counts: list[dict[PostStatus, int]] = [{} for _ in edges[1:]]
    for row in rows:
        counts[row.number] = dict(zip(PostStatus, parse_json_row(row.counts), strict=True))
    return counts


async def first_posts(
    reader: Reader, criteria: CalendarCriteria, start: datetime, end: datetime, limit: int
) -> Sequence[Record]:
    """Return up to `limit` posts from `start` until before `end`, in the order of the calendar."""
    values = filter_params(criteria)
    statement = _select_first(tuple(values))
    return await reader.rows(statement, start=start, end=end, limit=limit, **values)


@cached_statement()
def _select_counts(filters: tuple[str, ...]) -> Statement:
    """Select a JSON text with the counts of each span. Served by ix_post_calendar."""
    span = edge_spans()
    counts = json_row(*(func.count().filter(Post.status == status) for status in PostStatus))
    matching = select(counts).where(
        Post.deleted_at.is_(None),
        _calendar_time >= span.c.start,
        _calendar_time < span.c.stop,
        *(_CONDITIONS[name] for name in filters),
    )
    return Statement(
        select(span.c.number, matching.scalar_subquery().label("counts")).where(
            span.c.stop.is_not(None)
        )
    )


@cached_statement()
def _select_first(filters: tuple[str, ...]) -> Statement:
    """Select the first posts of a span. Served by ix_post_calendar, in its order."""
    return Statement(
        select(*POST_COLUMNS)
        .where(
            Post.deleted_at.is_(None),
            _calendar_time >= bindparam("start"),
            _calendar_time < bindparam("end"),
            *(_CONDITIONS[name] for name in filters),
        )
        .order_by(_calendar_time, Post.id)
        .limit(bindparam("limit"))
    )
