"""Migrations: the tables of the models, upgrade of version 0004, and refusal of other databases."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, insert, inspect, select, text, update

from app.db import migrations
from app.db.core.database import Database
from app.db.migrations import NEWEST_VERSION, SchemaMismatch, check_schema_version, migrate
from app.db.models import Base, Deployment, Destination
from app.db.repositories.posts import PostCriteria, count_posts
from app.domain.ids import WorkspaceId
from app.domain.transitions import unclaimable
from tests.db.all_tables import WORKSPACE, add_row_in_every_table, all_rows
from tests.db.migrations.schema import read_schema
from tests.factories import NOW, add_account, add_post, add_workspace, queued

RENAME_COLUMN = "ALTER TABLE api_key RENAME COLUMN shown_prefix TO display_prefix"

MIGRATE_SCRIPT = """
import asyncio, os, sys
from datetime import UTC, datetime
from app.db.core.database import Database
from app.db.migrations import migrate

async def run():
    async with Database(sys.argv[1]) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=os.urandom)

asyncio.run(run())
print("alembic" in sys.modules)
"""

LATER_TABLES = (
    "account_breaker",
    "account_pause",
    "checkpoint",
    "credential",
    "duplicate_check",
    "live_worker",
    "media_check",
    "media_check_usage",
    "server_breaker",
    "session",
    "webhook",
    "webhook_delivery",
    "webhook_delivery_attempt",
    "worker_key",
)
"""Tables that version 0004 did not have, or did not use."""


@pytest.fixture
async def unmigrated_database(
    anyio_backend: str, empty_database_url: str
) -> AsyncIterator[Database]:
    async with Database(empty_database_url) as opened:
        yield opened


async def deployment_rows(database: Database) -> list[tuple[int, bytes]]:
    async with database.read_connection() as connection:
        rows = await connection.execute(select(Deployment.id, Deployment.secret_key))
        return [(row.id, row.secret_key) for row in rows]


async def set_version(database: Database, version: str) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))


def run_migration(connection: Connection, version: str) -> None:
    """Apply one migration, without those before and after it."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    with Operations.context(MigrationContext.configure(connection)):
        scripts.get_revision(version).module.upgrade()


async def create_version_0004(database: Database) -> None:
    """Create the tables of version 0004, without rows besides the version."""
    engine = "sqlite" if database.is_sqlite else "postgresql"
    script = Path(__file__).with_name(f"version_0004_{engine}.sql").read_text()
    async with database.schema_transaction() as connection:
        for statement in script.removesuffix(";\n").split(";\n"):
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0004')")


async def copy_to_version_0004(source: Database, target: Database) -> None:
    """Copy all rows to a database at version 0004."""
    old_names = {"display_prefix": "shown_prefix"}
    later_columns = {
        ("account", "held_until"),
        ("account", "on_lost_access"),
        ("account", "publisher"),
        ("attempt", "account_id"),
        ("attempt", "not_sent"),
        ("attempt", "platform"),
        ("deployment", "content_schema_version"),
        ("deployment", "webhooks_polled_at"),
        ("destination", "content_error"),
        ("destination", "failed_at"),
        ("destination", "failure_group"),
        ("destination", "forced_rounds"),
        ("destination", "is_duplicated"),
        ("destination", "is_mirrored"),
        ("destination", "media_warning"),
        ("destination", "media_warning_code"),
        ("destination", "not_sent"),
        ("destination", "post_created_at"),
        ("destination", "publisher"),
        ("event", "person"),
    }
    async with source.snapshot() as reader, target.write_engine.begin() as writer:
        for table in Base.metadata.sorted_tables:
            if table.name in LATER_TABLES:
                continue
            columns = [each for each in table.c if (table.name, each.name) not in later_columns]
            rows = [tuple(row) for row in await reader.execute(select(*columns))]
            old_columns = [
                Column(old_names.get(column.name, column.name), column.type) for column in columns
            ]
            old_table = Table(table.name, MetaData(), *old_columns)
            names = [column.name for column in old_columns]
            values = [dict(zip(names, row, strict=True)) for row in rows]
            await writer.execute(insert(old_table), values)


async def uncheck_contents(database: Database) -> None:
    """Mark the waiting destinations as unchecked, as after an upgrade."""
    async with database.write_engine.begin() as connection:
        await connection.execute(update(Deployment).values(content_schema_version=0))


