"""Queries of the job queue: claimable destinations, unknown outcomes, and expired leases."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AnyRow, Statement
from app.db.models import POST_JOIN, Destination, Post, Workspace
from app.domain.ids import DestinationId, PostId, WorkspaceId, WorkspaceKind


async def workspaces_with_due_destinations(
    connection: AsyncConnection,
    now: datetime,
    *,
    platforms: Sequence[str] | None,
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
    """Return workspaces with claimable destinations, rotating from `rotation_start`.

    Costs one index lookup for each workspace and platform.
    """
    if platforms is None:
        is_due: ColumnElement[bool] = _earliest(Destination.claimable_at) <= now
    else:
        by_platform = (
            _earliest(Destination.claimable_at, Destination.platform == platform)
            for platform in platforms
        )
        is_due = or_(false(), *(earliest <= now for earliest in by_platform))
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
    """Return workspaces with unknown outcomes to verify, rotating from `rotation_start`."""
    conditions = () if platforms is None else (Destination.platform.in_(platforms),)
    is_unknown = _earliest(Destination.verifiable_at, *conditions) <= now
    return await _wrap_around(connection, is_unknown, workspace_id, rotation_start, limit)


async def lock_due_destinations(
    reader: Reader, now: datetime, *, platform: str | None, limit: int
) -> list[tuple[PostId, DestinationId]]:
    """Lock claimable destinations with their posts until the transaction ends, earliest due first.

    Skips rows that another transaction has locked. Served by ix_destination_claimable, or with a platform
    by ix_destination_claimable_platform.
    """
    return await _lock_destinations(reader, "claimable_at", now, platform, limit)


async def lock_unknown_outcomes(
    reader: Reader, now: datetime, *, platform: str | None, limit: int
) -> list[tuple[PostId, DestinationId]]:
    """Lock destinations with unknown outcomes like `lock_due_destinations`, longest unknown first.

    Served by ix_destination_verifiable. Unknown outcomes are few, so the platform needs no index.
    """
    return await _lock_destinations(reader, "verifiable_at", now, platform, limit)


async def expired_leases(
    connection: AsyncConnection, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Return workspace and post of expired leases in all workspaces.

    Served by ix_destination_leased, which contains only leased destinations.
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
    """Select the earliest time in the outer query's workspace: one lookup in its index."""
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
    """Return local workspaces that match, starting at `rotation_start` so that none is always last.

    With `workspace_id`, only that workspace is considered.
    """
    ranges = (Workspace.id >= rotation_start, Workspace.id < rotation_start)
    workspace_ids: list[WorkspaceId] = []
    for id_range in ranges if workspace_id is None else (Workspace.id == workspace_id,):
        if len(workspace_ids) < limit:
            ids = await connection.scalars(
                select(Workspace.id)
                .where(id_range, Workspace.kind == WorkspaceKind.LOCAL, condition)
                .order_by(Workspace.id)
                .limit(limit - len(workspace_ids))
            )
            workspace_ids += map(WorkspaceId, ids)
    return workspace_ids


async def _lock_destinations(
    reader: Reader, time_column: str, now: datetime, platform: str | None, limit: int
) -> list[tuple[PostId, DestinationId]]:
    values: dict[str, object] = {"now": now, "limit": limit}
    if platform is not None:
        values["platform"] = platform
    statement = _select_lockable(time_column, of_platform=platform is not None)
    rows = await reader.rows(statement, **values)
    return [(PostId(row.post_id), DestinationId(row.id)) for row in rows]


@cached_statement()
def _select_lockable(time_column: str, *, of_platform: bool) -> Statement:
    column = getattr(Destination, time_column)
    conditions = (Destination.platform == bindparam("platform"),) if of_platform else ()
    return Statement(
        select(Destination.post_id, Destination.id)
        .join(Post, POST_JOIN)
        .where(column <= bindparam("now"), *conditions)
        .order_by(column, Destination.id)
        .limit(bindparam("limit"))
        # Locks both: locking destinations first and posts later deadlocks with writers that lock the post.
        .with_for_update(of=[Post, Destination], skip_locked=True)
    )
