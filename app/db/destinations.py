"""Reading destinations: by id, by post, in pages across posts, counted. Nothing changes here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Reader
from app.db.models import Destination, Post, Workspace
from app.db.pages import Direction, Order, Page, PageRequest, read_page
from app.db.queries import AnyRow, AnySelect
from app.domain.destinations import (
    OUTCOMES,
    OVERDUE_AFTER,
    DestinationStatus,
    ErrorCategory,
    Outcome,
)
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId, DestinationId, PostId


class DestinationSort(StrEnum):
    """What destinations can be ordered by; each value is the name of the column."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    SCHEDULED_FOR = "due_at"
    PUBLISHED_AT = "published_at"
    NEXT_RETRY_AT = "next_retry_at"


_COLUMNS = (
    Destination.id,
    Destination.post_id,
    Destination.account_id,
    Destination.platform,
    Destination.status,
    Destination.outcome,
    Destination.due_at,
    Destination.claimable_at,
    Destination.round_started_at,
    Destination.attempts,
    Destination.next_retry_at,
    Destination.lease_expires_at,
    Destination.started_at,
    Destination.published_at,
    Destination.platform_post_id,
    Destination.platform_post_url,
    Destination.error,
    Destination.error_category,
    Destination.error_code,
    Destination.created_at,
    Destination.updated_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationFilter:
    """None filters nothing; an empty list matches nothing. After is inclusive, before exclusive."""

    status: Sequence[DestinationStatus] | None = None
    platform: Sequence[str] | None = None
    account_id: Sequence[AccountId] | None = None
    post_id: Sequence[PostId] | None = None
    error_category: Sequence[ErrorCategory] | None = None
    error_code: Sequence[str] | None = None
    outcome: Sequence[Outcome] | None = None
    failed_after: datetime | None = None
    """When it became known that it failed, or that nobody knows; no others have failed."""
    failed_before: datetime | None = None
    max_attempts: int | None = None
    """Starts over all rounds."""
    published_after: datetime | None = None
    published_before: datetime | None = None
    next_retry_after: datetime | None = None
    next_retry_before: datetime | None = None
    overdue: bool | None = None


async def destinations_by_id(reader: Reader, ids: Sequence[DestinationId]) -> Sequence[AnyRow]:
    """The existing ones among the ids whose post is not deleted, in no particular order."""
    return await reader.rows(_of_kept_posts(select(*_COLUMNS)).where(Destination.id.in_(ids)))


async def destinations_by_post_id(reader: Reader, post_ids: Sequence[PostId]) -> Sequence[AnyRow]:
    """All destinations of the posts, each post's in the order of its request.

    Served by the unique key of post and account: so few are put in order faster than an index is kept.
    """
    return await reader.rows(
        select(*_COLUMNS)
        .where(Destination.post_id.in_(post_ids))
        .order_by(Destination.post_id, Destination.position, Destination.id)
    )


async def destinations_page(
    reader: Reader,
    destination_filter: DestinationFilter,
    sort_by: DestinationSort,
    direction: Direction,
    request: PageRequest,
    now: datetime,
) -> Page:
    """One page in a total order, which an index of the sort's column follows.

    `now` decides what is overdue.
    """
    order = Order(getattr(Destination, sort_by.value), Destination.id, direction)
    statement = _of_kept_posts(select(*_COLUMNS)).where(*_conditions(destination_filter, now))
    return await read_page(reader, statement, order, request)


async def retry_candidates(
    reader: Reader, wanted: DestinationFilter, request: PageRequest, now: datetime
) -> Page:
    """Those that match, newest first, with their posts and accounts; none that was imported.

    What somebody cancelled is among them only where the filter names codes. A retry moves nothing in this
    order, so that one page after the other finds each of them once.
    """
    columns = (Destination.id, Destination.post_id, Destination.account_id, Destination.created_at)
    order = Order(Destination.created_at, Destination.id, Direction.DESC)
    statement = _of_kept_posts(select(*columns)).where(
        Post.imported_at.is_(None), *_conditions(wanted, now)
    )
    if wanted.error_code is None:
        statement = statement.where(Destination.error_code.is_distinct_from(CANCELLED))
    return await read_page(reader, statement, order, request)


async def count_destinations(
    reader: Reader, destination_filter: DestinationFilter, now: datetime
) -> int:
    statement = _of_kept_posts(select(func.count()).select_from(Destination))
    return await reader.count(statement.where(*_conditions(destination_filter, now)))


def _of_kept_posts(statement: AnySelect) -> AnySelect:
    """Served by uq_post_kept, without a look at the posts themselves."""
    same_post = and_(Post.workspace_id == Destination.workspace_id, Post.id == Destination.post_id)
    return statement.join(Post, same_post).where(Post.deleted_at.is_(None))


def _conditions(wanted: DestinationFilter, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for column, values in (
        (Destination.status, wanted.status),
        (Destination.platform, wanted.platform),
        (Destination.account_id, wanted.account_id),
        (Destination.post_id, wanted.post_id),
        (Destination.error_category, wanted.error_category),
        (Destination.error_code, wanted.error_code),
        (Destination.outcome, wanted.outcome),
        # Has no index of its own; the statuses that go with the outcomes lead to that of status.
        (Destination.status, _statuses_with(wanted.outcome)),
    ):
        if values is not None:
            conditions.append(column.in_(values))
    for instant, after, before in (
        (Destination.published_at, wanted.published_after, wanted.published_before),
        (Destination.next_retry_at, wanted.next_retry_after, wanted.next_retry_before),
    ):
        if after is not None:
            conditions.append(instant >= after)
        if before is not None:
            conditions.append(instant < before)
    if wanted.failed_after is not None or wanted.failed_before is not None:
        conditions.extend(_failed_between(wanted.failed_after, wanted.failed_before))
    if wanted.max_attempts is not None:
        conditions.append(Destination.attempts <= wanted.max_attempts)
    if wanted.overdue is not None:
        overdue = _is_overdue(now)
        conditions.append(overdue if wanted.overdue else not_(overdue))
    return conditions


async def count_overdue(connection: AsyncConnection, now: datetime) -> int:
    """Over all workspaces, one look into the indexes of each."""
    of_one = (
        select(func.count())
        .select_from(Destination)
        .where(Destination.workspace_id == Workspace.id, _is_overdue(now))
        .correlate(Workspace)
        .scalar_subquery()
    )
    return int(await connection.scalar(select(func.sum(of_one)).select_from(Workspace)) or 0)


def _statuses_with(outcomes: Sequence[Outcome] | None) -> Sequence[DestinationStatus] | None:
    """Where a destination may stand whose outcome is one of these."""
    if outcomes is None:
        return None
    return [status for status in DestinationStatus if not OUTCOMES[status].isdisjoint(outcomes)]


def _failed_between(
    after: datetime | None, before: datetime | None
) -> Iterator[ColumnElement[bool]]:
    """Served by the index on status, or by ix_destination_account_failed where accounts are given."""
    yield Destination.error_category.is_not(None)
    yield Destination.status == DestinationStatus.FAILED
    if after is not None:
        yield Destination.settled_at >= after
    if before is not None:
        yield Destination.settled_at < before


def _is_overdue(now: datetime) -> ColumnElement[bool]:
    """domain.destinations.is_overdue in SQL; it is counted by the claimable and leased indexes."""
    latest = now - OVERDUE_AFTER
    return or_(
        and_(
            Destination.claimable_at.is_not(None),
            Destination.claimable_at <= latest,
            Destination.round_started_at.is_not(None),
            Destination.round_started_at <= latest,
        ),
        and_(
            Destination.lease_token.is_not(None),
            Destination.started_at.is_not(None),
            Destination.lease_expires_at <= latest,
        ),
    )
