"""API keys: looked up by digest in all workspaces, created, listed and revoked."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Insert, bindparam, func, or_, select, update

from app.db.core.conditions import any_of
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.projections import columns_except
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Statement
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import ApiKey, Workspace
from app.domain.api_keys import NewApiKey, Scope
from app.domain.ids import ApiKeyId, WorkspaceId

SELECT_KEYS = select(
    ApiKey.workspace_id,
    *columns_except(ApiKey, "digest"),
    Workspace.name.label("workspace_name"),
    Workspace.kind.label("workspace_kind"),
).join(Workspace, Workspace.id == ApiKey.workspace_id)
"""Keys without their digest, with the name and kind of their workspace."""


async def find_key(reader: AllWorkspacesReader, digest: bytes) -> AnyRow | None:
    """Return the key with its workspace, even if expired or revoked, or None. Served by uq_api_key_digest."""
    return await reader.first(_KEY_BY_DIGEST, digest=digest)


_KEY_BY_DIGEST = AllWorkspacesStatement(
    SELECT_KEYS.where(ApiKey.digest == bindparam("digest")),
    reason="the workspace of a key is not known before",
)


async def key_names_by_id(reader: Reader, ids: Sequence[ApiKeyId]) -> Sequence[AnyRow]:
    """Return id and name of the keys of the workspace, also of revoked ones. Served by the primary key."""
    return await reader.rows(_NAMES_BY_ID, ids=ids)


_NAMES_BY_ID = Statement(select(ApiKey.id, ApiKey.name).where(any_of(ApiKey.id, "ids")))


async def upsert_key(
    session: WriteSession,
    key_id: ApiKeyId,
    key: NewApiKey,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    now: datetime,
) -> bool:
    """Insert or reactivate a key of the workspace; return False if another workspace has it."""
    upserted = await session.first(
        _upsert_statement(is_sqlite=session.is_sqlite),
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
    return upserted is not None


@cache
def _upsert_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(ApiKey, is_sqlite=is_sqlite)
    changed = ("name", "scopes", "expires_at", "revoked_at")
    return insert.on_conflict_do_update(
        index_elements=[ApiKey.digest],
        set_={name: insert.excluded[name] for name in changed},
    ).returning(ApiKey.id)


async def list_keys(reader: AllWorkspacesReader) -> Sequence[AnyRow]:
    """Return the keys of all workspaces, by workspace name and age."""
    return await reader.rows(_ALL_KEYS)


_ALL_KEYS = AllWorkspacesStatement(
    SELECT_KEYS.order_by(Workspace.name, ApiKey.created_at, ApiKey.id),
    reason="the operator lists the keys of all workspaces",
)


async def revoke_key(
    session: AllWorkspacesWriteSession, key_id: ApiKeyId, now: datetime
) -> WorkspaceId | None:
    """Revoke a key; return its workspace, None if it does not exist. An earlier time of revocation stays."""
    row = await session.first(_REVOKE, key_id=key_id, now=now)
    return None if row is None else row.workspace_id


_REVOKE = AllWorkspacesStatement(
    update(ApiKey)
    .where(ApiKey.id == bindparam("key_id"))
    .values(revoked_at=func.coalesce(ApiKey.revoked_at, bindparam("now", type_=UtcDateTime())))
    .returning(ApiKey.workspace_id),
    reason="the operator names a key by its id alone",
)


async def revoke_other_keys(
    session: WriteSession, key: NewApiKey, *, name: str, now: datetime
) -> None:
    """Revoke all other active keys of that name in the workspace."""
    await session.rows(_REVOKE_OTHERS, key_name=name, key_digest=key.digest, now=now)


_REVOKE_OTHERS = (
    update(ApiKey)
    .where(
        ApiKey.name == bindparam("key_name"),
        ApiKey.digest != bindparam("key_digest"),
        ApiKey.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("now"))
)


async def update_last_used(
    session: AllWorkspacesWriteSession,
    last_used_at: Mapping[tuple[WorkspaceId, ApiKeyId], datetime],
) -> None:
    """Store the times of last use, at least one; a later time that another process has stored stays."""
    await session.execute_many(
        _UPDATE_LAST_USED,
        [
            (workspace_id, {"key_id": key_id, "used_at": used_at})
            for (workspace_id, key_id), used_at in sorted(last_used_at.items())
        ],
    )


_UPDATE_LAST_USED = (
    update(ApiKey)
    .where(
        ApiKey.id == bindparam("key_id"),
        or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("used_at")),
    )
    .values(last_used_at=bindparam("used_at"))
)