async def sqlite_indexes(database: Database) -> dict[str, list[str]]:
    """Names of the indexes by table, in the order of their creation."""
    names: dict[str, list[str]] = defaultdict(list)
    async with database.read_connection() as connection:
        for table, name in await connection.execute(
            text(
                "SELECT tbl_name, name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            )
        ):
            names[table].append(name)
    return names


async def test_migrated_database_has_the_tables_of_the_models(
    unmigrated_database: Database, database: Database
) -> None:
    async with unmigrated_database.schema_transaction() as connection:
        await connection.run_sync(Base.metadata.create_all)

    assert await read_schema(database) == await read_schema(unmigrated_database)


async def test_schema_comparison_includes_checks_predicates_and_foreign_keys(
    database: Database,
) -> None:
    definitions = "\n".join((await read_schema(database))["destination"])

    assert "ck_destination_lease" in definitions
    assert "WHERE claimable_at IS NOT NULL" in definitions or (
        "WHERE (claimable_at IS NOT NULL)" in definitions
    )
    assert "fk_destination_workspace_id_post_id" in definitions
    assert "uq_destination_workspace_id_post_id_account_id" in definitions


@pytest.mark.parametrize("version", ["0004", "0005"])
async def test_older_version_is_upgraded_with_all_rows(
    database: Database, unmigrated_database: Database, version: str
) -> None:
    ids = await add_row_in_every_table(database)
    await uncheck_contents(database)
    mirror = await add_workspace(database, mirror_of="https://example.com")
    await add_post(database, mirror, {await add_account(database, mirror): unclaimable(queued())})
    added_later = update(Destination).where(Destination.id == ids.failed)
    async with database.write_engine.begin() as connection:
        await connection.execute(
            added_later.values(created_at=NOW + timedelta(hours=1), post_created_at=NOW)
        )
    await create_version_0004(unmigrated_database)
    await copy_to_version_0004(database, unmigrated_database)
    if version == "0005":
        async with unmigrated_database.schema_transaction() as connection:
            await connection.execute(text(RENAME_COLUMN))
        await set_version(unmigrated_database, version)
    with pytest.raises(SchemaMismatch, match="run post-results migrate"):
        await check_schema_version(unmigrated_database)

    await migrate(unmigrated_database, now=NOW, random_bytes=bytes)

    await check_schema_version(unmigrated_database)
    assert await read_schema(unmigrated_database) == await read_schema(database)
    later_rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in LATER_TABLES}
    assert await all_rows(unmigrated_database) == {**await all_rows(database), **later_rows}
    reader = unmigrated_database.reader(WorkspaceId(WORKSPACE))
    assert await count_posts(reader, PostCriteria(search="grüsse")) == 1


async def test_one_system_of_keys_changes_no_encrypted_data(database: Database) -> None:
    await add_row_in_every_table(database)
    new_schema, before = await read_schema(database), await all_rows(database)
    async with database.schema_transaction() as connection:
        for statement in (
            "DROP INDEX ix_credential_workspace_id_key_id",
            "DROP INDEX ix_checkpoint_key_id",
            "ALTER TABLE credential RENAME COLUMN ciphertext TO sealed",
            "ALTER TABLE checkpoint RENAME COLUMN ciphertext TO sealed",
            "DROP TABLE worker_key",
            "CREATE TABLE credential_canary (key_id TEXT PRIMARY KEY, sealed TEXT NOT NULL)",
            "INSERT INTO credential_canary VALUES ('0c9fbdd5d68d7f88', 'canary')",
        ):
            await connection.execute(text(statement))
        await connection.run_sync(run_migration, "0026")

    assert await all_rows(database) == {**before, "worker_key": []}
    assert await read_schema(database) == new_schema


async def test_new_database_has_indexes_in_the_order_of_an_upgraded_one(
    database: Database, unmigrated_database: Database
) -> None:
    """SQLite's planner chooses among equal plans by this order."""
    await create_version_0004(unmigrated_database)
    await migrate(unmigrated_database, now=NOW, random_bytes=bytes)

    if database.is_sqlite:
        assert await sqlite_indexes(database) == await sqlite_indexes(unmigrated_database)


async def test_failed_upgrade_of_version_0004_changes_nothing(
    unmigrated_database: Database,
) -> None:
    def fail(length: int) -> bytes:
        raise LookupError(length)

    await create_version_0004(unmigrated_database)
    before = await read_schema(unmigrated_database)

    with pytest.raises(LookupError):
        await migrate(unmigrated_database, now=NOW, random_bytes=fail)

    assert await read_schema(unmigrated_database) == before
    await migrate(unmigrated_database, now=NOW, random_bytes=bytes)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_check_with_another_text_is_refused_and_left_unchanged(
    unmigrated_database: Database,
) -> None:
    """The upgrade replaces its text, and would leave this one as it is."""
    await create_version_0004(unmigrated_database)
    async with unmigrated_database.schema_transaction() as connection:
        await connection.exec_driver_sql("PRAGMA writable_schema = ON")
        await connection.exec_driver_sql(
            "UPDATE sqlite_schema SET sql = replace(sql, 'regular'', ''late', 'regular'',''late')"
        )
        await connection.exec_driver_sql("PRAGMA writable_schema = OFF")
    before = await read_schema(unmigrated_database)

    with pytest.raises(
        SchemaMismatch, match="The table attempt has no CHECK of kind with the text"
    ):
        await migrate(unmigrated_database, now=NOW, random_bytes=bytes)

    assert await read_schema(unmigrated_database) == before


