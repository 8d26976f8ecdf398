"""Credentials that a worker has to verify: found, leased, and settled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import bindparam, select, update

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement, decoded_values
from app.db.core.types import UtcDateTime, field_names
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import expected_values, is_unchanged
from app.db.models import AccountCredentials
from app.domain.ids import AccountId, WorkspaceId


@dataclass(frozen=True, slots=True)
class PendingVerification:
    """Credentials to verify. Time and attempts are an optimistic lock: they change with the credentials."""

    workspace_id: WorkspaceId
    account_id: AccountId
    verify_at: datetime
    """Time from which they can be leased; of leased ones, the end of the lease."""
    verify_attempts: int
    """Verifications since they were set, with the leased one."""


async def request_verifications(
    session: AllWorkspacesWriteSession, key_ids: Sequence[str], now: datetime
) -> None:
    """Have all credentials with these keys verified, unless they are to be verified already."""
    await session.rows(_REQUEST, key_ids=key_ids, now=now)


_REQUEST = AllWorkspacesStatement(
    update(AccountCredentials)
    .where(any_of(AccountCredentials.key_id, "key_ids"), AccountCredentials.verify_at.is_(None))
    .values(verify_at=bindparam("now", type_=UtcDateTime()), verify_attempts=0),
    reason="keys belong to the installation",
)


async def due_verifications(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[PendingVerification]:
    """Return credentials of all workspaces to verify, the longest due ones first."""
    rows = await reader.rows(_DUE, now=now, limit=limit)
    return [PendingVerification(**decoded_values(row, _COLUMNS)) for row in rows]


_COLUMNS = field_names(PendingVerification)

# Served by ix_credential_verify_at.
_DUE = AllWorkspacesStatement(
    select(*(getattr(AccountCredentials, name) for name in _COLUMNS))
    .where(AccountCredentials.verify_at <= bindparam("now"))
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
    row = await session.first(_LEASE, **expected_values(pending, _LOCK), expires_at=expires_at)
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
    return await session.first(_SETTLE, **expected_values(leased, _LOCK), **changed) is not None


_LOCK = field_names(PendingVerification, "workspace_id")
_IS_UNCHANGED = is_unchanged(AccountCredentials, _LOCK)
_LEASE = (
    update(AccountCredentials)
    .where(_IS_UNCHANGED)
    .values(
        verify_at=bindparam("expires_at"),
        verify_attempts=AccountCredentials.verify_attempts + 1,
    )
    .returning(AccountCredentials.verify_attempts)
)

_SETTLE = (
    update(AccountCredentials)
    .where(_IS_UNCHANGED)
    .values(
        verified_at=bindparam("verified_at"),
        verify_at=bindparam("verify_at"),
        verify_error=bindparam("verify_error"),
    )
    .returning(AccountCredentials.account_id)
)
