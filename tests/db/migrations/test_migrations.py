"""Migrating: to the tables of the models, once, from several processes, and never backwards."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import inspect, select, text, update

from app.db.core.database import Database
from app.db.migrations import SchemaMismatch, check_schema_version, migrate
from app.db.models import Base, Deployment, Event, Post
from app.db.tools.integrity import find_problems
from tests.db.migrations.schema import read_schema
from tests.factories import NOW

LONG_AGO = "2026-01-01 00:00:00.000000"
OUTDATED_MESSAGE = "The database is not at the version of this server: run post-results migrate."
TOO_NEW_MESSAGE = "This database was written by a newer version of post-results; update the server."

MIGRATE_SCRIPT = """
import asyncio, os, sys
from datetime import UTC, datetime
from app.db.core.database import Database
from app.db.migrations import migrate

async def run():
    async with Database(sys.argv[1]) as database:
        await migrate(database, now=datetime.now(UTC), random_bytes=os.urandom)

asyncio.run(run())
"""


@pytest.fixture
async def empty_database(anyio_backend: str, empty_database_url: str) -> AsyncIterator[Database]:
    async with Database(empty_database_url) as opened:
        yield opened


async def deployment_rows(database: Database) -> list[tuple[int, bytes]]:
    async with database.unscoped_connection() as connection:
        rows = await connection.execute(select(Deployment.id, Deployment.secret_key))
        return [(row.id, row.secret_key) for row in rows]


async def test_a_migrated_database_has_the_tables_of_the_models(
    empty_database: Database, database: Database
) -> None:
    async with empty_database.schema_transaction() as connection:
        await connection.run_sync(Base.metadata.create_all)

    assert await read_schema(database) == await read_schema(empty_database)


async def test_the_comparison_sees_checks_predicates_and_links(database: Database) -> None:
    definitions = "\n".join((await read_schema(database))["destination"])

    assert "ck_destination_lease" in definitions
    assert "WHERE claimable_at IS NOT NULL" in definitions or (
        "WHERE (claimable_at IS NOT NULL)" in definitions
    )
    assert "fk_destination_workspace_id_post_id" in definitions
    assert "uq_destination_workspace_id_post_id_account_id" in definitions


async def test_an_empty_database_is_outdated_until_it_is_migrated(empty_database: Database) -> None:
    with pytest.raises(SchemaMismatch) as refused:
        await check_schema_version(empty_database)
    assert str(refused.value) == OUTDATED_MESSAGE

    await migrate(empty_database, now=NOW, random_bytes=bytes)

    await check_schema_version(empty_database)


async def test_the_installation_is_described_once(empty_database: Database) -> None:
    await migrate(empty_database, now=NOW, random_bytes=lambda length: b"a" * length)
    await migrate(
        empty_database, now=NOW + timedelta(days=1), random_bytes=lambda length: b"b" * length
    )

    assert await deployment_rows(empty_database) == [(1, b"a" * 32)]


async def test_several_processes_may_migrate_at_once(
    empty_database: Database, empty_database_url: str
) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE_SCRIPT, empty_database_url
        )
        for _ in range(3)
    ]

    assert [await process.wait() for process in processes] == [0, 0, 0]
    await check_schema_version(empty_database)
    assert len(await deployment_rows(empty_database)) == 1


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    empty_database: Database,
) -> None:
    await migrate(empty_database, now=NOW, random_bytes=bytes)
    async with empty_database.schema_transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = await read_schema(empty_database)

    with pytest.raises(SchemaMismatch) as refused_start:
        await check_schema_version(empty_database)
    with pytest.raises(SchemaMismatch) as refused_migration:
        await migrate(empty_database, now=NOW, random_bytes=bytes)

    assert [str(refused_start.value), str(refused_migration.value)] == [
        TOO_NEW_MESSAGE,
        TOO_NEW_MESSAGE,
    ]
    assert await read_schema(empty_database) == before
    async with empty_database.unscoped_connection() as connection:
        version = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    assert version == "9999"


async def test_a_database_of_another_program_is_refused_and_left_alone(
    empty_database: Database,
) -> None:
    async with empty_database.schema_transaction() as connection:
        await connection.execute(text("CREATE TABLE post (id INTEGER)"))

    with pytest.raises(SchemaMismatch) as refusal:
        await migrate(empty_database, now=NOW, random_bytes=bytes)

    assert str(refusal.value) == (
        "The database has a table post that is not ours: give post-results a database of its own."
    )
    async with empty_database.unscoped_connection() as connection:
        assert await connection.run_sync(lambda c: inspect(c).get_table_names()) == ["post"]


async def test_a_migration_that_fails_leaves_nothing_behind(empty_database: Database) -> None:
    def no_randomness(length: int) -> bytes:
        raise LookupError(length)

    with pytest.raises(LookupError):
        await migrate(empty_database, now=NOW, random_bytes=no_randomness)

    assert await read_schema(empty_database) == {}


async def test_migrating_keeps_the_data(database: Database) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(update(Deployment).values(secret_key=b"kept"))

    await migrate(database, now=NOW, random_bytes=bytes)

    assert await deployment_rows(database) == [(1, b"kept")]


async def test_a_database_of_the_first_version_keeps_its_posts_and_events(
    empty_database: Database,
) -> None:
    await migrate(empty_database, now=NOW, random_bytes=bytes, version="0001")
    workspace, post = uuid4(), uuid4()
    async with empty_database.schema_transaction() as connection:
        for statement in (
            f"INSERT INTO workspace VALUES ('{workspace}', 'Acme', 'local', NULL, 1, 1, '{LONG_AGO}')",
            "INSERT INTO post (workspace_id, id, content, is_draft, submitted_now, media_ids, media,"
            " platform_content, status, version, search_text, created_at, updated_at) VALUES"
            f" ('{workspace}', '{post}', 'sale', FALSE, FALSE, '[]', '[]', '{{}}', 'draft', 1, 'sale',"
            f" '{LONG_AGO}', '{LONG_AGO}')",
            "INSERT INTO event (workspace_id, seq, kind, post_id, payload, created_at) VALUES"
            f" ('{workspace}', 1, 'post.created', '{post}', '{{}}', '{LONG_AGO}')",
        ):
            await connection.exec_driver_sql(statement)

    await migrate(empty_database, now=NOW, random_bytes=bytes)

    async with empty_database.unscoped_connection() as connection:
        posts = await connection.execute(select(Post.content, Post.imported_at))
        assert [tuple(row) for row in posts] == [("sale", None)]
        events = await connection.execute(select(Event.seq, Event.post_id))
        assert [tuple(row) for row in events] == [(1, post)]
    assert await find_problems(empty_database) == []


async def test_what_is_due_and_leased_has_its_indexes_since_the_fourth_version(
    empty_database: Database,
) -> None:
    await migrate(empty_database, now=NOW, random_bytes=bytes, version="0003")
    older = "\n".join((await read_schema(empty_database))["destination"])
    await migrate(empty_database, now=NOW, random_bytes=bytes, version="0004")
    newer = "\n".join((await read_schema(empty_database))["destination"])

    for name, was, is_now in (
        ("ix_destination_started", True, False),
        ("ix_destination_leased", False, True),
        ("ix_destination_claimable_platform", False, True),
    ):
        assert (name in older, name in newer) == (was, is_now)
