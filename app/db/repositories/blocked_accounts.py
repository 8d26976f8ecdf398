"""Finding what an account's access decides about: due rows without it, and failures for want of it."""

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
    """Workspace and number of accounts that cannot post and have something due, over all workspaces.

    The condition is that of domain.accounts.blocking_reason. Each account that meets it costs one look
    into ix_destination_account_unsettled, however much waits for it.
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
    """Those that may be claimed on the account, the longest due first."""
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


async def count_queued_posts(reader: Reader, account_id: AccountId) -> int:
    """How many posts will be claimed on the account, or fail for want of access, when they are due."""
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
    """Those of this service that failed as AUTH on the account, the longest failed first.

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
