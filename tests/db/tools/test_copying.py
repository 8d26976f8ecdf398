"""Copy of a whole database between engines, refused for a target with data."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.tools.copying import TargetNotEmpty, copy_database
from tests.db.all_tables import add_row_in_every_table, all_rows
from tests.factories import NOW, add_api_key, add_post, add_workspace


@pytest.fixture
async def target_database(anyio_backend: str, empty_database_url: str) -> AsyncIterator[Database]:
    """Migrated database of the same engine, with another secret key."""
    async with Database(empty_database_url) as opened:
        await migrate(opened, now=NOW, random_bytes=lambda length: b"t" * length)
        yield opened


async def test_copy_to_sqlite_and_back_has_identical_rows_without_sessions(
    database: Database, target_database: Database, tmp_path: Path
) -> None:
    await add_row_in_every_table(database)
    async with Database.from_file(tmp_path / "copy.db") as sqlite_copy:
        await migrate(sqlite_copy, now=NOW, random_bytes=lambda length: b"i" * length)
        rows = {**await all_rows(database), "session": []}

        counts = await copy_database(database, sqlite_copy)
        await copy_database(sqlite_copy, target_database)

        assert all(counts.values()), "every table must have rows"
        assert {**counts, "session": 0} == {name: len(each) for name, each in rows.items()}
        assert await all_rows(sqlite_copy) == rows
        assert await all_rows(target_database) == rows


async def test_tables_larger_than_a_batch_are_copied(
    database: Database, target_database: Database
) -> None:
    workspace_id = await add_workspace(database)
    await add_api_key(database, workspace_id)
    for _ in range(3):
        await add_post(database, workspace_id)
    async with database.schema_transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO idempotency_key"
            " (workspace_id, operation, key, fingerprint, outcome, created_at, expires_at)"
            " WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2500)"
            " SELECT api_key.workspace_id, 'createPost', CAST(n AS TEXT), deployment.secret_key, '{}',"
            " api_key.created_at, api_key.created_at FROM number, api_key, deployment"
        )

    counts = await copy_database(database, target_database)

    assert counts["idempotency_key"] == 2500
    assert await all_rows(target_database) == await all_rows(database)


async def test_target_with_data_is_refused_and_left_unchanged(
    database: Database, target_database: Database
) -> None:
    await add_row_in_every_table(database)
    await add_workspace(target_database, name="existing")
    before = await all_rows(target_database)

    with pytest.raises(TargetNotEmpty) as refusal:
        await copy_database(database, target_database)

    assert (
        str(refusal.value)
        == "The target database already has rows in workspace; nothing was copied. Use an empty database."
    )
    assert await all_rows(target_database) == before
