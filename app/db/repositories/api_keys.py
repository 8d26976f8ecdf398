"""API keys: found by digest before their workspace is known; made, listed and revoked by the operator."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database, WriteSession, insert_with_on_conflict
from app.db.core.statements import AnyRow, Statement
from app.db.models import ApiKey, Workspace
from app.domain.api_keys import NewApiKey, Scope
from app.domain.ids import ApiKeyId, WorkspaceId

_KEY_COLUMNS = (
    ApiKey.id,
    ApiKey.workspace_id,
    ApiKey.shown_prefix,
    ApiKey.name,
    ApiKey.scopes,
    ApiKey.created_at,
    ApiKey.expires_at,
    ApiKey.revoked_at,
    ApiKey.last_used_at,
    Workspace.name.label("workspace_name"),
    Workspace.kind.label("workspace_kind"),
)
"""A key as it is shown, and whose it is; never its digest."""


async def find_key(database: Database, digest: bytes) -> AnyRow | None:
    """The key with its workspace, whatever its state. Served by uq_api_key_digest."""
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
            shown_prefix=key.shown_prefix,
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
    """Make the key work in the workspace, new or known; False where it is another workspace's."""
    working = {
        "name": name,
        "scopes": [scope.value for scope in scopes],
        "expires_at": None,
        "revoked_at": None,
    }
    put = await session.execute(
        insert_with_on_conflict(session, ApiKey)
        .values(
            workspace_id=workspace_id,
            id=key_id,
            digest=key.digest,
            shown_prefix=key.shown_prefix,
            created_at=now,
            last_used_at=None,
            **working,
        )
        .on_conflict_do_update(
            index_elements=[ApiKey.digest],
            set_=working,
            where=ApiKey.workspace_id == workspace_id,
        )
        .returning(ApiKey.id)
    )
    return put.first() is not None


async def list_keys(connection: AsyncConnection) -> Sequence[AnyRow]:
    result = await connection.execute(
        select(*_KEY_COLUMNS)
        .join(Workspace, Workspace.id == ApiKey.workspace_id)
        .order_by(Workspace.name, ApiKey.created_at, ApiKey.id)
    )
    return result.all()


async def revoke_key(session: WriteSession, key_id: ApiKeyId, now: datetime) -> bool:
    """Whether there was a key of that id; one that is revoked already keeps its time."""
    found = await session.execute(
        select(ApiKey.workspace_id, ApiKey.revoked_at).where(ApiKey.id == key_id)
    )
    row = found.first()
    if row is None:
        return False
    if row.revoked_at is None:
        await session.execute(
            update(ApiKey)
            .where(ApiKey.workspace_id == row.workspace_id, ApiKey.id == key_id)
            .values(revoked_at=now)
        )
    return True


async def revoke_other_keys(
    session: WriteSession, workspace_id: WorkspaceId, key: NewApiKey, *, name: str, now: datetime
) -> None:
    """From now on, no other key of that name opens the workspace."""
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
    """Write when keys were last used, all in one statement executed many times.

    Another process may have written a later instant already; that one stays.
    """
    await session.execute(
        update(ApiKey.__table__)  # type: ignore[arg-type]
        .where(
            ApiKey.workspace_id == bindparam("of_workspace"),
            ApiKey.id == bindparam("of_key"),
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("at")),
        )
        .values(last_used_at=bindparam("at")),
        [
            {"of_workspace": workspace_id, "of_key": key_id, "at": instant}
            for (workspace_id, key_id), instant in sorted(last_used_at.items())
        ],
    )
