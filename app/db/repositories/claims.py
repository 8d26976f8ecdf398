"""Queries of the job queue: claimable destinations, unknown outcomes, and expired leases."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    ScalarSelect,
    bindparam,
    false,
    func,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.projections import cached_statement
from app.db.core.statements import AnyRow, Statement
from app.db.models import POST_JOIN, Destination, Post, Workspace
from app.domain.ids import DestinationId, PostId, WorkspaceId, WorkspaceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSearch:
    """Search for local workspaces with work, which starts at a random one so that none is always last."""

    platforms: Sequence[str] | None
    """Platforms of the work; None for all."""
    workspace_id: WorkspaceId | None
    """The only workspace that is searched; None for all."""
    rotation_start: WorkspaceId
    limit: int
    """Maximum number of workspaces."""


async def workspaces_with_due_destinations(
    reader: AllWorkspacesReader, now: datetime, search: WorkspaceSearch
) -> list[WorkspaceId]:
    """Return workspaces with claimable destinations.

    Costs one index lookup for each workspace and platform.
    """
    return await _find_workspaces(reader, _has_due, now, search)


async def workspaces_with_unknown_outcomes(
    reader: AllWorkspacesReader, now: datetime, search: WorkspaceSearch
) -> list[WorkspaceId]:
    """Return workspaces with unknown outcomes to verify."""
    return await _find_workspaces(reader, _has_unknown, now, search)


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
    reader: AllWorkspacesReader, now: datetime, *, limit: int
) -> Sequence[AnyRow]:
    """Return workspace and post of expired leases in all workspaces.

    Served by ix_destination_leased, which contains only leased destinations.
    """
    return await reader.rows(_EXPIRED_LEASES, now=now, limit=limit)


_EXPIRED_LEASES = Statement(
    select(Destination.workspace_id, Destination.post_id)
    .where(Destination.lease_token.is_not(None), Destination.lease_expires_at <= bindparam("now"))
    .limit(bindparam("limit"))
)


async def _find_workspaces(
    reader: AllWorkspacesReader, condition: "_Condition", now: datetime, search: WorkspaceSearch
) -> list[WorkspaceId]:
    platforms = search.platforms
    values: dict[str, object] = {"now": now}
    if platforms is not None:
        values |= {_platform_param(index): name for index, name in enumerate(platforms)}
    ranges: Sequence[tuple[_Comparison, WorkspaceId]] = (
        [(operator.ge, search.rotation_start), (operator.lt, search.rotation_start)]
        if search.workspace_id is None
        else [(operator.eq, search.workspace_id)]
    )
    found: list[WorkspaceId] = []
    for comparison, bound in ranges:
        if len(found) < search.limit:
            statement = _select_workspaces(
                condition, comparison, None if platforms is None else len(platforms)
            )
            limit = search.limit - len(found)
            rows = await reader.rows(statement, bound=bound, limit=limit, **values)
            found += [WorkspaceId(row.id) for row in rows]
    return found


@cached_statement()
def _select_workspaces(
    condition: "_Condition", comparison: "_Comparison", platform_count: int | None
) -> Statement:
    platforms: list[BindParameter[str]] | None = None
    if platform_count is not None:
        platforms = [bindparam(_platform_param(index)) for index in range(platform_count)]
    return Statement(
        select(Workspace.id)
        .where(
            comparison(Workspace.id, bindparam("bound")),
            Workspace.kind == WorkspaceKind.LOCAL,
            condition(platforms),
        )
        .order_by(Workspace.id)
        .limit(bindparam("limit"))
    )


def _platform_param(index: int) -> str:
    return f"platform_{index}"


_Comparison: TypeAlias = Callable[[Any, Any], Any]
"""Function of the module `operator`."""

_Condition: TypeAlias = Callable[[Sequence[BindParameter[str]] | None], ColumnElement[bool]]
"""Function that builds a condition of the outer query's workspace, for some platforms or for all."""


def _has_due(platforms: Sequence[BindParameter[str]] | None) -> ColumnElement[bool]:
    if platforms is None:
        return _earliest(Destination.claimable_at) <= bindparam("now")
    by_platform = (
        _earliest(Destination.claimable_at, Destination.platform == platform) <= bindparam("now")
        for platform in platforms
    )
    return or_(false(), *by_platform)


def _has_unknown(platforms: Sequence[BindParameter[str]] | None) -> ColumnElement[bool]:
    conditions = () if platforms is None else (Destination.platform.in_(platforms),)
    return _earliest(Destination.verifiable_at, *conditions) <= bindparam("now")


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
