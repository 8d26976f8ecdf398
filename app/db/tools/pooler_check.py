"""Check that reads and writes work through the pooler of DATABASE_URL."""

from sqlalchemy import func, select

from app.db.core.database import Database
from app.db.core.statements import AllWorkspacesStatement, Record
from app.db.core.write_session import AllWorkspacesWriteSession
from app.settings import SettingsError

_DATABASE = (func.pg_postmaster_start_time(), func.current_database())
_SELECT_DATABASE = select(*_DATABASE)
_DATABASE_AND_MODE = AllWorkspacesStatement(
    select(*_DATABASE, func.current_setting("transaction_read_only")), reason="reads no table"
)


async def check_pooler(database: Database) -> None:
    """Run a read and a write through the pooler, if there is one.

    Raises SettingsError if it leads to another database or ignores the settings of a transaction, and
    ServiceUnavailable if it refuses a statement or does not respond.
    """
    if not database.has_pooler:
        return
    async with database.read_connection() as connection:
        direct = tuple((await connection.execute(_SELECT_DATABASE)).one())
    read = tuple(await database.all_workspaces.first(_DATABASE_AND_MODE) or ())
    record = await database.write_all_workspaces(_select_in_write)
    written = tuple(record or ())
    if read[:-1] != direct or written[:-1] != direct:
        raise SettingsError(
            "DATABASE_URL and DATABASE_DIRECT_URL must lead to the same database of the same server."
        )
    if (read[-1], written[-1]) != ("on", "off"):
        raise SettingsError(
            "The pooler of DATABASE_URL must run all messages up to a Sync message in one transaction, as"
            " PgBouncer does: otherwise statements have no time limit."
        )


async def _select_in_write(session: AllWorkspacesWriteSession) -> Record | None:
    return await session.first(_DATABASE_AND_MODE)
