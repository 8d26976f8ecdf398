"""Overdue destinations: the condition in SQL, and the backlog of all workspaces."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
)

from app.db.core.conditions import AnyColumn, unindexed
from app.db.core.database import AllWorkspacesReader
from app.db.core.projections import cached_statement
from app.db.core.statements import Statement
from app.db.core.types import UtcDateTime
from app.db.models import Destination, Workspace
from app.domain.destinations import MAX_BACKLOG, OVERDUE_AFTER, Backlog

_CUTOFF = bindparam("cutoff", type_=UtcDateTime())


def overdue_condition(cutoff: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return `domain.destinations.is_overdue` in SQL. Served by ix_destination_claimable and _leased."""
    return or_(
        and_(
            Destination.claimable_at.is_not(None),
            Destination.claimable_at <= cutoff,
            Destination.round_started_at.is_not(None),
            Destination.round_started_at <= cutoff,
        ),
        and_(
            Destination.lease_token.is_not(None),
            Destination.started_at.is_not(None),
            Destination.lease_expires_at <= cutoff,
        ),
    )


async def read_backlog(reader: AllWorkspacesReader, now: datetime) -> Backlog:
    """Read what waits for publishers in all workspaces, by three index lookups for each workspace.

    The time is limited: while very many destinations are retried by hand, some overdue ones may be missed.
    """
    row = await reader.first(
        _select_backlog(is_sqlite=reader.is_sqlite), now=now, cutoff=now - OVERDUE_AFTER
    )
    if row is None:
        raise ValueError("an aggregate without GROUP BY always has one row")
    starts = [start for start in (row.waiting_since, row.running_since) if start is not None]
    return Backlog(
        due=row.due,
        overdue=min(row.waiting + row.running, MAX_BACKLOG),
        oldest_overdue_since=min(starts, default=None),
    )


_WAITING_SINCE = case(
    (Destination.claimable_at > Destination.round_started_at, Destination.claimable_at),
    else_=Destination.round_started_at,
)
_MAX_RETRIED = 1000
"""Manual retries of the last minutes that are skipped to find the oldest overdue destination of a workspace."""


@cached_statement()
def _select_backlog(*, is_sqlite: bool) -> Statement:
    """Select the numbers and the earliest start of claimable destinations and of expired leases.

    Served by ix_destination_claimable and ix_destination_leased.
    """
    due = _claimable_rows(bindparam("now", type_=UtcDateTime()), is_sqlite=is_sqlite)
    waiting = _claimable_rows(_CUTOFF, Destination.round_started_at, is_sqlite=is_sqlite)
    running = (
        select(Destination.lease_expires_at)
        .where(
            Destination.lease_token.is_not(None),
            Destination.started_at.is_not(None),
            Destination.lease_expires_at <= _CUTOFF,
        )
        .limit(MAX_BACKLOG)
        .subquery()
    )
    oldest = (
        _of_workspace(Destination.round_started_at, _WAITING_SINCE.label("since"))
        .where(Destination.claimable_at <= _CUTOFF)
        .limit(_MAX_RETRIED)
        .correlate(Workspace)
        .subquery()
    )
    oldest_of_workspace = (
        select(oldest.c.since)
        .where(oldest.c.round_started_at <= _CUTOFF)
        .limit(1)
        .scalar_subquery()
    )
    return Statement(
        select(
            select(func.count()).select_from(due).scalar_subquery().label("due"),
            select(func.count())
            .where(waiting.c.round_started_at <= _CUTOFF)
            .scalar_subquery()
            .label("waiting"),
            select(func.min(oldest_of_workspace))
            .select_from(Workspace)
            .scalar_subquery()
            .label("waiting_since"),
            func.count(running.c.lease_expires_at).label("running"),
            func.min(running.c.lease_expires_at).label("running_since"),
        )
    )


def _claimable_rows(
    until: ColumnElement[datetime], *columns: AnyColumn, is_sqlite: bool
) -> Subquery:
    """Select up to MAX_BACKLOG destinations that are claimable since `until`, workspace by workspace.

    Whatever the statistics, the planner must not read all destinations. `unindexed` prevents that on SQLite,
    LATERAL with LIMIT on PostgreSQL.
    """
    if is_sqlite:
        of_workspace = and_(
            Destination.workspace_id == unindexed(Workspace.id), Destination.claimable_at <= until
        )
        rows = select(literal(1), *columns).select_from(Workspace).join(Destination, of_workspace)
    else:
        lateral = (
            _of_workspace(literal(1), *columns)
            .where(Destination.claimable_at <= until)
            .limit(MAX_BACKLOG)
            .correlate(Workspace)
            .lateral()
        )
        rows = select(lateral).select_from(Workspace).join(lateral, true())
    return rows.limit(MAX_BACKLOG).subquery()


def _of_workspace(*columns: Any) -> Select[Any]:
    """Select destinations of the outer query's workspace, the earliest claimable first."""
    return (
        select(*columns)
        .where(Destination.workspace_id == Workspace.id)
        .order_by(Destination.claimable_at)
    )