async def test_empty_database_is_outdated_until_it_is_migrated(
    unmigrated_database: Database,
) -> None:
    with pytest.raises(SchemaMismatch) as refusal:
        await check_schema_version(unmigrated_database)
    assert str(refusal.value) == (
        "The database is not at the version of this server: run post-results migrate."
    )

    await migrate(unmigrated_database, now=NOW, random_bytes=bytes)

    await check_schema_version(unmigrated_database)


async def test_repeated_migration_keeps_the_deployment_row(unmigrated_database: Database) -> None:
    await migrate(unmigrated_database, now=NOW, random_bytes=lambda length: b"a" * length)
    await migrate(
        unmigrated_database, now=NOW + timedelta(days=1), random_bytes=lambda length: b"b" * length
    )

    assert await deployment_rows(unmigrated_database) == [(1, b"a" * 32)]


def test_version_is_the_number_of_the_newest_file() -> None:
    folder = Path(migrations.__file__).parent
    scripts = ScriptDirectory(str(folder))

    assert scripts.get_heads() == [NEWEST_VERSION]
    for script in scripts.walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")


async def test_database_at_the_newest_version_is_not_locked(database: Database) -> None:
    async with asyncio.timeout(5), database.schema_transaction():
        await migrate(database, now=NOW, random_bytes=bytes)


async def test_alembic_is_imported_only_to_migrate(
    unmigrated_database: Database, empty_database_url: str
) -> None:
    imported = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE_SCRIPT, empty_database_url, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        imported.append(output)

    assert imported == [b"True\n", b"False\n"]


async def test_concurrent_processes_migrate_once(
    unmigrated_database: Database, empty_database_url: str
) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MIGRATE_SCRIPT,
            empty_database_url,
            stdout=asyncio.subprocess.DEVNULL,
        )
        for _ in range(3)
    ]

    assert [await process.wait() for process in processes] == [0, 0, 0]
    await check_schema_version(unmigrated_database)
    assert len(await deployment_rows(unmigrated_database)) == 1


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "9999",
            "This database was written by a newer version of post-results; update the server.",
        ),
        *(
            (
                version,
                f"The database is at version {version}, which this version of post-results cannot"
                " upgrade: run post-results migrate of commit a4a5076 first.",
            )
            for version in ("0001", "0002", "0003")
        ),
    ],
)
async def test_unsupported_version_is_refused_and_left_unchanged(
    unmigrated_database: Database, version: str, message: str
) -> None:
    await migrate(unmigrated_database, now=NOW, random_bytes=bytes)
    await set_version(unmigrated_database, version)
    before = await read_schema(unmigrated_database)

    with pytest.raises(SchemaMismatch) as refused_start:
        await check_schema_version(unmigrated_database)
    with pytest.raises(SchemaMismatch) as refused_migration:
        await migrate(unmigrated_database, now=NOW, random_bytes=bytes)

    assert [str(refused_start.value), str(refused_migration.value)] == [message, message]
    assert await read_schema(unmigrated_database) == before
    async with unmigrated_database.read_connection() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == version


@pytest.mark.parametrize(
    ("change", "version", "message"),
    [
        (
            "DROP TABLE webhook_delivery_attempt",
            NEWEST_VERSION,
            f"The database is at version {NEWEST_VERSION}, but has no table webhook_delivery_attempt: it"
            " belongs to another program, or is incomplete. Correct DATABASE_URL, or restore a backup.",
        ),
        (
            "SELECT 1",
            "0004",
            "The database is at version 0004, but its tables are not. Correct DATABASE_URL, or restore a"
            " backup.",
        ),
    ],
    ids=["missing table", "newer tables"],
)
async def test_tables_that_do_not_match_the_version_are_refused(
    unmigrated_database: Database, change: str, version: str, message: str
) -> None:
    await migrate(unmigrated_database, now=NOW, random_bytes=bytes)
    async with unmigrated_database.schema_transaction() as connection:
        await connection.execute(text(change))
    await set_version(unmigrated_database, version)
    before = await read_schema(unmigrated_database)

    for refused in (
        check_schema_version(unmigrated_database),
        migrate(unmigrated_database, now=NOW, random_bytes=bytes),
    ):
        with pytest.raises(SchemaMismatch) as refusal:
            await refused
        assert str(refusal.value) == message
    assert await read_schema(unmigrated_database) == before


async def test_database_of_another_program_is_refused_and_left_unchanged(
    unmigrated_database: Database,
) -> None:
    async with unmigrated_database.schema_transaction() as connection:
        await connection.execute(text("CREATE TABLE post (id INTEGER)"))

    with pytest.raises(SchemaMismatch) as refusal:
        await migrate(unmigrated_database, now=NOW, random_bytes=bytes)

    assert str(refusal.value) == (
        "The database has a table post of another program: give post-results a database of its own."
    )
    async with unmigrated_database.read_connection() as connection:
        assert await connection.run_sync(lambda c: inspect(c).get_table_names()) == ["post"]
