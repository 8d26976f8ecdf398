"""Queries of the job queue: claimable destinations, unknown outcomes, and expired leases."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AnyRow, Statement
from app.db.models import POST_JOIN, Destination, Post, Workspace
from app.domain.ids import DestinationId, PostId, WorkspaceId, WorkspaceKind


class ClaimTime(StrEnum):
    """Column with the time from which a destination can be claimed."""

    CLAIMABLE = "claimable_at"
    """To publish it."""
    VERIFIABLE = "verifiable_at"
    """To verify its unknown outcome."""


async def workspaces_to_claim_from(
    connection: AsyncConnection,
    claim_time: ClaimTime,
    now: datetime,
    *,
    platforms: Sequence[str] | None,
    workspace_id: WorkspaceId | None,
    rotation_start: WorkspaceId,
    limit: int,
) -> list[WorkspaceId]:
    """Return local workspaces with destinations to claim, from `rotation_start` so that none is always last.

    With `workspace_id`, only that workspace is considered. Costs one index lookup for each workspace and
    platform.
    """
    column = getattr(Destination, claim_time)
    conditions = [()] if platforms is None else [(Destination.platform == p,) for p in platforms]
    can_claim = or_(false(), *(_earliest(column, *condition) <= now for condition in conditions))
    ranges = (Workspace.id >= rotation_start, Workspace.id < rotation_start)
    workspace_ids: list[WorkspaceId] = []
    for id_range in ranges if workspace_id is None else (Workspace.id == workspace_id,):
        if len(workspace_ids) < limit:
            ids = await connection.scalars(
                select(Workspace.id)
                .where(id_range, Workspace.kind == WorkspaceKind.LOCAL, can_claim)
                .order_by(Workspace.id)
                .limit(limit - len(workspace_ids))
            )
            workspace_ids += map(WorkspaceId, ids)
    return workspace_ids


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


async def lock_destinations(
    reader: Reader, claim_time: ClaimTime, now: datetime, *, platform: str | None, limit: int
) -> list[tuple[PostId, DestinationId]]:
    """Lock destinations to claim with their posts until the transaction ends, the earliest time first.

    Skips rows that another transaction has locked. Served by ix_destination_claimable, with a platform by
    ix_destination_claimable_platform, and by ix_destination_verifiable: unknown outcomes are few, so the
    platform needs no index.
    """
    values: dict[str, object] = {"now": now, "limit": limit}
    if platform is not None:
        values["platform"] = platform
    statement = _select_lockable(claim_time, of_platform=platform is not None)
    rows = await reader.rows(statement, **values)
    return [(PostId(row.post_id), DestinationId(row.id)) for row in rows]


@cached_statement()
def _select_lockable(claim_time: ClaimTime, *, of_platform: bool) -> Statement:
    column = getattr(Destination, claim_time)
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
