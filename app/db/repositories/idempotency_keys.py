"""Stored outcomes of idempotent requests, and the locks of running ones."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Insert, bindparam, delete, select

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import acquire_advisory_lock, insert_with_on_conflict
from app.db.models import IdempotencyKey


async def lock_idempotency_key(
    session: WriteSession, operation: str, key: str, *, wait: bool
) -> bool:
    """Lock a key until the transaction ends; return whether the lock was acquired.

    With `wait`, the call waits for another holder.
    """
    return await acquire_advisory_lock(
        session, f"{session.workspace_id}:{operation}:{key}", wait=wait
    )


async def find_idempotency_key(reader: Reader, operation: str, key: str) -> AnyRow | None:
    """Return fingerprint, outcome and expires_at of the first request, also if expired, or None."""
    return await reader.first(_BY_KEY, operation=operation, key=key)


_BY_KEY = Statement(
    select(IdempotencyKey.fingerprint, IdempotencyKey.outcome, IdempotencyKey.expires_at).where(
        IdempotencyKey.operation == bindparam("operation"), IdempotencyKey.key == bindparam("key")
    )
)


async def store_outcome(
    session: WriteSession,
    operation: str,
    key: str,
    *,
    fingerprint: bytes,
    outcome: dict[str, Any],
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store the outcome of a request, replacing an expired one."""
    await session.rows(
        _upsert_statement(is_sqlite=session.is_sqlite),
        operation=operation,
        key=key,
        fingerprint=fingerprint,
        outcome=outcome,
        created_at=now,
        expires_at=expires_at,
    )


@cache
def _upsert_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(IdempotencyKey, is_sqlite=is_sqlite)
    changed = ("fingerprint", "outcome", "created_at", "expires_at")
    return insert.on_conflict_do_update(
        index_elements=["workspace_id", "operation", "key"],
        set_={name: insert.excluded[name] for name in changed},
    )


async def find_expiry_cutoff(
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> datetime | None:
    """Return the time until which about `limit` keys of all workspaces have expired; None if none has."""
    rows = await reader.rows(_EXPIRED, now=now, limit=limit)
    return rows[-1].expires_at if rows else None


_EXPIRED = AllWorkspacesStatement(
    select(IdempotencyKey.expires_at)
    .where(IdempotencyKey.expires_at <= bindparam("now"))
    .order_by(IdempotencyKey.expires_at)
    .limit(bindparam("limit")),
    reason="maintenance of all workspaces",
)


async def delete_expired_idempotency_keys(
    session: AllWorkspacesWriteSession, until: datetime
) -> None:
    """Delete the keys of all workspaces that expired at `until` or earlier."""
    await session.rows(_DELETE_EXPIRED, until=until)


_DELETE_EXPIRED = AllWorkspacesStatement(
    delete(IdempotencyKey).where(IdempotencyKey.expires_at <= bindparam("until")),
    reason="maintenance of all workspaces",
)
