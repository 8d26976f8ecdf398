"""Credentials that a worker has to verify: found, leased, and settled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import and_, bindparam, select, update

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import Statement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import WriteSession
from app.db.models import AccountCredentials
from app.domain.ids import AccountId, WorkspaceId


@dataclass(frozen=True, slots=True)
class PendingVerification:
    """Credentials to verify. Time and attempts are an optimistic lock: they change with the credentials."""

    workspace_id: WorkspaceId
    account_id: AccountId
    verify_at: datetime
    """Time from which they can be leased; of leased ones, the end of the lease."""
    attempts: int
    """Verifications since they were set, with the leased one."""


async def due_verifications(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[PendingVerification]:
    """Return credentials of all workspaces to verify, the longest due ones first."""
    rows = await reader.rows(_DUE, now=now, limit=limit)
    return [
        PendingVerification(
            WorkspaceId(row.workspace_id),
            AccountId(row.account_id),
            row.verify_at,
            row.verify_attempts,
        )
        for row in rows
    ]


# Served by ix_credential_verify_at.
_DUE = Statement(
    select(
        AccountCredentials.workspace_id,
        AccountCredentials.account_id,
        AccountCredentials.verify_at,
        AccountCredentials.verify_attempts,
    )
    .where(AccountCredentials.verify_at <= bindparam("now"))
    .order_by(
        AccountCredentials.verify_at,
        AccountCredentials.workspace_id,
        AccountCredentials.account_id,
    )
    .limit(bindparam("limit"))
)


async def lease_verification(
    session: WriteSession, pending: PendingVerification, expires_at: datetime
) -> PendingVerification | None:
    """Lease a verification; None if another worker has leased it, or the credentials were changed."""
    row = await session.first(_LEASE, **_expected(pending), expires_at=expires_at)
    if row is None:
        return None
    return replace(pending, verify_at=expires_at, attempts=row.verify_attempts)


async def settle_verification(
    session: WriteSession,
    leased: PendingVerification,
    *,
    verified_at: datetime | None,
    verify_at: datetime | None,
    error: str | None,
) -> bool:
    """Store the result of a leased verification; False if the lease is lost or the credentials changed."""
    row = await session.first(
        _SETTLE, **_expected(leased), verified_at=verified_at, next_verify_at=verify_at, error=error
    )
    return row is not None


def _expected(pending: PendingVerification) -> dict[str, object]:
    return {
        "workspace": pending.workspace_id,
        "account": pending.account_id,
        "expected_verify_at": pending.verify_at,
        "expected_attempts": pending.attempts,
    }


_IS_UNCHANGED = and_(
    AccountCredentials.workspace_id == bindparam("workspace"),
    AccountCredentials.account_id == bindparam("account"),
    AccountCredentials.verify_at == bindparam("expected_verify_at", type_=UtcDateTime()),
    AccountCredentials.verify_attempts == bindparam("expected_attempts"),
)

_LEASE = (
    update(AccountCredentials)
    .where(_IS_UNCHANGED)
    .values(
        verify_at=bindparam("expires_at", type_=UtcDateTime()),
        verify_attempts=AccountCredentials.verify_attempts + 1,
    )
    .returning(AccountCredentials.verify_attempts)
)

_SETTLE = (
    update(AccountCredentials)
    .where(_IS_UNCHANGED)
    .values(
        verified_at=bindparam("verified_at", type_=UtcDateTime()),
        verify_at=bindparam("next_verify_at", type_=UtcDateTime()),
        verify_error=bindparam("error"),
    )
    .returning(AccountCredentials.account_id)
)
