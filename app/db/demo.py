"""Writing the demo workspace: its prepared rows, and the one key that opens it. Knows no content."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from app.db.engine import WriteSession
from app.db.models import Account, ApiKey, Attempt, Destination, Post, PublishEvidence, Workspace
from app.domain.api_keys import NewKey, Scope
from app.domain.ids import ApiKeyId, WorkspaceId

Row: TypeAlias = dict[str, object]
"""A value for every column of a table, by the column's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRows:
    """What belongs to a workspace, table by table."""

    accounts: list[Row] = field(default_factory=list)
    posts: list[Row] = field(default_factory=list)
    destinations: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    evidence: list[Row] = field(default_factory=list)


async def insert_demo(session: WriteSession, rows: DemoRows) -> None:
    """Write all rows, one statement a table."""
    for model, of_model in (
        (Account, rows.accounts),
        (Post, rows.posts),
        (Destination, rows.destinations),
        (Attempt, rows.attempts),
        (PublishEvidence, rows.evidence),
    ):
        await session.execute(insert(model), of_model)


async def lock_workspace(session: WriteSession, workspace_id: WorkspaceId) -> bool:
    """Whether it exists; until the transaction ends, other calls wait here."""
    found = await session.scalar(
        select(Workspace.id).where(Workspace.id == workspace_id).with_for_update()
    )
    return found is not None


async def put_key(
    session: WriteSession,
    workspace_id: WorkspaceId,
    key_id: ApiKeyId,
    key: NewKey,
    *,
    name: str,
    scopes: Sequence[Scope],
    now: datetime,
) -> bool:
    """Make the key work in the workspace, new or known; False where it is another workspace's."""
    insert_key = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    working = {
        "name": name,
        "scopes": [scope.value for scope in scopes],
        "expires_at": None,
        "revoked_at": None,
    }
    put = await session.execute(
        insert_key(ApiKey)
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


async def revoke_other_keys(
    session: WriteSession, workspace_id: WorkspaceId, key: NewKey, *, name: str, now: datetime
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
