"""Writing the prepared rows of the demo workspace. Knows no content."""

from dataclasses import dataclass, field

from sqlalchemy import insert

from app.db.core.database import WriteSession
from app.db.core.types import ColumnValues
from app.db.models import Account, Attempt, Destination, Post, PublishEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRows:
    """What belongs to a workspace, table by table."""

    accounts: list[ColumnValues] = field(default_factory=list)
    posts: list[ColumnValues] = field(default_factory=list)
    destinations: list[ColumnValues] = field(default_factory=list)
    attempts: list[ColumnValues] = field(default_factory=list)
    evidence: list[ColumnValues] = field(default_factory=list)


async def insert_demo_rows(session: WriteSession, rows: DemoRows) -> None:
    """Write all rows, one statement a table."""
    for model, of_model in (
        (Account, rows.accounts),
        (Post, rows.posts),
        (Destination, rows.destinations),
        (Attempt, rows.attempts),
        (PublishEvidence, rows.evidence),
    ):
        await session.execute(insert(model), of_model)
