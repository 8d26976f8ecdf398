"""Reading accounts and what happened on them lately. Nothing changes here."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, case, func, select

from app.db.engine import AnyRow, Reader
from app.db.models import Account, Destination, Post
from app.domain.destinations import PERMANENT_CATEGORIES, DestinationStatus
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId

_COLUMNS = (
    Account.id,
    Account.platform,
    Account.account_name,
    Account.display_name,
    Account.platform_user_id,
    Account.platform_username,
    Account.avatar_url,
    Account.is_active,
    Account.needs_reconnection_since,
    Account.token_expires_at,
    Account.token_refreshed_at,
    Account.connected_at,
    Account.created_at,
    Account.updated_at,
)


async def accounts_by_id(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """The existing ones among the ids, in no particular order. Served by the primary key."""
    return await reader.rows(select(*_COLUMNS).where(Account.id.in_(ids)))


async def all_accounts(reader: Reader) -> Sequence[AnyRow]:
    return await reader.rows(select(*_COLUMNS).order_by(Account.id))


async def count_accounts(reader: Reader) -> int:
    return await reader.count(select(func.count()).select_from(Account))


async def activity_by_account_id(
    reader: Reader, ids: Sequence[AccountId], since: datetime
) -> Sequence[AnyRow]:
    """Per account: the last publication, failures since then, and what is queued.

    A failure counts when its destination became final; a cancellation is nobody's failure.
    Accounts without destinations have no row. Served by ix_destination_workspace_id_account_id_status.
    """
    failed = and_(
        Destination.status == DestinationStatus.FAILED,
        Destination.updated_at >= since,
        Destination.error_code != CANCELLED,
    )
    permanently = and_(failed, Destination.error_category.in_(PERMANENT_CATEGORIES))
    queued = and_(
        Destination.status == DestinationStatus.QUEUED,
        Destination.due_at.is_not(None),
        Post.deleted_at.is_(None),
    )
    same_post = and_(Post.workspace_id == Destination.workspace_id, Post.id == Destination.post_id)
    return await reader.rows(
        select(
            Destination.account_id,
            func.max(Destination.published_at).label("last_published_at"),
            func.count(case((failed, 1))).label("failures"),
            func.count(case((permanently, 1))).label("permanent_failures"),
            func.count(case((queued, 1))).label("queued"),
        )
        .join(Post, same_post)
        .where(Destination.account_id.in_(ids))
        .group_by(Destination.account_id)
    )
