"""The version of the database: bringing it to this code's version, and checking that it is there.

The migrations are in `versions`; Alembic is configured here, in code. Nothing else makes tables.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, insert, inspect, select

from app.db.core.database import Database
from app.db.models import Base, Deployment

SECRET_KEY_BYTES = 32


class SchemaMismatch(Exception):
    """The database is at another version than this code; the message says what to do."""


async def migrate(
    database: Database,
    *,
    now: datetime,
    random_bytes: Callable[[int], bytes],
    version: str = "head",
) -> None:
    """Bring the database to a version, this code's own, in one transaction; several processes may try.

    Also makes the installation's one row. SchemaMismatch, and nothing changed, if a newer version
    of the code has been here, or another program.
    """
    async with database.schema_transaction() as connection:
        await connection.run_sync(_upgrade, version)
        await connection.run_sync(_describe_deployment, now, random_bytes)


async def check_schema_version(database: Database) -> None:
    """SchemaMismatch unless the database is exactly at this code's version."""
    if (file := database.missing_file()) is not None:
        raise SchemaMismatch(
            f"There is no database at {file}: correct DATABASE_URL, or run post-results migrate to"
            " make one."
        )
    async with database.unscoped_connection() as connection:
        await connection.run_sync(_require_current_version)


def _upgrade(connection: Connection, version: str) -> None:
    _refuse_unknown_versions(connection)
    if not _versions(connection):
        _refuse_tables_of_others(connection)
    config = _configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def _describe_deployment(
    connection: Connection, now: datetime, random_bytes: Callable[[int], bytes]
) -> None:
    if connection.scalar(select(Deployment.id)) is None:
        secret_key = random_bytes(SECRET_KEY_BYTES)
        connection.execute(insert(Deployment).values(id=1, secret_key=secret_key, created_at=now))


def _require_current_version(connection: Connection) -> None:
    _refuse_unknown_versions(connection)
    if _versions(connection) != tuple(_scripts().get_heads()):
        raise SchemaMismatch(
            "The database is not at the version of this server: run post-results migrate."
        )


def _refuse_unknown_versions(connection: Connection) -> None:
    for version in _versions(connection):
        try:
            _scripts().get_revision(version)
        except CommandError:
            raise SchemaMismatch(
                "This database was written by a newer version of post-results; update the server."
            ) from None


def _refuse_tables_of_others(connection: Connection) -> None:
    taken = sorted(set(inspect(connection).get_table_names()) & set(Base.metadata.tables))
    if taken:
        raise SchemaMismatch(
            f"The database has a table {taken[0]} that is not ours: give post-results a database of"
            " its own."
        )


def _versions(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


@cache
def _scripts() -> ScriptDirectory:
    """Of this code, which do not change while it runs."""
    return ScriptDirectory.from_config(_configuration())


def _configuration() -> Config:
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
