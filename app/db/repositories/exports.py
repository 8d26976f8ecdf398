"""Reads all destinations that match a filter as a stream, newest first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import and_, select

from app.db.core.conditions import unindexed
from app.db.core.database import Database, Reader
from app.db.core.row_streams import RowStream, open_row_stream
from app.db.core.statements import Statement
from app.db.core.types import ColumnValues
from app.db.models import Account, Destination, Post
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.destinations import select_matching
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
    statement, values = await select_stream(database.reader(workspace_id), criteria, now)
    async with open_row_stream(database, workspace_id, statement, values) as stream:
        yield stream


async def select_stream(
    reader: Reader, criteria: DestinationCriteria, now: datetime
) -> tuple[Statement, ColumnValues]:
    """Return the statement of a stream, and the values of its parameters."""
    statement, values = await select_matching(reader, _SELECT, criteria, now)
    return Statement(statement), values
