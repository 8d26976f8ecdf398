"""Reading accounts and what happened on them lately. Nothing changes here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, select

from app.db.core.database import Reader
from app.db.core.projections import ALL_COLUMNS, Projection, cached_statement, projected_columns
from app.db.core.statements import AnyRow, AnySelect, Statement, any_of
from app.db.models import ACCOUNT_JOIN, POST_JOIN, Account, Destination, Post
from app.domain.destinations import PERMANENT_CATEGORIES, DestinationStatus
from app.domain.diagnosis import CANCELLED
from app.domain.ids import AccountId

ACCOUNT_COLUMNS = (
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


async def accounts_by_id(
    reader: Reader, ids: Sequence[AccountId], projection: Projection = ALL_COLUMNS
) -> Sequence[AnyRow]:
    """The existing ones among the ids, in no particular order. Served by the primary key."""
    return await reader.rows(_select_by_id(projection), ids=ids)


@cached_statement()
def _select_by_id(projection: Projection) -> Statement:
    return Statement(
        select(*projected_columns(ACCOUNT_COLUMNS, projection, "id")).where(
            any_of(Account.id, "ids")
        )
    )


async def all_accounts(reader: Reader, projection: Projection = ALL_COLUMNS) -> Sequence[AnyRow]:
    return await reader.rows(_select_all(projection))


@cached_statement()
def _select_all(projection: Projection) -> Statement:
    return Statement(
        select(*projected_columns(ACCOUNT_COLUMNS, projection, "id")).order_by(Account.id)
    )


async def count_accounts(reader: Reader) -> int:
    return await reader.count(_ACCOUNT_COUNT)


_ACCOUNT_COUNT = Statement(select(func.count()).select_from(Account))


async def activity_by_account_id(
    reader: Reader, ids: Sequence[AccountId], since: datetime
) -> Sequence[AnyRow]:
    """Per account: the last publication, failures since then, and what is queued.

    A failure counts when its outcome became known; a cancellation is nobody's failure. Served, account
    by account, by ix_destination_account_published, _failed and _unsettled: never by the whole history.
    """
    return await reader.rows(_select_activity(), ids=ids, since=since)


@cached_statement()
def _select_activity() -> Statement:
    last_published_at = _select_per_account(func.max(Destination.published_at)).where(
        Destination.published_at.is_not(None)
    )
    permanent = Destination.error_category.in_(PERMANENT_CATEGORIES)
    failures, permanent_failures = (
        _select_per_account(count).where(
            Destination.error_category.is_not(None),
            Destination.status == DestinationStatus.FAILED,
            Destination.settled_at >= bindparam("since"),
            Destination.error_code != CANCELLED,
        )
        for count in (func.count(), func.count(case((permanent, 1))))
    )
    queued = (
        _select_per_account(func.count())
        .join(Post, POST_JOIN)
        .where(
            Destination.settled_at.is_(None),
            Destination.status == DestinationStatus.QUEUED,
            Destination.due_at.is_not(None),
            Post.deleted_at.is_(None),
        )
    )
    return Statement(
        select(
            Account.id.label("account_id"),
            last_published_at.scalar_subquery().label("last_published_at"),
            failures.scalar_subquery().label("failures"),
            permanent_failures.scalar_subquery().label("permanent_failures"),
            queued.scalar_subquery().label("queued"),
        ).where(any_of(Account.id, "ids"))
    )


def _select_per_account(value: ColumnElement[Any]) -> AnySelect:
    """Over the destinations of the account that the outer query is at, in its workspace."""
    return select(value).select_from(Destination).where(ACCOUNT_JOIN).correlate(Account)
