"""Overdue destinations: the condition in SQL, and the backlog of all workspaces."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Subquery,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.conditions import unindexed
from app.db.core.database import AllWorkspacesReader
from app.db.core.projections import cached_statement
from app.db.core.statements import AllWorkspacesStatement, AnySelect
from app.db.core.types import UtcDateTime
from app.db.models import ACCOUNT_JOIN, Account, AccountPause, Destination, Workspace
from app.db.repositories.account_filters import AWAITS_RECONNECTION
from app.db.repositories.outages import waits_for_server_after
from app.domain.accounts import LostAccessPolicy
from app.domain.destinations import MAX_DUE, MAX_OVERDUE, OVERDUE_AFTER, Backlog

_CUTOFF = bindparam("cutoff", type_=UtcDateTime())


def overdue_condition(cutoff: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return `domain.destinations.is_overdue` in SQL. Served by ix_destination_claimable and _leased."""
    return or_(
        and_(
            Destination.claimable_at.is_not(None),
            Destination.claimable_at <= cutoff,
            Destination.round_started_at.is_not(None),
            Destination.round_started_at <= cutoff,
            ~_is_paused_after(cutoff),
            ~waits_for_server_after(cutoff),
            ~_waited_for_reconnection_after(cutoff),
        ),
        and_(
            Destination.lease_token.is_not(None),
            Destination.started_at.is_not(None),
            Destination.lease_expires_at <= cutoff,
        ),
    )


