"""Destinations that are blocked, or have failed, because their account has no valid access."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Reader
from app.db.core.statements import AnyRow
from app.db.models import ACCOUNT_JOIN, POST_JOIN, Account, Destination, Post
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import AccountId, PostId


async def blocked_accounts_with_due(
    connection: AsyncConnection, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Return workspace and id of blocked accounts with due destinations, in all workspaces.

    The condition is that of `domain.accounts.blocking_reason`. Each blocked account costs one lookup in
    ix_destination_account_unsettled, however many destinations it has.
    """
    earliest = (
        select(func.min(Destination.claimable_at))
        .where(ACCOUNT_JOIN, *_QUEUED_CONDITIONS)
        .correlate(Account)
        .scalar_subquery()
    )
    result = await connection.execute(
        select(Account.workspace_id, Account.id)
        .where(
            or_(
                Account.is_active.is_(False),
                Account.needs_reconnection_since.is_not(None),
                Account.token_expires_at <= now,
            ),
            earliest <= now,
        )
        .limit(limit)
    )
    return result.all()


async def due_post_ids(
    reader: Reader, account_id: AccountId, now: datetime, *, limit: int
) -> list[PostId]:
    """Return posts with a due destination on the account, earliest due first."""
    rows = await reader.rows(
        select(Destination.post_id)
        .where(
            Destination.account_id == account_id,
            *_QUEUED_CONDITIONS,
            Destination.claimable_at <= now,
        )
        .order_by(Destination.claimable_at)
        .limit(limit)
    )
    return [PostId(row.post_id) for row in rows]


async def count_queued_destinations(reader: Reader, account_id: AccountId) -> int:
    """Count the queued destinations of an account, which are claimed when due, or fail without access."""
    return await reader.count(
        select(func.count())
        .select_from(Destination)
        .where(
            Destination.account_id == account_id,
            *_QUEUED_CONDITIONS,
            Destination.claimable_at.is_not(None),
        )
    )


async def posts_failed_with_auth(
    reader: Reader, account_id: AccountId, *, failed_after: datetime | None, limit: int
) -> list[PostId]:
    """Return posts, except imported ones, that failed on the account with AUTH, earliest failure first.

    Served by ix_destination_account_failed.
    """
    statement = (
        select(Destination.post_id)
        .join(Post, POST_JOIN)
        .where(
            Destination.account_id == account_id,
            Destination.error_category == ErrorCategory.AUTH,
            Destination.outcome == Outcome.FAILED,
            Post.deleted_at.is_(None),
            Post.imported_at.is_(None),
        )
        .order_by(Destination.settled_at, Destination.id)
        .limit(limit)
    )
    if failed_after is not None:
        statement = statement.where(Destination.settled_at >= failed_after)
    return [PostId(row.post_id) for row in await reader.rows(statement)]


_QUEUED_CONDITIONS = (
    Destination.settled_at.is_(None),
    Destination.status == DestinationStatus.QUEUED,
)
