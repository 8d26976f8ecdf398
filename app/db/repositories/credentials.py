"""Encrypted credentials of accounts, with the leases of their refresh and of their verification."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, and_, bindparam, delete, exists, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement, decoded_values
from app.db.core.types import UtcDateTime, field_names
from app.db.core.write_session import WriteSession
from app.db.core.writes import expected_values, insert_with_on_conflict, is_unchanged
from app.db.models import AccountCredentials
from app.domain.credentials import EncryptedData, spend_refresh
from app.domain.ids import AccountId, WorkspaceId


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """Encrypted credentials of an account, and the state of their refresh."""

    data: EncryptedData
    version: int
    set_at: datetime
    """Time at which a client set them. Version and fence start again when deleted credentials are set."""
    refresh_until: datetime | None
    """Time at which another process may refresh them; None if no process does so now."""
    refresh_fence: int
    """Fencing token, which increases with each refresh and with each change by a client."""
    refresh_budget_full_at: datetime | None
    """Time at which the budget of refreshes is full again; None if it was never used."""

    def is_refreshing(self, now: datetime) -> bool:
        return self.refresh_until is not None and now <= self.refresh_until


@dataclass(frozen=True, slots=True)
class PendingVerification:
    """Credentials to verify. Time and attempts are an optimistic lock: they change with the credentials."""

    workspace_id: WorkspaceId
    account_id: AccountId
    verify_at: datetime
    """Time from which they can be leased; of leased ones, the end of the lease."""
    verify_attempts: int
    """Verifications since they were set, with the leased one."""


_OF_ACCOUNT = AccountCredentials.account_id == bindparam("account")

_OF_ACCOUNT_AS_SEEN = and_(
    _OF_ACCOUNT, AccountCredentials.set_at == bindparam("seen_set_at", type_=UtcDateTime())
)


async def find_credentials(reader: Reader, account_id: AccountId) -> StoredCredentials | None:
    """Return the credentials of an account; None if it has none."""
    row = await reader.first(_BY_ACCOUNT, account_id=account_id)
    if row is None:
        return None
    return StoredCredentials(
        EncryptedData(row.key_id, row.ciphertext),
        row.version,
        row.set_at,
        row.refresh_until,
        row.refresh_fence,
        row.refresh_budget_full_at,
    )


_BY_ACCOUNT = Statement(
    select(
        AccountCredentials.key_id,
        AccountCredentials.ciphertext,
        AccountCredentials.version,
        AccountCredentials.set_at,
        AccountCredentials.refresh_until,
        AccountCredentials.refresh_fence,
        AccountCredentials.refresh_budget_full_at,
    ).where(AccountCredentials.account_id == bindparam("account_id"))
)


async def lock_credentials_key(session: WriteSession, account_id: AccountId) -> str | None:
    """Lock the credentials of an account until the transaction ends, and return the id of their key.

    None if it has none.
    """
    row = await session.first(_LOCK_KEY, account=account_id)
    return None if row is None else str(row.key_id)


_LOCK_KEY = select(AccountCredentials.key_id).where(_OF_ACCOUNT).with_for_update(key_share=True)


async def credentials_by_account_id(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """Return account, key, time and verification of the credentials that exist, in no particular order."""
    return await reader.rows(_TIMES, ids=ids)


_TIMES = Statement(
    select(
        AccountCredentials.account_id,
        AccountCredentials.key_id,
        AccountCredentials.set_at,
        AccountCredentials.verified_at,
        AccountCredentials.verify_error,
    ).where(any_of(AccountCredentials.account_id, "ids")),
    point_key="ids",
)


def has_unreadable_credentials(
    workspace_id: InstrumentedAttribute[UUID], account_id: InstrumentedAttribute[int]
) -> ColumnElement[bool]:
    """Return the condition that an account has credentials which no key of the parameter `key_ids` decrypts.

    Served by the primary key of the credentials.
    """
    return exists().where(
        AccountCredentials.workspace_id == workspace_id,
        AccountCredentials.account_id == account_id,
        ~any_of(AccountCredentials.key_id, "key_ids"),
    )


async def set_credentials(
    session: WriteSession,
    account_id: AccountId,
    data: EncryptedData,
    now: datetime,
    *,
    is_verified: bool,
) -> None:
    """Store the credentials of an account that a client has set, for a worker to verify.

    A worker also verifies those that the server has verified: it may reach other servers or read other files.
    A running refresh will not replace them.
    """
    await session.rows(
        _set_statement(is_sqlite=session.is_sqlite),
        account_id=account_id,
        key_id=data.key_id,
        ciphertext=data.ciphertext,
        version=1,
        set_at=now,
        refresh_until=None,
        refresh_fence=0,
        refresh_budget_full_at=None,
        verified_at=now if is_verified else None,
        verify_at=now,
        verify_attempts=0,
        verify_error=None,
    )


_VERIFICATION_COLUMNS = ("verified_at", "verify_at", "verify_attempts", "verify_error")


@cache
def _set_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(AccountCredentials, is_sqlite=is_sqlite)
    changed = ("key_id", "ciphertext", "set_at", "refresh_until", *_VERIFICATION_COLUMNS)
    return insert.on_conflict_do_update(
        index_elements=["workspace_id", "account_id"],
        set_={name: insert.excluded[name] for name in changed}
        | {
            "version": AccountCredentials.version + 1,
            "refresh_fence": AccountCredentials.refresh_fence + 1,
        },
    )


async def delete_credentials(session: WriteSession, account_id: AccountId) -> None:
    """Delete the credentials of an account, if it has any."""
    await session.rows(_DELETE, account=account_id)


_DELETE = delete(AccountCredentials).where(_OF_ACCOUNT)


async def begin_refresh(
    session: WriteSession,
    account_id: AccountId,
    seen: StoredCredentials,
    *,
    now: datetime,
    until: datetime,
) -> int | None:
    """Lease the refresh of credentials until a time, charge the budget, and return the refresh's number.

    Return None if another process is refreshing them, or they have changed since they were seen.
    """
    row = await session.first(
        _BEGIN_REFRESH,
        account=account_id,
        seen_set_at=seen.set_at,
        seen_version=seen.version,
        seen_fence=seen.refresh_fence,
        now=now,
        until=until,
        budget_full_at=spend_refresh(seen.refresh_budget_full_at, now),
    )
    return None if row is None else int(row.refresh_fence)


_BEGIN_REFRESH = (
    update(AccountCredentials)
    .where(
        _OF_ACCOUNT_AS_SEEN,
        AccountCredentials.version == bindparam("seen_version"),
        AccountCredentials.refresh_fence == bindparam("seen_fence"),
        or_(
            AccountCredentials.refresh_until.is_(None),
            AccountCredentials.refresh_until < bindparam("now", type_=UtcDateTime()),
        ),
    )
    .values(
        refresh_until=bindparam("until", type_=UtcDateTime()),
        refresh_fence=AccountCredentials.refresh_fence + 1,
        refresh_budget_full_at=bindparam("budget_full_at", type_=UtcDateTime()),
    )
    .returning(AccountCredentials.refresh_fence)
)


async def end_refresh(
    session: WriteSession,
    account_id: AccountId,
    seen: StoredCredentials,
    *,
    fence: int,
) -> None:
    """End a refresh without new values, unless another process has taken it over."""
    await session.rows(
        _END_REFRESH,
        account=account_id,
        seen_set_at=seen.set_at,
        fence=fence,
    )


_END_REFRESH = (
    update(AccountCredentials)
    .where(_OF_ACCOUNT_AS_SEEN, AccountCredentials.refresh_fence == bindparam("fence"))
    .values(refresh_until=None)
)


async def store_refreshed(
    session: WriteSession,
    account_id: AccountId,
    data: EncryptedData,
    seen: StoredCredentials,
    *,
    fence: int,
) -> None:
    """Store the values of a refresh, unless a client has set other credentials since they were seen.

    The latest refresh always stores its values. An earlier one, whose lease has expired, stores them only if
    no others were stored meanwhile: they may be the only ones that the platform still accepts.
    """
    await session.rows(
        _STORE_REFRESHED,
        account=account_id,
        new_key_id=data.key_id,
        new_ciphertext=data.ciphertext,
        seen_set_at=seen.set_at,
        seen_version=seen.version,
        fence=fence,
    )


_STORE_REFRESHED = (
    update(AccountCredentials)
    .where(
        _OF_ACCOUNT_AS_SEEN,
        or_(
            AccountCredentials.refresh_fence == bindparam("fence"),
            AccountCredentials.version == bindparam("seen_version"),
        ),
    )
    .values(
        key_id=bindparam("new_key_id"),
        ciphertext=bindparam("new_ciphertext"),
        version=AccountCredentials.version + 1,
        refresh_until=None,
    )
)


async def due_verifications(
    reader: AllWorkspacesReader, now: datetime, *, key_ids: Collection[str], limit: int
) -> Sequence[PendingVerification]:
    """Return credentials of all workspaces to verify that one of the keys decrypts, the longest due first."""
    rows = await reader.rows(_DUE_VERIFICATIONS, now=now, key_ids=[*key_ids], limit=limit)
    return [PendingVerification(**decoded_values(row, _PENDING_COLUMNS)) for row in rows]


_PENDING_COLUMNS = field_names(PendingVerification)

# Served by ix_credential_verify_at.
_DUE_VERIFICATIONS = AllWorkspacesStatement(
    select(*(getattr(AccountCredentials, name) for name in _PENDING_COLUMNS))
    .where(
        AccountCredentials.verify_at <= bindparam("now"),
        any_of(AccountCredentials.key_id, "key_ids"),
    )
    .order_by(
        AccountCredentials.verify_at,
        AccountCredentials.workspace_id,
        AccountCredentials.account_id,
    )
    .limit(bindparam("limit")),
    reason="a worker serves all workspaces",
)


async def lease_verification(
    session: WriteSession, pending: PendingVerification, expires_at: datetime
) -> PendingVerification | None:
    """Lease a verification; None if another worker has leased it, or the credentials were changed."""
    row = await session.first(
        _LEASE_VERIFICATION, **expected_values(pending, _LOCK), expires_at=expires_at
    )
    if row is None:
        return None
    return replace(pending, verify_at=expires_at, verify_attempts=row.verify_attempts)


async def settle_verification(
    session: WriteSession,
    leased: PendingVerification,
    *,
    verified_at: datetime | None,
    verify_at: datetime | None,
    error: str | None,
) -> bool:
    """Store the result of a leased verification; False if the lease is lost or the credentials changed."""
    changed = {"verified_at": verified_at, "verify_at": verify_at, "verify_error": error}
    return (
        await session.first(_SETTLE_VERIFICATION, **expected_values(leased, _LOCK), **changed)
        is not None
    )


_LOCK = field_names(PendingVerification, "workspace_id")
_IS_UNCHANGED = is_unchanged(AccountCredentials, _LOCK)
_LEASE_VERIFICATION = (
    update(AccountCredentials)
    .where(_IS_UNCHANGED)
    .values(
        verify_at=bindparam("expires_at"),
        verify_attempts=AccountCredentials.verify_attempts + 1,
    )
    .returning(AccountCredentials.verify_attempts)
)

_SETTLE_VERIFICATION = (
    update(AccountCredentials)
    .where(_IS_UNCHANGED)
    .values(
        verified_at=bindparam("verified_at"),
        verify_at=bindparam("verify_at"),
        verify_error=bindparam("verify_error"),
    )
    .returning(AccountCredentials.account_id)
)
