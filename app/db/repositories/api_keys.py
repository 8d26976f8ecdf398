"""API keys: looked up by digest in all workspaces, created, listed and revoked."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database, WriteSession
from app.db.core.projections import columns_except
from app.db.core.statements import AnyRow, Statement
from app.db.core.types import UtcDateTime
from app.db.core.writes import insert_with_on_conflict
from app.db.models import ApiKey, Workspace
from app.domain.api_keys import NewApiKey, Scope
from app.domain.ids import ApiKeyId, WorkspaceId

_KEY_COLUMNS = (
    ApiKey.workspace_id,
    *columns_except(ApiKey, "digest"),
    Workspace.name.label("workspace_name"),
    Workspace.kind.label("workspace_kind"),
)
"""Columns of a key except its digest, and the name and kind of its workspace."""


async def find_key(database: Database, digest: bytes) -> AnyRow | None:
    """Return the key with its workspace, even if expired or revoked, or None. Served by uq_api_key_digest."""
    return await database.fetch_unscoped(_KEY_BY_DIGEST, digest=digest)


_KEY_BY_DIGEST = Statement(
    select(*_KEY_COLUMNS)
    .join(Workspace, Workspace.id == ApiKey.workspace_id)
    .where(ApiKey.digest == bindparam("digest"))
)


async def insert_key(
    session: WriteSession,
    workspace_id: WorkspaceId,
    key_id: ApiKeyId,
    key: NewApiKey,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    now: datetime,
) -> None:
    session.add(
        ApiKey(
            workspace_id=workspace_id,
            id=key_id,
            digest=key.digest,
            display_prefix=key.display_prefix,
            name=name,
            scopes=[scope.value for scope in scopes],
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
            last_used_at=None,
        )
    )
    await session.flush()


async def upsert_key(
    session: WriteSession,
    workspace_id: WorkspaceId,
    key_id: ApiKeyId,
    key: NewApiKey,
    *,
    name: str,
    scopes: Sequence[Scope],
    now: datetime,
) -> bool:
    """Insert or reactivate a key of the workspace; return False if another workspace has it."""
    active_values = {
        "name": name,
        "scopes": [scope.value for scope in scopes],
        "expires_at": None,
        "revoked_at": None,
    }
    result = await session.execute(
        insert_with_on_conflict(session, ApiKey)
        .values(
            workspace_id=workspace_id,
            id=key_id,
            digest=key.digest,
            display_prefix=key.display_prefix,
            created_at=now,
            last_used_at=None,
            **active_values,
        )
        .on_conflict_do_update(
            index_elements=[ApiKey.digest],
            set_=active_values,
            where=ApiKey.workspace_id == workspace_id,
        )
        .returning(ApiKey.id)
    )
    return result.first() is not None


async def list_keys(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Return the keys of all workspaces, by workspace name and age."""
    result = await connection.execute(
        select(*_KEY_COLUMNS)
        .join(Workspace, Workspace.id == ApiKey.workspace_id)
        .order_by(Workspace.name, ApiKey.created_at, ApiKey.id)
    )
    return result.all()


async def revoke_key(session: WriteSession, key_id: ApiKeyId, now: datetime) -> bool:
    """Revoke a key; return whether it exists. An earlier time of revocation stays."""
    result = await session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, literal(now, UtcDateTime())))
        .returning(ApiKey.id)
    )
    return result.first() is not None


async def revoke_other_keys(
    session: WriteSession, workspace_id: WorkspaceId, key: NewApiKey, *, name: str, now: datetime
) -> None:
    """Revoke all other active keys of that name in the workspace."""
    await session.execute(
        update(ApiKey)
        .where(
            ApiKey.workspace_id == workspace_id,
            ApiKey.name == name,
            ApiKey.digest != key.digest,
            ApiKey.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )


async def update_last_used(
    session: WriteSession, last_used_at: Mapping[tuple[WorkspaceId, ApiKeyId], datetime]
) -> None:
    """Store the times of last use; a later time that another process has stored stays."""
    await session.execute(
        update(ApiKey.__table__)  # type: ignore[arg-type]
        .where(
            ApiKey.workspace_id == bindparam("key_workspace_id"),
            ApiKey.id == bindparam("key_id"),
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("used_at")),
        )
        .values(last_used_at=bindparam("used_at")),
        [
            {"key_workspace_id": workspace_id, "key_id": key_id, "used_at": used_at}
            for (workspace_id, key_id), used_at in sorted(last_used_at.items())
        ],
    )
