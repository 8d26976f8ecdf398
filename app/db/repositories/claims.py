"""Finding what publishers may take, and what they have lost. What becomes of it is decided elsewhere."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import Reader
from app.db.core.statements import AnyRow
from app.db.models import POST_JOIN, Destination, Post, Workspace
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.workspaces import WorkspaceKind


async def workspaces_with_due_destinations(
    connection: AsyncConnection,
    now: datetime,
    *,
    platforms: Sequence[str] | None,
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
    """Those in which something may be claimed, from one on and then around, one look into each."""
    if platforms is None:
        is_due: ColumnElement[bool] = _earliest(Destination.claimable_at) <= now
    else:
        of_each = (
            _earliest(Destination.claimable_at, Destination.platform == each) for each in platforms
        )
        is_due = or_(false(), *(earliest <= now for earliest in of_each))
    return await _wrap_around(connection, is_due, workspace_id, rotation_start, limit)


async def workspaces_with_unknown_outcomes(
    connection: AsyncConnection,
    now: datetime,
    *,
    platforms: Sequence[str] | None,
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
    """Those in which an unknown outcome may be verified, from one on and then around."""
    wanted = () if platforms is None else (Destination.platform.in_(platforms),)
    is_unknown = _earliest(Destination.verifiable_at, *wanted) <= now
    return await _wrap_around(connection, is_unknown, workspace_id, rotation_start, limit)


async def lock_due_destinations(
    reader: Reader, now: datetime, *, platform: str | None, limit: int
) -> list[tuple[PostId, DestinationId]]:
    """What may be claimed, the longest due first; nobody else changes it or its post until the end.

    What somebody else is changing is passed over. Served by ix_destination_claimable, or by that of
    the platform.
    """
    return await _lock_destinations(reader, Destination.claimable_at, now, platform, limit)


async def lock_unknown_outcomes(
    reader: Reader, now: datetime, *, platform: str | None, limit: int
) -> list[tuple[PostId, DestinationId]]:
    """What may be verified, the longest unknown first; as with `lock_due`.

    Served by ix_destination_verifiable: so few are unknown that those of other platforms are passed over.
    """
    return await _lock_destinations(reader, Destination.verifiable_at, now, platform, limit)


async def expired_leases(
    connection: AsyncConnection, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Workspace and post of leases that have ended, over all workspaces.

    Served by ix_destination_leased, which has only what somebody holds.
    """
    result = await connection.execute(
        select(Destination.workspace_id, Destination.post_id)
        .where(Destination.lease_token.is_not(None), Destination.lease_expires_at <= now)
        .limit(limit)
    )
    return result.all()


def _earliest(
    column: InstrumentedAttribute[datetime | None], *conditions: ColumnElement[bool]
) -> ScalarSelect[datetime | None]:
    """Of the workspace that the statement is at: one look into the index that begins with it."""
    return (
        select(func.min(column))
        .where(Destination.workspace_id == Workspace.id, column.is_not(None), *conditions)
        .correlate(Workspace)
        .scalar_subquery()
    )


async def _wrap_around(
    connection: AsyncConnection,
    condition: ColumnElement[bool],
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
    """From one on and then around, so that none is always the last; `only` one if that is given."""
    around = (Workspace.id >= rotation_start, Workspace.id < rotation_start)
    found: list[WorkspaceId] = []
    for part in around if workspace_id is None else (Workspace.id == workspace_id,):
        if len(found) < limit:
            rows = await connection.scalars(
                select(Workspace.id)
                .where(part, Workspace.kind == WorkspaceKind.LOCAL, condition)
                .order_by(Workspace.id)
                .limit(limit - len(found))
            )
            found += [WorkspaceId(each) for each in rows]
    return found


async def _lock_destinations(
    reader: Reader,
    column: InstrumentedAttribute[datetime | None],
    now: datetime,
    platform: str | None,
    limit: int,
) -> list[tuple[PostId, DestinationId]]:
    wanted = () if platform is None else (Destination.platform == platform,)
    rows = await reader.rows(
        select(Destination.post_id, Destination.id)
        .join(Post, POST_JOIN)
        .where(column <= now, *wanted)
        .order_by(column, Destination.id)
        .limit(limit)
        # Both, for whoever locks destinations alone and posts later meets others that do it the other way.
        .with_for_update(of=[Post, Destination], skip_locked=True)
    )
    return [(PostId(row.post_id), DestinationId(row.id)) for row in rows]
