"""Schema migrations: create or upgrade a database to the version of this code, and check its version.

A new database gets the tables of the models. An older one is upgraded by the migrations in `versions`, by
Alembic, which is configured here, in code.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Index, Inspector, insert, inspect, select, text
from sqlalchemy.schema import CreateIndex, CreateTable

from app.db.core.database import Database
from app.db.core.sqlite import check_library, library_has_fts5
from app.db.migrations.search_index import create_search_index
from app.db.models import Base, Deployment
from app.domain.validation.post_contents import CONTENT_SCHEMA_VERSION

SECRET_KEY_BYTES = 32

_FOLDER = Path(__file__).parent
_VERSIONS = sorted(file.name.partition("_")[0] for file in (_FOLDER / "versions").glob("[0-9]*.py"))
"""Versions of this code: the numbers that begin the names of the files."""

NEWEST_VERSION = _VERSIONS[-1]

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

    A database at this version is only read. Several processes may call it concurrently. Raises
    SchemaMismatch, and changes nothing, if the database belongs to another program, to a newer version,
    or to one that is too old to upgrade, and SettingsError if the SQLite library is too old.
    """
    if database.is_sqlite:
        check_library(sqlite3.sqlite_version_info, has_fts5=library_has_fts5())
    if database.missing_file() is None:
        async with database.read_connection() as connection:
            if await connection.run_sync(_is_at_newest_version):
                return
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
    async with database.read_connection() as connection:
        await connection.run_sync(_require_newest_version)


def _upgrade(connection: Connection) -> None:
    # Most starts do not migrate, and importing Alembic takes a tenth of the time of a start.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    version = _read_version(connection)
    if version is None:
        _create_tables(connection)
        command.stamp(config, "head")
        return
    if version == _LAST_SQUASHED_VERSION:
        connection.execute(text("ALTER TABLE api_key RENAME COLUMN shown_prefix TO display_prefix"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    command.upgrade(config, "head")


def _create_tables(connection: Connection) -> None:
    """Create all tables, each with its indexes in the order of the model."""
    models = {model.__table__: model for model in Base.__subclasses__()}
    for table in Base.metadata.sorted_tables:
        connection.execute(CreateTable(table))
        for item in models[table].__table_args__:
            if isinstance(item, Index):
                connection.execute(CreateIndex(item))
    create_search_index(connection)


def _insert_deployment(
    connection: Connection, now: datetime, random_bytes: Callable[[int], bytes]
) -> None:
    if connection.scalar(select(Deployment.id)) is None:
        secret_key = random_bytes(SECRET_KEY_BYTES)
        connection.execute(
            insert(Deployment).values(
                id=1,
                secret_key=secret_key,
                created_at=now,
                content_schema_version=CONTENT_SCHEMA_VERSION,  # there is no post to check
            )
        )


def _is_at_newest_version(connection: Connection) -> bool:
    return _read_version(connection) == NEWEST_VERSION


def _require_newest_version(connection: Connection) -> None:
    if not _is_at_newest_version(connection):
        raise SchemaMismatch(
            "The database is not at the version of this server: run post-results migrate."
        )


def _read_version(connection: Connection) -> str | None:
    """Return the version in Alembic's table, None for an empty database.

    Raises SchemaMismatch for a version that cannot be upgraded, and for tables that do not match it.
    """
    inspector = inspect(connection)
    tables, own_tables = set(inspector.get_table_names()), set(Base.metadata.tables)
    version: str | None = None
    if "alembic_version" in tables:
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if version is None:
        if taken := sorted(tables & own_tables):
            raise SchemaMismatch(
                f"The database has a table {taken[0]} of another program: give post-results a database"
                " of its own."
            )
        return None
    if version in _SQUASHED_VERSIONS:
        raise SchemaMismatch(
            f"The database is at version {version}, which this version of post-results cannot upgrade:"
            " run post-results migrate of commit a4a5076 first."
        )
    if version != _LAST_SQUASHED_VERSION and version not in _VERSIONS:
        raise SchemaMismatch(
            "This database was written by a newer version of post-results; update the server."
        )
    if version == NEWEST_VERSION and (missing := sorted(own_tables - tables)):
        raise SchemaMismatch(
            f"The database is at version {version}, but has no table {missing[0]}: it belongs to another"
            " program, or is incomplete. Correct DATABASE_URL, or restore a backup."
        )
    if version == _LAST_SQUASHED_VERSION and not _has_column(inspector, "api_key", "shown_prefix"):
        raise SchemaMismatch(
            f"The database is at version {version}, but its tables are not. Correct DATABASE_URL, or"
            " restore a backup."
        )
    return version


def _has_column(inspector: Inspector, table: str, column: str) -> bool:
    return inspector.has_table(table) and any(
        found["name"] == column for found in inspector.get_columns(table)
    )
