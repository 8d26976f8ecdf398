"""SQLite only: no accidental files, and planner statistics."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.db.core.database import Database
from app.db.core.sqlite import check_library, library_has_fts5
from app.db.migrations import SchemaMismatch, check_schema_version
from app.domain.errors import ServiceUnavailable
from app.settings import SettingsError
from tests.db.core.test_database import only_on_sqlite
from tests.factories import add_account, add_post, add_workspace, queued


@pytest.fixture
async def missing_database(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Database without a file, in a folder whose name needs escaping in a URL."""
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    async with Database.from_file(folder / "missing.db") as opened:
        yield opened


async def test_reading_does_not_create_a_file(missing_database: Database) -> None:
    file = Path(str(missing_database.url.database))

    with pytest.raises(ServiceUnavailable):
        await missing_database.ping()
    with pytest.raises(ServiceUnavailable):
        async with missing_database.snapshot():
            pass
    with pytest.raises(SchemaMismatch) as refusal:
        await check_schema_version(missing_database)

    assert str(refusal.value) == (
        f"There is no database at {file}: correct DATABASE_URL, or run post-results migrate to"
        " create one."
    )
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "has_fts5", "library"),
    [
        ((3, 37, 2), True, "3.37.2 with FTS5"),
        ((3, 34, 1), False, "3.34.1 without FTS5"),
        ((3, 46, 1), False, "3.46.1 without FTS5"),
    ],
)
def test_insufficient_library_is_refused(
    version: tuple[int, ...], has_fts5: bool, library: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        check_library(version, has_fts5=has_fts5)

    assert str(refusal.value) == (
        f"SQLite 3.38 or newer with FTS5 is required; this Python has SQLite {library}. Use another build"
        " of Python, or set DATABASE_URL to a PostgreSQL database."
    )


def test_sufficient_library_is_accepted() -> None:
    check_library((3, 38, 0), has_fts5=True)
    check_library(sqlite3.sqlite_version_info, has_fts5=library_has_fts5())


async def test_closed_database_leaves_no_threads(anyio_backend: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for _ in range(20):  # a late thread depends on timing
        async with Database.from_file(tmp_path / "missing.db") as missing_database:
            with pytest.raises(ServiceUnavailable):
                async with missing_database.snapshot():
                    pass

        after = set(threading.enumerate()) - before
        assert [thread for thread in after if "_connection_worker_thread" in thread.name] == []


async def test_schema_change_creates_the_file(missing_database: Database) -> None:
    async with missing_database.schema_transaction() as connection:
        await connection.execute(text("CREATE TABLE made (id INTEGER)"))

    async with missing_database.read_connection() as connection:
        assert (await connection.execute(text("SELECT * FROM made"))).all() == []
    assert missing_database.missing_file() is None


async def analysed_tables(database: Database) -> set[str]:
    """Return the tables with planner statistics."""
    async with database.read_connection() as connection:
        if await connection.scalar(text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")):
            return set(await connection.scalars(text("SELECT tbl FROM sqlite_stat1")))
    return set()


async def add_post_due_now(database: Database) -> None:
    workspace_id = await add_workspace(database)
    account_id = await add_account(database, workspace_id)
    await add_post(database, workspace_id, {account_id: queued()})


async def test_refreshing_statistics_analyzes_the_tables(database: Database) -> None:
    await add_post_due_now(database)

    await database.refresh_statistics()
    await database.refresh_statistics()

    if database.is_sqlite:
        assert {"workspace", "account", "post", "destination"} <= await analysed_tables(database)


@only_on_sqlite
async def test_refreshing_statistics_of_a_busy_database_is_unavailable(
    database: Database, database_url: str
) -> None:
    await add_post_due_now(database)
    async with Database(database_url, timeout=timedelta(milliseconds=200)) as second_process:
        async with database.schema_transaction() as connection:
            await connection.execute(text("SELECT 1"))
            with pytest.raises(ServiceUnavailable):
                await second_process.refresh_statistics()
        await second_process.refresh_statistics()

    assert "post" in await analysed_tables(database)
