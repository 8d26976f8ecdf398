"""API keys: made, revoked, and recognised on every request. What a scope allows is declared elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.db import api_keys
from app.db.engine import Database
from app.domain.api_keys import NewKey, Scope, is_usable, is_well_formed, key_digest, make_key
from app.domain.errors import InvalidApiKey
from app.domain.ids import ApiKeyId, WorkspaceId
from app.domain.workspaces import WorkspaceKind

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks: one key, and the one workspace it opens."""

    key_id: ApiKeyId
    key_name: str
    key_prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    workspace_id: WorkspaceId
    workspace_name: str
    workspace_kind: WorkspaceKind


async def authenticate(
    database: Database, token: str | None, *, key_prefix: str, now: datetime
) -> Viewer:
    """The viewer of a key; InvalidApiKey says no more than that the key does not work."""
    if token is None:
        raise InvalidApiKey("This request needs an API key: send 'Authorization: Bearer <key>'.")
    if not is_well_formed(token, key_prefix):
        raise InvalidApiKey(
            f"The API key is malformed: it is {key_prefix} followed by 32 lower-case hex digits."
        )
    row = await api_keys.find_key(database, key_digest(token))
    if row is None or not is_usable(expires_at=row.expires_at, revoked_at=row.revoked_at, now=now):
        raise InvalidApiKey("The API key is unknown, revoked or expired. Use another key.")
    return Viewer(
        key_id=row.id,
        key_name=row.name,
        key_prefix=row.shown_prefix,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        workspace_id=row.workspace_id,
        workspace_name=row.workspace_name,
        workspace_kind=row.workspace_kind,
    )


async def create_key(
    database: Database,
    workspace_id: WorkspaceId,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    key_prefix: str,
    now: datetime,
    random_bytes: RandomBytes,
) -> NewKey:
    """A new key; its token is in the answer and nowhere else."""
    key = make_key(key_prefix, random_bytes)
    key_id = ApiKeyId(UUID(bytes=random_bytes(16), version=4))
    await database.write(
        lambda session: api_keys.insert_key(
            session,
            workspace_id,
            key_id,
            key,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            now=now,
        )
    )
    return key


async def revoke_key(database: Database, key_id: ApiKeyId, *, now: datetime) -> bool:
    """Whether the key exists; from then on it opens nothing."""
    return await database.write(lambda session: api_keys.revoke_key(session, key_id, now))


class KeyUsage:
    """Remembers when keys were used, so that a read request needs no write."""

    def __init__(self) -> None:
        self._used_at: dict[tuple[WorkspaceId, ApiKeyId], datetime] = {}

    def note(self, viewer: Viewer, now: datetime) -> None:
        self._used_at[viewer.workspace_id, viewer.key_id] = now

    async def flush(self, database: Database) -> None:
        """Write what was noted since the last flush; on failure it is kept for the next one."""
        if not self._used_at:
            return
        noted = self._used_at
        self._used_at = {}
        try:
            await database.write(lambda session: api_keys.note_last_used(session, noted))
        except BaseException:
            self._used_at = noted | self._used_at
            raise
