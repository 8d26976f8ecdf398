"""SQLite driver: quick statements run inline, slow ones in threads; cancellation frees the thread."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import literal, select
from sqlalchemy.dialects import sqlite

from app.db.core.database import Database
from app.db.core.sqlite_read_driver import SQLiteReadDriver
from app.db.core.statements import CompiledStatement, Statement, compile_statement
from app.db.models import Post
from app.domain.errors import ServiceUnavailable
from tests.db.core.intercepting_driver import StubDriver
from tests.db.core.test_database import (
    MINUTE_LONG_STATEMENT,
    SHORT_TIMEOUT,
    only_on_sqlite,
    slow_statement,
)
from tests.factories import add_workspace

_SELECT_ONE = compile_statement(select(literal(1)), sqlite.dialect())


def prepare_sql(sql: str) -> CompiledStatement:
    return CompiledStatement(sql, _SELECT_ONE.record_class, _SELECT_ONE.encode_arguments)


QUICK = prepare_sql("SELECT count(*) FROM post")
BRIEF_ROWS = 3_000
BRIEF = prepare_sql(str(slow_statement(BRIEF_ROWS)))
"""Statement of about a millisecond."""
SLOW = prepare_sql(str(slow_statement(1_000_000)))
ENDLESS = prepare_sql(str(MINUTE_LONG_STATEMENT))


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    """Database with one table of two rows."""
    path = tmp_path / "a ?#%.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE post (id INTEGER)")
        connection.execute("INSERT INTO post VALUES (1), (2)")
    return path


def make_driver(
    database_file: Path, *, reconnect_after: timedelta = timedelta(hours=1)
) -> SQLiteReadDriver:
    return SQLiteReadDriver(
        database_file, max_threads=1, timeout=timedelta(minutes=5), reconnect_after=reconnect_after
    )


@pytest.fixture
async def driver(anyio_backend: str, database_file: Path) -> AsyncIterator[SQLiteReadDriver]:
    """Driver with one thread and a long timeout."""
    opened = make_driver(database_file)
    yield opened
    await opened.close()


def count_driver_threads() -> int:
    return sum(thread.name.startswith("sqlite-reads") for thread in threading.enumerate())


async def fetch_numbers(
    driver: SQLiteReadDriver, query: CompiledStatement
) -> list[tuple[object, ...]]:
    async with asyncio.timeout(60):
        return [tuple(row) for row in await driver.fetch(query, ())]


async def test_quick_statement_returns_without_yielding_to_the_event_loop(
    anyio_backend: str, database_file: Path
) -> None:
    with pytest.raises(StopIteration) as done:
        make_driver(database_file).fetch(QUICK, ()).send(None)

    assert [tuple(row) for row in done.value.value] == [(2,)]
    assert count_driver_threads() == 0


async def test_many_statements_of_one_iteration_do_not_all_run_in_the_event_loop(
    driver: SQLiteReadDriver,
) -> None:
    results = await asyncio.gather(*(fetch_numbers(driver, BRIEF) for _ in range(100)))

    assert results == [[(BRIEF_ROWS,)]] * 100
    assert count_driver_threads() == 1

    await asyncio.sleep(0)
    with pytest.raises(StopIteration):  # in the next iteration, a statement runs inline again
        driver.fetch(QUICK, ()).send(None)


async def test_slow_statement_does_not_block_others(driver: SQLiteReadDriver) -> None:
    endless = asyncio.create_task(driver.fetch(ENDLESS, ()))
    for _ in range(10):
        await asyncio.sleep(0)
        assert await fetch_numbers(driver, QUICK) == [(2,)]

    assert not endless.done()
    assert count_driver_threads() == 1
    endless.cancel()


async def test_slow_statement_returns_its_rows(driver: SQLiteReadDriver) -> None:
    assert await fetch_numbers(driver, SLOW) == [(1_000_000,)]
    assert await fetch_numbers(driver, SLOW) == [(1_000_000,)]
    assert await fetch_numbers(driver, QUICK) == [(2,)]


@pytest.mark.parametrize("loop_steps", [1, 2, 3, 100])
async def test_cancelled_statement_frees_the_thread(
    driver: SQLiteReadDriver, loop_steps: int
) -> None:
    running = asyncio.create_task(driver.fetch(ENDLESS, ()))
    for _ in range(loop_steps):
        await asyncio.sleep(0.001 if loop_steps == 100 else 0)
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
    assert await fetch_numbers(driver, SLOW) == [(1_000_000,)]


async def test_queued_statement_that_is_cancelled_does_not_start(driver: SQLiteReadDriver) -> None:
    first, second = [asyncio.create_task(driver.fetch(ENDLESS, ())) for _ in range(2)]
    await asyncio.sleep(0.02)
    second.cancel()
    await asyncio.wait([second])
    first.cancel()
    await asyncio.wait([first])

    assert await fetch_numbers(driver, SLOW) == [(1_000_000,)]


async def test_write_is_refused(driver: SQLiteReadDriver) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await driver.fetch(prepare_sql("DELETE FROM post"), ())

    assert await fetch_numbers(driver, QUICK) == [(2,)]


async def test_statement_sees_all_earlier_commits(
    driver: SQLiteReadDriver, database_file: Path
) -> None:
    counts = [await fetch_numbers(driver, QUICK)]
    with closing(sqlite3.connect(database_file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO post VALUES (3)")
        counts.append(await fetch_numbers(driver, QUICK))
        writer.execute("COMMIT")
        counts.append(await fetch_numbers(driver, QUICK))

    assert counts == [[(2,)], [(2,)], [(3,)]]


async def test_statement_error_is_raised_and_the_next_statement_runs(
    driver: SQLiteReadDriver,
) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        await driver.fetch(prepare_sql("SELECT * FROM nowhere"), ())
    with pytest.raises(sqlite3.ProgrammingError, match="not supported"):
        await driver.fetch(prepare_sql("SELECT ?"), [object()])

    assert await fetch_numbers(driver, QUICK) == [(2,)]


async def test_missing_file_is_not_created_and_is_opened_once_it_exists(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    driver = make_driver(missing)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await driver.fetch(QUICK, ())

    assert not missing.exists()
    with closing(sqlite3.connect(missing)) as connection:
        connection.execute("CREATE TABLE post (id INTEGER)")
    assert await fetch_numbers(driver, QUICK) == [(0,)]
    await driver.close()


async def test_old_connection_is_reopened(database_file: Path) -> None:
    """A reopened connection reads the file that replaced the first one."""
    driver, old = (
        make_driver(database_file, reconnect_after=timedelta(0)),
        make_driver(database_file),
    )
    before = [await fetch_numbers(reader, QUICK) for reader in (driver, old)]
    for path in database_file.parent.iterdir():
        path.rename(f"{path}.old")
    with closing(sqlite3.connect(database_file)) as other:
        other.execute("CREATE TABLE post (id INTEGER)")
    after = [await fetch_numbers(reader, QUICK) for reader in (driver, old)]
    await driver.close()
    await old.close()

    assert (before, after) == ([[(2,)], [(2,)]], [[(0,)], [(2,)]])


async def test_closed_driver_leaves_no_thread_and_can_be_used_again(database_file: Path) -> None:
    driver = make_driver(database_file)
    assert await fetch_numbers(driver, SLOW) == [(1_000_000,)]
    assert count_driver_threads() == 1
    await driver.close()
    await driver.close()

    assert count_driver_threads() == 0
    assert await fetch_numbers(driver, QUICK) == [(2,)]
    await driver.close()


def test_driver_can_be_used_in_consecutive_event_loops(database_file: Path) -> None:
    driver = make_driver(database_file)
    for _ in range(2):
        assert asyncio.run(fetch_numbers(driver, QUICK)) == [(2,)]
        assert asyncio.run(fetch_numbers(driver, SLOW)) == [(1_000_000,)]
    asyncio.run(driver.close())


POST_IDS_STATEMENT = Statement(select(Post.id))


@only_on_sqlite
async def test_statement_over_the_timeout_and_those_behind_it_are_unavailable(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    stub = StubDriver(str(MINUTE_LONG_STATEMENT))
    async with Database(
        database_url, pool_size=1, timeout=SHORT_TIMEOUT, wrap_driver=stub
    ) as opened:
        reader = opened.reader(workspace)
        async with asyncio.timeout(10):
            results = await asyncio.gather(
                *(reader.rows(POST_IDS_STATEMENT) for _ in range(3)), return_exceptions=True
            )
        stub.sql = str(slow_statement(100_000))
        rows = await reader.rows(POST_IDS_STATEMENT)

    assert [type(result) for result in results] == [ServiceUnavailable] * 3
    assert [tuple(row) for row in rows] == [(100_000,)]
