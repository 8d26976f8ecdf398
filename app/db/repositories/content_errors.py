"""Waiting destinations whose content does not fit the schemas of platforms, and the version of those."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.models import Account, Deployment, Destination
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId

HAS_CONTENT_ERROR = Destination.content_error.is_not(None)
"""Condition that only destinations that wait for a claim satisfy. Served by ix_destination_content_error."""


async def account_platforms(reader: Reader) -> frozenset[str]:
    """Return the platforms of all accounts of the workspace."""
    return frozenset(row.platform for row in await reader.rows(_PLATFORMS))


_PLATFORMS = Statement(select(Account.platform).distinct())


async def waiting_destinations(
    reader: Reader,
    publisher: AccountPublisher,
    after: tuple[datetime, DestinationId],
    *,
    limit: int,
) -> Sequence[AnyRow]:
    """Return `claimable_at`, id and post of destinations that wait for a claim, the earliest first.

    `after` are time and id of the last one before. Served by ix_destination_claimable_publisher.
    """
    claimable_at, destination_id = after
    return await reader.rows(
        _WAITING, publisher=publisher, after=claimable_at, after_id=destination_id, limit=limit
    )


_IS_QUEUED = Destination.status == DestinationStatus.QUEUED
_AFTER: ColumnElement[datetime] = bindparam("after", type_=UtcDateTime())
_WAITING = Statement(
    select(Destination.claimable_at, Destination.id, Destination.post_id)
    .where(
        Destination.publisher == bindparam("publisher"),
        Destination.claimable_at >= _AFTER,
        or_(
            Destination.claimable_at > _AFTER,
            and_(
                Destination.claimable_at == _AFTER,
                Destination.id > bindparam("after_id", type_=Destination.id.type),
            ),
        ),
        _IS_QUEUED,
    )
    .order_by(Destination.claimable_at, Destination.id)
    .limit(bindparam("limit"))
)


async def posts_waiting_on_account(
    reader: Reader, account_id: AccountId, *, limit: int
) -> list[PostId]:
    """Return posts that wait for a claim on the account, the earliest first.

    Served by ix_destination_account_unsettled.
    """
    rows = await reader.rows(_WAITING_ON_ACCOUNT, account_id=account_id, limit=limit)
    return [PostId(row.post_id) for row in rows]


_WAITING_ON_ACCOUNT = Statement(
    select(Destination.post_id)
    .where(
        Destination.account_id == bindparam("account_id"),
        Destination.settled_at.is_(None),
        _IS_QUEUED,
        Destination.claimable_at.is_not(None),
    )
    .order_by(Destination.claimable_at)
    .limit(bindparam("limit"))
)


async def clear_content_errors(session: WriteSession, account_id: AccountId) -> None:
    """Clear the content errors of all destinations on the account. Served by ix_destination_content_error."""
    await session.rows(_CLEAR, account=account_id)


_CLEAR = (
    update(Destination)
    .where(HAS_CONTENT_ERROR, Destination.account_id == bindparam("account"))
    .values(content_error=None)
)


async def count_content_errors_on_account(reader: Reader, account_id: AccountId) -> int:
    """Count the destinations with a content error on an account."""
    return await reader.count(_COUNT_ON_ACCOUNT, account_id=account_id)


_COUNT_ON_ACCOUNT = Statement(
    select(func.count())
    .select_from(Destination)
    .where(HAS_CONTENT_ERROR, Destination.account_id == bindparam("account_id"))
)


async def count_content_errors(reader: AllWorkspacesReader) -> int:
    """Count the destinations with a content error in all workspaces."""
    ((count,),) = await reader.rows(_COUNT)
    return int(count)


_COUNT = AllWorkspacesStatement(
    select(func.count()).select_from(Destination).where(HAS_CONTENT_ERROR),
    reason="the operator sees one number for the installation",
)


async def content_schema_version(reader: AllWorkspacesReader) -> int:
    """Return the version of the schemas by which the waiting destinations were last checked."""
    ((version,),) = await reader.rows(_VERSION)
    return int(version)


_VERSION = AllWorkspacesStatement(
    select(Deployment.content_schema_version), reason="the version belongs to the installation"
)


async def store_content_schema_version(session: AllWorkspacesWriteSession, version: int) -> None:
    await session.rows(_STORE_VERSION, version=version)


_STORE_VERSION = AllWorkspacesStatement(
    update(Deployment).values(content_schema_version=bindparam("version")),
    reason="the version belongs to the installation",
)
