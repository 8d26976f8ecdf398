"""Overdue destinations: the condition in SQL, and their number."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select

from app.db.core.database import AllWorkspacesReader
from app.db.core.statements import Statement
from app.db.core.types import UtcDateTime
from app.db.models import Destination, Workspace
from app.domain.destinations import OVERDUE_AFTER

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


async def count_overdue(reader: AllWorkspacesReader, now: datetime) -> int:
    """Count overdue destinations in all workspaces, by one index lookup for each workspace."""
    row = await reader.first(_COUNT_OVERDUE, cutoff=now - OVERDUE_AFTER)
    return int(row[0] or 0) if row else 0


_COUNT_OVERDUE = Statement(
    select(
        func.sum(
            select(func.count())
            .select_from(Destination)
            .where(
                Destination.workspace_id == Workspace.id,
                overdue_condition(_CUTOFF),
            )
            .correlate(Workspace)
            .scalar_subquery()
        )
    ).select_from(Workspace)
)
