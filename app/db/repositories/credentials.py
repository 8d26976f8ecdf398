"""Encrypted credentials of accounts, with the lease of their refresh, and canaries of the keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Insert, and_, bindparam, delete, or_, select, update

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import AccountCredentials, CredentialCanary, DestinationCheckpoint
from app.domain.credentials import SealedData
from app.domain.ids import AccountId


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """Encrypted credentials of an account, and the state of their refresh."""

    data: SealedData
    version: int
    set_at: datetime
    """Time at which a client set them. Version and fence start again when deleted credentials are set."""
    refresh_until: datetime | None
    """Time at which another process may refresh them; None if no process does so now."""
    refresh_fence: int
    """Fencing token, which increases with each refresh and with each change by a client."""

    def is_refreshing(self, now: datetime) -> bool:
        return self.refresh_until is not None and now <= self.refresh_until


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
        SealedData(row.key_id, row.sealed),
        row.version,
        row.set_at,
        row.refresh_until,
        row.refresh_fence,
    )


_BY_ACCOUNT = Statement(
    select(
        AccountCredentials.key_id,
        AccountCredentials.sealed,
        AccountCredentials.version,
        AccountCredentials.set_at,
        AccountCredentials.refresh_until,
        AccountCredentials.refresh_fence,
    ).where(AccountCredentials.account_id == bindparam("account_id"))
)


async def credentials_by_account_id(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
    """Return account, time and verification of the credentials that exist, in no particular order."""
    return await reader.rows(_TIMES, ids=ids)


_TIMES = Statement(
    select(
        AccountCredentials.account_id,
        AccountCredentials.set_at,
        AccountCredentials.verified_at,
        AccountCredentials.verify_error,
    ).where(any_of(AccountCredentials.account_id, "ids")),
    point_key="ids",
)


async def set_credentials(
    session: WriteSession,
    account_id: AccountId,
    data: SealedData,
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
        sealed=data.sealed,
        version=1,
        set_at=now,
        refresh_until=None,
        refresh_fence=0,
        verified_at=now if is_verified else None,
        verify_at=now,
        verify_attempts=0,
        verify_error=None,
    )


_VERIFICATION_COLUMNS = ("verified_at", "verify_at", "verify_attempts", "verify_error")


@cache
def _set_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(AccountCredentials, is_sqlite=is_sqlite)
    changed = ("key_id", "sealed", "set_at", "refresh_until", *_VERIFICATION_COLUMNS)
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
    """Lease the refresh of credentials until a time, and return its number.

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
    data: SealedData,
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
        new_sealed=data.sealed,
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
        sealed=bindparam("new_sealed"),
        version=AccountCredentials.version + 1,
        refresh_until=None,
    )
)


async def list_canaries(reader: AllWorkspacesReader) -> list[SealedData]:
    """Return the canary of each key that has encrypted credentials."""
    return [SealedData(row.key_id, row.sealed) for row in await reader.rows(_CANARIES)]


_CANARIES = AllWorkspacesStatement(
    select(CredentialCanary.key_id, CredentialCanary.sealed).order_by(CredentialCanary.key_id),
    reason="keys belong to the installation",
)


async def insert_canary(session: AllWorkspacesWriteSession, canary: SealedData) -> None:
    """Store the canary of a key, unless it is stored already."""
    await session.rows(
        _canary_statement(is_sqlite=session.is_sqlite), key_id=canary.key_id, sealed=canary.sealed
    )


@cache
def _canary_statement(*, is_sqlite: bool) -> AllWorkspacesStatement:
    insert = insert_with_on_conflict(CredentialCanary, is_sqlite=is_sqlite)
    return AllWorkspacesStatement(
        insert.on_conflict_do_nothing(index_elements=["key_id"]),
        reason="keys belong to the installation",
    )


async def delete_unused_canaries(session: AllWorkspacesWriteSession) -> None:
    """Delete the canaries of keys with which no row is encrypted."""
    await session.rows(_DELETE_UNUSED_CANARIES)


_DELETE_UNUSED_CANARIES = AllWorkspacesStatement(
    delete(CredentialCanary).where(
        CredentialCanary.key_id.not_in(select(AccountCredentials.key_id)),
        CredentialCanary.key_id.not_in(select(DestinationCheckpoint.key_id)),
    ),
    reason="keys belong to the installation",
)
