"""Schema migrations: upgrade a database to the version of this code, and check its version.

The migrations are in `versions`; Alembic is configured here, in code.
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
from sqlalchemy import Connection, insert, inspect, select, text

from app.db.core.database import Database
from app.db.models import Base, Deployment

SECRET_KEY_BYTES = 32

_SQUASHED_VERSIONS = ("0001", "0002", "0003")
"""Versions before the initial migration that have no upgrade here."""

_LAST_SQUASHED_VERSION = "0004"
"""Version with the tables of the initial migration, apart from one column name."""


class SchemaMismatch(Exception):
    """Version of the database that differs from that of this code; the message says how to fix it."""


async def migrate(
    database: Database, *, now: datetime, random_bytes: Callable[[int], bytes]
) -> None:
    """Upgrade the database to this code's version in one transaction, and insert the deployment row.

    Several processes may call it concurrently. Raises SchemaMismatch, and changes nothing, if the
    database belongs to another program, to a newer version, or to one that is too old to upgrade.
    """
    async with database.schema_transaction() as connection:
        await connection.run_sync(_upgrade)
        await connection.run_sync(_insert_deployment, now, random_bytes)


async def check_schema_version(database: Database) -> None:
    """Raise SchemaMismatch unless the database is at this code's version."""
    if (file := database.missing_file()) is not None:
        raise SchemaMismatch(
            f"There is no database at {file}: correct DATABASE_URL, or run post-results migrate to"
            " create one."
        )
    async with database.unscoped_connection() as connection:
        await connection.run_sync(_require_current_version)


def _upgrade(connection: Connection) -> None:
    _refuse_unsupported_versions(connection)
    versions = _versions(connection)
    if not versions:
        _refuse_foreign_tables(connection)
    config = _configuration()
    config.attributes["connection"] = connection
    if _LAST_SQUASHED_VERSION in versions:
        connection.execute(text("ALTER TABLE api_key RENAME COLUMN shown_prefix TO display_prefix"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    command.upgrade(config, "head")


def _insert_deployment(
    connection: Connection, now: datetime, random_bytes: Callable[[int], bytes]
) -> None:
    if connection.scalar(select(Deployment.id)) is None:
        secret_key = random_bytes(SECRET_KEY_BYTES)
        connection.execute(insert(Deployment).values(id=1, secret_key=secret_key, created_at=now))


def _require_current_version(connection: Connection) -> None:
    _refuse_unsupported_versions(connection)
    if _versions(connection) != tuple(_scripts().get_heads()):
        raise SchemaMismatch(
            "The database is not at the version of this server: run post-results migrate."
        )


def _refuse_unsupported_versions(connection: Connection) -> None:
    for version in _versions(connection):
        if version in _SQUASHED_VERSIONS:
            raise SchemaMismatch(
                f"The database is at version {version}, which this version of post-results cannot"
                " upgrade: run post-results migrate of commit a4a5076 first."
            )
        if version == _LAST_SQUASHED_VERSION:
            continue
        try:
            _scripts().get_revision(version)
        except CommandError:
            raise SchemaMismatch(
                "This database was written by a newer version of post-results; update the server."
            ) from None


def _refuse_foreign_tables(connection: Connection) -> None:
    taken = sorted(set(inspect(connection).get_table_names()) & set(Base.metadata.tables))
    if taken:
        raise SchemaMismatch(
            f"The database has a table {taken[0]} of another program: give post-results a database of"
            " its own."
        )


def _versions(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_configuration())


def _configuration() -> Config:
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
