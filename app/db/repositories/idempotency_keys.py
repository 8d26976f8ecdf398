"""What was answered to a request that may come again, and the lock of one that runs. No rules."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.advisory_locks import acquire_advisory_lock
from app.db.core.database import Reader, WriteSession, insert_with_on_conflict
from app.db.core.statements import AnyRow
from app.db.models import IdempotencyKey
from app.domain.ids import WorkspaceId


async def lock_idempotency_key(
    session: WriteSession, workspace_id: WorkspaceId, operation: str, key: str, *, wait: bool
) -> bool:
    """Whether no other transaction holds the same key; with `wait`, the other one's end is awaited."""
    return await acquire_advisory_lock(session, f"{workspace_id}:{operation}:{key}", wait=wait)


async def find_idempotency_key(reader: Reader, operation: str, key: str) -> AnyRow | None:
    """Fingerprint, outcome and expires_at of the first request; expired ones too."""
    return await reader.first(
        select(IdempotencyKey.fingerprint, IdempotencyKey.outcome, IdempotencyKey.expires_at).where(
            IdempotencyKey.operation == operation, IdempotencyKey.key == key
        )
    )


async def store_outcome(
    session: WriteSession,
    workspace_id: WorkspaceId,
    operation: str,
    key: str,
    *,
    fingerprint: bytes,
    outcome: dict[str, Any],
    now: datetime,
    expires_at: datetime,
) -> None:
    """In place of one that has expired."""
    values = {
        "fingerprint": fingerprint,
        "outcome": outcome,
        "created_at": now,
        "expires_at": expires_at,
    }
    await session.execute(
        insert_with_on_conflict(session, IdempotencyKey)
        .values(workspace_id=workspace_id, operation=operation, key=key, **values)
        .on_conflict_do_update(index_elements=["workspace_id", "operation", "key"], set_=values)
    )


async def find_expiry_cutoff(
    connection: AsyncConnection, now: datetime, *, limit: int
) -> datetime | None:
    """Up to when about `limit` of them have expired, over all workspaces; None if none has."""
    expired = await connection.scalars(
        select(IdempotencyKey.expires_at)
        .where(IdempotencyKey.expires_at <= now)
        .order_by(IdempotencyKey.expires_at)
        .limit(limit)
    )
    return max(expired, default=None)


async def delete_expired_idempotency_keys(session: WriteSession, until: datetime) -> None:
    """All that expired then or earlier."""
    await session.execute(delete(IdempotencyKey).where(IdempotencyKey.expires_at <= until))
