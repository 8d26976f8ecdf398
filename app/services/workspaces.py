"""Workspaces: created by the operator, and the first one at the first start."""

from datetime import datetime
from uuid import UUID

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories import api_keys, workspaces
from app.domain.api_keys import Scope, make_key
from app.domain.ids import DEMO_WORKSPACE_ID, ApiKeyId, WorkspaceId, WorkspaceKind
from app.services.api_keys import RandomBytes
from app.settings import Settings

_FIRST_WORKSPACE_NAME = "default"
_FIRST_KEY_SCOPES = (Scope.READ, Scope.WRITE, Scope.PUBLISH, Scope.ADMIN)


async def create_workspace(
    database: Database,
    *,
    name: str,
    mirror_of: str | None,
    now: datetime,
    random_bytes: RandomBytes,
) -> WorkspaceId | None:
    """Create a workspace, a mirror if `mirror_of` is a URL; returns None if the name is taken."""
    workspace_id = WorkspaceId(_random_uuid(random_bytes))
    is_created = await database.write(
        workspace_id,
        lambda session: workspaces.insert_workspace(
            session,
            name=name,
            kind=WorkspaceKind.LOCAL if mirror_of is None else WorkspaceKind.MIRROR,
            mirror_of=mirror_of,
            now=now,
        ),
    )
    return workspace_id if is_created else None


async def create_first_workspace(
    database: Database, *, key_prefix: str, now: datetime, random_bytes: RandomBytes
) -> str | None:
    """Create a workspace with a key, unless one besides the demo's exists; return the key's token.

    Of several processes that start together only one succeeds, because workspace names are unique.
    """
    workspace_id = WorkspaceId(_random_uuid(random_bytes))
    key_id = ApiKeyId(_random_uuid(random_bytes))
    key = make_key(key_prefix, random_bytes)

    async def work(session: AllWorkspacesWriteSession) -> bool:
        if await workspaces.count_workspaces(session, excluded_id=DEMO_WORKSPACE_ID):
            return False
        new_session = session.in_workspace(workspace_id)
        if not await workspaces.insert_workspace(
            new_session,
            name=_FIRST_WORKSPACE_NAME,
            kind=WorkspaceKind.LOCAL,
            mirror_of=None,
            now=now,
        ):
            return False
        await api_keys.upsert_key(
            new_session,
            key_id,
            key,
            name="first key",
            scopes=_FIRST_KEY_SCOPES,
            expires_at=None,
            now=now,
        )
        return True

    return key.token if await database.write_all_workspaces(work) else None


def _random_uuid(random_bytes: RandomBytes) -> UUID:
    return UUID(bytes=random_bytes(16), version=4)


async def load_signing_key(settings: Settings, database: Database) -> bytes:
    """Return the key of cursors and lease tokens: SECRET_KEY, or the one of the deployment."""
    if settings.secret_key is not None:
        return settings.secret_key.encode()
    return await workspaces.load_deployment_key(database.all_workspaces)
