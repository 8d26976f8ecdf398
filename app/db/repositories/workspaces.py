"""Workspaces, their account counters, and the deployment row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Insert, bindparam, func, select, update

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import AllWorkspacesStatement, AnyRow
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_with_on_conflict
from app.db.models import Deployment, Workspace
from app.domain.ids import MAX_ACCOUNT_ID, AccountId, WorkspaceId, WorkspaceKind


async def insert_workspace(
    session: WriteSession,
    *,
    name: str,
    kind: WorkspaceKind,
    mirror_of: str | None,
    next_account_id: int = 1,
    now: datetime,
) -> bool:
    """Insert the workspace of the session; return False, and change nothing, if its id or name exists."""
    inserted = await session.first(
        _insert_statement(is_sqlite=session.is_sqlite),
        name=name,
        kind=kind,
        mirror_of=mirror_of,
        event_seq=0,
        next_account_id=next_account_id,
        created_at=now,
    )
    return inserted is not None


@cache
def _insert_statement(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(Workspace, is_sqlite=is_sqlite)
    return insert.on_conflict_do_nothing().returning(Workspace.id)


async def lock_workspace(session: WriteSession) -> bool:
    """Lock the workspace until the transaction ends; return whether it exists."""
    return await session.first(_LOCK) is not None


_LOCK = select(Workspace.id).with_for_update()


@dataclass(frozen=True, slots=True)
class WorkspaceRef:
    id: WorkspaceId
    kind: WorkspaceKind


async def find_workspace_by_name(reader: AllWorkspacesReader, name: str) -> WorkspaceRef | None:
    row = await reader.first(_BY_NAME, name=name)
    return None if row is None else WorkspaceRef(WorkspaceId(row.id), row.kind)


_BY_NAME = AllWorkspacesStatement(
    select(Workspace.id, Workspace.kind).where(Workspace.name == bindparam("name")),
    reason="a name selects the workspace",
)


async def reserve_account_ids(session: WriteSession, *, highest_id: AccountId) -> None:
    """Advance the account counter past `highest_id`, and lock it until the transaction ends."""
    await session.rows(_RESERVE_ACCOUNT_IDS, highest_id=highest_id)


_RESERVE_ACCOUNT_IDS = (
    update(Workspace)
    .where(Workspace.next_account_id <= bindparam("highest_id"))
    .values(next_account_id=bindparam("highest_id") + 1)
)


async def allocate_account_id(session: WriteSession) -> AccountId | None:
    """Return the next account id, or None if none is left; locks the counter until the transaction ends.

    MAX_ACCOUNT_ID is never returned, because the counter could not advance past it.
    """
    row = await session.first(_ALLOCATE_ACCOUNT_ID)
    return None if row is None else AccountId(row.next_account_id - 1)


_ALLOCATE_ACCOUNT_ID = (
    update(Workspace)
    .where(Workspace.next_account_id < MAX_ACCOUNT_ID)
    .values(next_account_id=Workspace.next_account_id + 1)
    .returning(Workspace.next_account_id)
)


async def count_workspaces(session: AllWorkspacesWriteSession, *, excluded_id: WorkspaceId) -> int:
    ((count,),) = await session.rows(_COUNT, excluded_id=excluded_id)
    return int(count)


_COUNT = AllWorkspacesStatement(
    select(func.count()).select_from(Workspace).where(Workspace.id != bindparam("excluded_id")),
    reason="the first start looks for any workspace",
)


async def list_workspaces(reader: AllWorkspacesReader) -> Sequence[AnyRow]:
    return await reader.rows(_ALL_WORKSPACES)


_ALL_WORKSPACES = AllWorkspacesStatement(
    select(
        Workspace.id, Workspace.name, Workspace.kind, Workspace.mirror_of, Workspace.created_at
    ).order_by(Workspace.created_at, Workspace.id),
    reason="the operator and maintenance list all workspaces",
)


async def load_deployment_key(reader: AllWorkspacesReader) -> bytes:
    ((key,),) = await reader.rows(_DEPLOYMENT_KEY)
    return bytes(key)


_DEPLOYMENT_KEY = AllWorkspacesStatement(
    select(Deployment.secret_key), reason="the key belongs to the installation"
)


async def read_database_time(reader: AllWorkspacesReader) -> datetime:
    """Return the time of PostgreSQL's own clock."""
    ((now,),) = await reader.rows(_DATABASE_TIME)
    assert isinstance(now, datetime)  # noqa: S101 - as asyncpg returns it
    return now


_DATABASE_TIME = AllWorkspacesStatement(select(func.clock_timestamp()), reason="reads no table")
