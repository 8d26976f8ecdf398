"""Accounts as they are loaded to be changed, and the writes of them. What changes is decided elsewhere."""

from collections.abc import Collection
from dataclasses import asdict, fields

from sqlalchemy import insert, select, update

from app.db import models
from app.db.core.advisory_locks import acquire_advisory_lock
from app.db.core.database import Reader, WriteSession
from app.domain.accounts import Account
from app.domain.ids import AccountId, WorkspaceId

_ACCOUNT_FIELDS = tuple(field.name for field in fields(Account))


async def load_accounts(reader: Reader, ids: Collection[AccountId]) -> dict[AccountId, Account]:
    """Those that exist."""
    rows = await reader.rows(
        select(*(getattr(models.Account, name) for name in _ACCOUNT_FIELDS)).where(
            models.Account.id.in_(ids)
        )
    )
    return {
        row.id: Account(**{name: getattr(row, name) for name in _ACCOUNT_FIELDS}) for row in rows
    }


async def lock_accounts(reader: Reader, ids: Collection[AccountId]) -> None:
    """Until the transaction ends, nobody else changes those that exist."""
    await reader.rows(
        select(models.Account.id)
        .where(models.Account.id.in_(ids))
        .order_by(models.Account.id)
        .with_for_update(key_share=True)
    )


async def lock_platform_account(
    session: WriteSession, workspace_id: WorkspaceId, platform: str, platform_user_id: str
) -> None:
    """Until the transaction ends, nobody else connects this account of the platform."""
    await acquire_advisory_lock(
        session, f"{workspace_id}:account:{platform}:{platform_user_id}", wait=True
    )


async def find_account_by_platform_user(
    reader: Reader, platform: str, platform_user_id: str
) -> AccountId | None:
    """The number of the workspace's account that is this one of the platform; the oldest, if several."""
    row = await reader.first(
        select(models.Account.id)
        .where(
            models.Account.platform == platform,
            models.Account.platform_user_id == platform_user_id,
        )
        .order_by(models.Account.id)
        .limit(1)
    )
    return None if row is None else AccountId(row.id)


async def insert_accounts(
    session: WriteSession, workspace_id: WorkspaceId, accounts: Collection[Account]
) -> None:
    if accounts:
        await session.execute(
            insert(models.Account),
            [{"workspace_id": workspace_id, **asdict(each)} for each in accounts],
        )


async def update_accounts(
    session: WriteSession, workspace_id: WorkspaceId, accounts: Collection[Account]
) -> None:
    """Each by its number."""
    if accounts:
        await session.execute(
            update(models.Account),
            [{"workspace_id": workspace_id, **asdict(each)} for each in accounts],
        )
