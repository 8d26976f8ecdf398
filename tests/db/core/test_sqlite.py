"""What only SQLite needs: no file by mistake, an end of what was cancelled, and statistics."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiosqlite
import pytest
from sqlalchemy import Connection, event, text

from app.db.core.database import Database, WriteSession
from app.db.migrations import SchemaMismatch, check_schema_version
from app.domain.errors import ServiceUnavailable
from tests.db.core.test_database import MINUTE_LONG_STATEMENT, only_on_sqlite
from tests.factories import add_account, add_post, add_workspace, queued


@pytest.fixture
async def missing_database(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Database]:
    """A database whose file nobody has made, in a folder that needs care in a URL."""
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    async with Database.from_file(folder / "absent.db") as opened:
        yield opened


async def test_reading_does_not_make_a_file(missing_database: Database) -> None:
    file = Path(str(missing_database.url.database))

    with pytest.raises(ServiceUnavailable):
        await missing_database.ping()
    with pytest.raises(ServiceUnavailable):
        async with missing_database.snapshot():
            pass
    with pytest.raises(SchemaMismatch) as refused:
        await check_schema_version(missing_database)

    assert str(refused.value) == (
        f"There is no database at {file}: correct DATABASE_URL, or run post-results migrate to"
        " create one."
    )
    assert list(file.parent.iterdir()) == []


async def test_no_thread_outlives_its_database(anyio_backend: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for _ in range(20):  # whether a thread is late is a matter of luck
        async with Database.from_file(tmp_path / "absent.db") as missing_database:
            with pytest.raises(ServiceUnavailable):
                await missing_database.ping()

        after = set(threading.enumerate()) - before
        assert [each.name for each in after if "_connection_worker_thread" in each.name] == []


async def test_a_file_is_made_by_what_changes_the_schema_and_then_read(
    missing_database: Database,
) -> None:
    async with missing_database.schema_transaction() as connection:
        await connection.execute(text("CREATE TABLE made (id INTEGER)"))

    async with missing_database.unscoped_connection() as connection:
        assert (await connection.execute(text("SELECT * FROM made"))).all() == []
    assert missing_database.missing_file() is None


@only_on_sqlite
async def test_a_cancelled_statement_that_has_not_begun_is_ended_when_it_does(
    database_url: str,
) -> None:
    may_begin = threading.Event()
    is_waiting = asyncio.Event()

    async def read() -> None:
        async with single.unscoped_connection() as connection:
            await connection.execute(MINUTE_LONG_STATEMENT)

    async with Database(database_url, pool_size=1, timeout=timedelta(minutes=5)) as single:
        await single.ping()

        @event.listens_for(single.read_engine.sync_engine, "before_cursor_execute", once=True)
        def block_thread(connection: Connection, *_statement: object) -> None:
            driver = connection.connection.driver_connection
            assert isinstance(driver, aiosqlite.Connection)
            driver._tx.put_nowait((None, may_begin.wait))
            is_waiting.set()

        reading = asyncio.create_task(read())
        await is_waiting.wait()
        reading.cancel()
        await asyncio.sleep(0)
        may_begin.set()
        async with asyncio.timeout(10):
            await asyncio.wait([reading])
            await single.ping()

    assert reading.cancelled()


async def analysed_tables(database: Database) -> set[str]:
    """The tables that the planner has statistics of."""
    async with database.unscoped_connection() as connection:
        return set(await connection.scalars(text("SELECT tbl FROM sqlite_stat1")))


async def add_rows(database: Database) -> None:
    workspace_id = await add_workspace(database)
    account_id = await add_account(database, workspace_id)
    await add_post(database, workspace_id, {account_id: queued()})


async def test_refreshing_brings_statistics_on_both_engines(database: Database) -> None:
    await add_rows(database)

    await database.refresh_statistics()
    await database.refresh_statistics()

    if database.is_sqlite:
        assert {"workspace", "account", "post", "destination"} <= await analysed_tables(database)


@only_on_sqlite
async def test_statistics_of_a_busy_database_wait_for_the_next_time(
    database: Database, database_url: str
) -> None:
    await add_rows(database)
    async with Database(database_url, timeout=timedelta(milliseconds=200)) as second_process:

        async def hold_write_lock(session: WriteSession) -> None:
            await session.execute(text("SELECT 1"))
            with pytest.raises(ServiceUnavailable):
                await second_process.refresh_statistics()

        await database.write(hold_write_lock)
        await second_process.refresh_statistics()

    assert "post" in await analysed_tables(database)
