"""Copying all rows of one database into an empty one, of either engine. Makes no tables."""

from collections.abc import Sequence

from sqlalchemy import Row, Table, delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database, WriteSession
from app.db.models import Base, Deployment

_BATCH_ROWS = 1000


class TargetNotEmpty(Exception):
    """A copy goes into a database without data only; the message names a table with rows."""


async def copy_database(source: Database, target: Database) -> dict[str, int]:
    """Copy every row as of one instant, in one transaction of the target; the rows per table.

    Both must be at this code's version. The target becomes the same installation as the source:
    its own `deployment` row is replaced. TargetNotEmpty, and nothing changed, if it has data.
    """
    async with source.snapshot() as connection:

        async def work(session: WriteSession) -> dict[str, int]:
            await _require_empty(session)
            await session.execute(delete(Deployment))
            return {
                table.name: await _copy_table(table, connection, session)
                for table in Base.metadata.sorted_tables
            }

        return await target.write(work)


async def _require_empty(session: WriteSession) -> None:
    for table in Base.metadata.sorted_tables:
        if table is not Deployment.__table__ and await session.scalar(
            select(exists().select_from(table))
        ):
            raise TargetNotEmpty(
                f"The database already has rows in {table.name}; nothing was copied."
            )


async def _copy_table(table: Table, source: AsyncConnection, target: WriteSession) -> int:
    copied = 0
    result = await source.stream(select(table))
    async for rows in result.partitions(_BATCH_ROWS):
        await target.execute(insert(table), _row_dicts(rows))
        copied += len(rows)
    return copied


def _row_dicts(rows: Sequence[Row[*tuple[object, ...]]]) -> list[dict[str, object]]:
    return [dict(row._mapping) for row in rows]
