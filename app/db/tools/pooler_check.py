"""Check that reads and writes work through the pooler of DATABASE_URL."""

from sqlalchemy import func, select

from app.db.core.database import Database
from app.db.core.statements import Record, Statement
from app.db.core.write_session import WriteSession
from app.settings import SettingsError

_DATABASE = (func.pg_postmaster_start_time(), func.current_database())
_SELECT_DATABASE = select(*_DATABASE)
_SELECT_DATABASE_AND_MODE = select(*_DATABASE, func.current_setting("transaction_read_only"))
_READ = Statement(_SELECT_DATABASE_AND_MODE)


async def check_pooler(database: Database) -> None:
    """Run a read and a write through the pooler, if there is one.

    Raises SettingsError if it leads to another database or ignores the settings of a transaction, and
    ServiceUnavailable if it refuses a statement or does not respond.
    """
    if not database.has_pooler:
        return
    async with database.read_connection() as connection:
        direct = tuple((await connection.execute(_SELECT_DATABASE)).one())
    read = tuple(await database.all_workspaces.first(_READ) or ())
    record = await database.write(_select_in_write)
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


async def _select_in_write(session: WriteSession) -> Record | None:
    return await session.first(_SELECT_DATABASE_AND_MODE)