def _is_paused_after(time: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return the condition that the account of a destination was paused after a time, or still is."""
    return exists().where(
        AccountPause.workspace_id == Destination.workspace_id,
        AccountPause.account_id == Destination.account_id,
        AccountPause.paused_until > time,
    )


def _waited_for_reconnection_after(time: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return the condition that a destination waited for a reconnection after a time, or still is held."""
    waited = exists().where(
        ACCOUNT_JOIN,
        or_(
            AWAITS_RECONNECTION,
            and_(Account.on_lost_access == LostAccessPolicy.WAIT, Account.connected_at > time),
            and_(Account.held_until.is_not(None), Destination.claimable_at <= Account.held_until),
        ),
    )
    return waited.correlate(Destination)


async def read_backlog(
    reader: AllWorkspacesReader,
    now: datetime,
    *,
    max_due: int = MAX_DUE,
    max_overdue: int = MAX_OVERDUE,
) -> Backlog:
    """Read what waits for publishers in all workspaces, by one index lookup for each workspace.

    The rest of the time is limited. While very many destinations are retried by hand, some overdue ones may
    be missed.
    """
    statement = _select_backlog(is_sqlite=reader.is_sqlite)
    (row,) = await reader.rows(
        statement,
        now=now,
        cutoff=now - OVERDUE_AFTER,
        max_due=max_due,
        max_overdue=max_overdue,
    )
    starts = [start for start in (row.waiting_since, row.running_since) if start is not None]
    return Backlog(
        due=row.due,
        overdue=min(row.waiting + row.running, max_overdue),
        oldest_overdue_since=min(starts, default=None),
    )


_MAX_OLDEST_WORKSPACES = 20
"""Workspaces, the earliest claimable destination first, in which the oldest overdue one is searched."""
_MAX_RECENTLY_RETRIED = 100
"""Manual retries of the last minutes that are skipped in each of them."""


@cached_statement()
def _select_backlog(*, is_sqlite: bool) -> AllWorkspacesStatement:
    """Select the numbers and the earliest start of claimable destinations and of expired leases.

    Served by ix_destination_claimable and ix_destination_leased.
    """
    now = bindparam("now", type_=UtcDateTime())
    workspaces = _select_earliest_claimable().cte("earliest").prefix_with("MATERIALIZED")
    due = _claimable_rows(
        Destination.claimable_at, workspaces, now, bindparam("max_due"), is_sqlite=is_sqlite
    )
    waiting = _claimable_rows(
        Destination.round_started_at,
        workspaces,
        _CUTOFF,
        bindparam("max_overdue"),
        ~_is_paused_after(_CUTOFF),
        ~waits_for_server_after(_CUTOFF),
        ~_waited_for_reconnection_after(_CUTOFF),
        is_sqlite=is_sqlite,
    )
    running = (
        select(Destination.lease_expires_at)
        .where(
            Destination.lease_token.is_not(None),
            Destination.started_at.is_not(None),
            Destination.lease_expires_at <= _CUTOFF,
        )
        .limit(bindparam("max_overdue"))
        .subquery()
    )
    return AllWorkspacesStatement(
        select(
            select(func.count()).select_from(due).scalar_subquery().label("due"),
            select(func.count())
            .where(waiting.c.round_started_at <= _CUTOFF)
            .scalar_subquery()
            .label("waiting"),
            _select_oldest_start(workspaces).scalar_subquery().label("waiting_since"),
            func.count(running.c.lease_expires_at).label("running"),
            func.min(running.c.lease_expires_at).label("running_since"),
        ),
        reason="metrics of the installation",
    )


def _select_earliest_claimable() -> AnySelect:
    earliest = (
        select(func.min(Destination.claimable_at))
        .where(Destination.workspace_id == Workspace.id, Destination.claimable_at.is_not(None))
        .correlate(Workspace)
        .scalar_subquery()
    )
    return select(Workspace.id, earliest.label("claimable_at"))


def _claimable_rows(
    column: InstrumentedAttribute[Any],
    workspaces: CTE,
    until: ColumnElement[datetime],
    limit: ColumnElement[int],
    *conditions: ColumnElement[bool],
    is_sqlite: bool,
) -> Subquery:
    """Select a column of destinations that are claimable since `until`, workspace by workspace.

    Whatever the statistics, the planner must not read all destinations. `unindexed` prevents that on SQLite,
    LATERAL with LIMIT on PostgreSQL.
    """
    if is_sqlite:
        rows = select(column).where(
            Destination.workspace_id == unindexed(workspaces.c.id),
            Destination.claimable_at <= until,
            *conditions,
        )
    else:
        of_workspace = (
            _select_of_workspace(workspaces, until, column)
            .where(*conditions)
            .limit(limit)
            .lateral()
        )
        rows = select(of_workspace).select_from(workspaces)
    return rows.where(workspaces.c.claimable_at <= until).limit(limit).subquery()


def _select_oldest_start(workspaces: CTE) -> AnySelect:
    """Select the time since which the oldest overdue claimable destination waits."""
    oldest_workspaces = (
        select(workspaces.c.id)
        .where(workspaces.c.claimable_at <= _CUTOFF)
        .order_by(workspaces.c.claimable_at)
        .limit(_MAX_OLDEST_WORKSPACES)
        .subquery()
    )
    oldest = (
        _select_of_workspace(
            oldest_workspaces, _CUTOFF, Destination.claimable_at, Destination.round_started_at
        )
        .where(
            ~_is_paused_after(_CUTOFF),
            ~waits_for_server_after(_CUTOFF),
            ~_waited_for_reconnection_after(_CUTOFF),
        )
        .limit(_MAX_RECENTLY_RETRIED)
        .subquery()
    )
    start = case(
        (oldest.c.claimable_at > oldest.c.round_started_at, oldest.c.claimable_at),
        else_=oldest.c.round_started_at,
    )
    first_start = (
        select(func.min(start)).where(oldest.c.round_started_at <= _CUTOFF).scalar_subquery()
    )
    return select(func.min(first_start)).select_from(oldest_workspaces)


def _select_of_workspace(
    workspaces: FromClause, until: ColumnElement[datetime], *columns: InstrumentedAttribute[Any]
) -> AnySelect:
    """Select columns of claimable destinations of the outer query's workspace, the earliest first."""
    return (
        select(*columns)
        .where(Destination.workspace_id == workspaces.c.id, Destination.claimable_at <= until)
        .order_by(Destination.claimable_at)
        .correlate(workspaces)
    )
