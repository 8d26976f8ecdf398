"""Copy of all rows from one database to an empty one, also between engines."""

from sqlalchemy import Table, delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database
from app.db.models import Base, Deployment, Session

_BATCH_ROWS = 1000


class TargetNotEmpty(Exception):
    """Target of a copy that has data; the message names a table with rows."""


async def copy_database(source: Database, target: Database) -> dict[str, int]:
    """Copy a snapshot of all rows in one transaction of the target; return the number of rows per table.

    Sessions are left out, so that a restored database has none that was ended later. Both databases must be
    at this code's version. The source's `deployment` row replaces that of the
    target. Raises TargetNotEmpty, and changes nothing, if the target has data.
    """
    # A schema transaction, because it may wait for reads of the source between its statements.
    async with source.snapshot() as reader, target.schema_transaction() as writer:
        await _require_empty(writer)
        await writer.execute(delete(Deployment))
        return {
            table.name: await _copy_table(table, reader, writer)
            for table in Base.metadata.sorted_tables
            if table is not Session.__table__
        }


async def _require_empty(connection: AsyncConnection) -> None:
    for table in Base.metadata.sorted_tables:
        if table is not Deployment.__table__ and await connection.scalar(
            select(exists().select_from(table))
        ):
            raise TargetNotEmpty(
                f"The target database already has rows in {table.name}; nothing was copied. Use an"
                " empty database."
            )


async def _copy_table(table: Table, source: AsyncConnection, target: AsyncConnection) -> int:
    copied = 0
    result = await source.stream(select(table))
    async for rows in result.partitions(_BATCH_ROWS):
        await target.execute(insert(table), [dict(row._mapping) for row in rows])
        copied += len(rows)
    return copied
