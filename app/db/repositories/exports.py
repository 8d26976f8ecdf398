"""Reads all destinations that match a filter as a stream, newest first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import and_, select

from app.db.core.conditions import unindexed
from app.db.core.database import Database
from app.db.core.row_streams import RowStream, open_row_stream
from app.db.core.statements import Statement
from app.db.models import Account, Destination, Post
from app.db.repositories.destinations import DestinationCriteria, stream_conditions
from app.domain.ids import WorkspaceId

_SELECT = (
    select(
        Destination.account_id,
        Account.account_name,
        Account.display_name,
        Account.platform_username,
        Destination.platform,
        Destination.status,
        Destination.published_at,
        Destination.platform_post_id,
        Destination.platform_post_url,
        Destination.error,
        Destination.attempts,
        Destination.next_retry_at,
        Destination.id,
        Destination.post_id,
        Post.reference,
        Destination.due_at,
        Destination.outcome,
        Destination.error_category,
        Destination.error_code,
        Destination.lateness_ms,
    )
    .select_from(Destination)
    .join(
        Post,
        and_(
            Post.workspace_id == Destination.workspace_id, Post.id == unindexed(Destination.post_id)
        ),
    )
    .join(
        Account,
        and_(
            Account.workspace_id == Destination.workspace_id,
            Account.id == unindexed(Destination.account_id),
        ),
    )
    .where(Post.deleted_at.is_(None))
    .order_by(Destination.created_at.desc(), Destination.id.desc())
)
"""Destinations with the columns of their post and account that an export needs.

The joins make SQLite read destinations first, in the order of an index that begins with the workspace, or
with a filter by one value.
"""


@asynccontextmanager
async def open_destination_stream(
    database: Database, workspace_id: WorkspaceId, criteria: DestinationCriteria, now: datetime
) -> AsyncIterator[RowStream]:
    """Open a stream of the matching destinations whose post is not deleted; `now` decides what is overdue."""
    reader = database.reader(workspace_id)
    conditions, values = await stream_conditions(reader, criteria, now)
    statement = Statement(_SELECT.where(*conditions))
    async with open_row_stream(database, workspace_id, statement, values) as stream:
        yield stream
