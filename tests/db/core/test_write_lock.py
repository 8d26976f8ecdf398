"""Turns of writers among processes: a line in which nobody is overtaken, forgotten or waited for in vain."""

import asyncio
import fcntl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.db.core.database import Database, WriteSession
from app.db.core.write_lock import LOCK_FILE_SUFFIXES, FileWriteLock
from app.domain.errors import ServiceUnavailable
from tests.db.core.test_database import only_on_sqlite
from tests.factories import add_workspace
from tests.servers import TIMEOUT_SECONDS

QUEUE_SUFFIX, LOCK_SUFFIX = LOCK_FILE_SUFFIXES
LONG_TIMEOUT = timedelta(seconds=TIMEOUT_SECONDS)
SHORT_TIMEOUT = timedelta(milliseconds=50)

LOCK_HOLDER_SCRIPT = """
import asyncio, sys, time
from datetime import timedelta
from pathlib import Path
from app.db.core.write_lock import FileWriteLock

asyncio.run(FileWriteLock(Path(sys.argv[1]), timedelta(0)).acquire())
print("acquired", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def database_file(anyio_backend: str, tmp_path: Path) -> Path:
    return tmp_path / "post-results.db"


def file_lock(database_file: Path, timeout: timedelta = LONG_TIMEOUT) -> FileWriteLock:
    """Those of one process: locks belong to whoever opened the file, also within a process."""
    return FileWriteLock(database_file, timeout)


async def wait_until_queued(database_file: Path) -> None:
    """Return when a waiter has got as far as that, so that a later one is behind it."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with database_file.with_name(database_file.name + QUEUE_SUFFIX).open() as opened:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
            await asyncio.sleep(0.001)


async def test_the_next_one_is_not_overtaken_by_one_that_has_just_left(database_file: Path) -> None:
    first, second = file_lock(database_file), file_lock(database_file)
    order: list[str] = []

    async def acquire_repeatedly(name: str, mine: FileWriteLock) -> None:
        while len(order) < 6:
            await mine.acquire()
            order.append(name)
            if len(order) < 6:
                await wait_until_queued(database_file)
            mine.release()

    await first.acquire()
    waiting = asyncio.create_task(acquire_repeatedly("second", second))
    await wait_until_queued(database_file)
    first.release()
    await acquire_repeatedly("first", first)
    await waiting

    assert order[:6] == ["second", "first", "second", "first", "second", "first"]


async def test_a_process_that_is_killed_leaves(database_file: Path) -> None:
    command = [sys.executable, "-c", LOCK_HOLDER_SCRIPT, str(database_file)]
    holder = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"acquired\n"
    waiting = asyncio.create_task(file_lock(database_file).acquire())
    await wait_until_queued(database_file)
    assert not waiting.done()

    holder.kill()
    await asyncio.wait_for(waiting, TIMEOUT_SECONDS)
    await holder.wait()


async def test_a_turn_that_nobody_waits_for_any_more_is_passed_on(database_file: Path) -> None:
    first, second, third = (
        file_lock(database_file),
        file_lock(database_file),
        file_lock(database_file),
    )
    await first.acquire()
    given_up = asyncio.create_task(second.acquire())
    await wait_until_queued(database_file)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up

    first.release()

    await third.acquire()
    third.release()
    await second.acquire()


async def test_a_turn_that_does_not_come_in_time_is_given_up(database_file: Path) -> None:
    first, second = file_lock(database_file), file_lock(database_file, SHORT_TIMEOUT)
    await first.acquire()

    with pytest.raises(TimeoutError):
        await second.acquire()
    first.release()

    await file_lock(database_file).acquire()


async def test_leaving_twice_or_without_a_turn_does_nothing(database_file: Path) -> None:
    first, second = file_lock(database_file), file_lock(database_file)
    first.release()
    await first.acquire()
    second.release()
    first.release()
    first.release()
    await second.acquire()


async def test_where_there_can_be_no_locks_nobody_waits(tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "post-results.db"
    await file_lock(absent).acquire()
    await file_lock(absent).acquire()

    database_file = tmp_path / "post-results.db"
    database_file.with_name(database_file.name + LOCK_SUFFIX).mkdir()
    await file_lock(database_file).acquire()
    await file_lock(database_file).acquire()


# Of a database.


async def run_statement(session: WriteSession) -> None:
    await session.execute(text("SELECT 1"))


async def fail_after_statement(session: WriteSession) -> None:
    await run_statement(session)
    raise LookupError("a mistake of ours")


@pytest.fixture
async def other_process_database(database_url: str) -> AsyncIterator[Database]:
    """The same file, as another process has it that does not wait for long."""
    async with Database(database_url, timeout=SHORT_TIMEOUT) as opened:
        yield opened


@only_on_sqlite
async def test_a_write_holds_its_turn_to_its_end_however_it_ends(
    database: Database, other_process_database: Database
) -> None:
    async def write_while_others_wait(session: WriteSession) -> None:
        await run_statement(session)
        with pytest.raises(ServiceUnavailable):
            await other_process_database.write(run_statement)

    async def wait_until_cancelled(session: WriteSession) -> None:
        await write_while_others_wait(session)
        is_inside.set()
        await asyncio.Event().wait()

    await database.write(write_while_others_wait)
    await other_process_database.write(run_statement)
    with pytest.raises(LookupError):
        await database.write(fail_after_statement)
    await other_process_database.write(run_statement)
    is_inside = asyncio.Event()
    cancelled = asyncio.create_task(database.write(wait_until_cancelled))
    await is_inside.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await other_process_database.write(run_statement)
    await database.write(run_statement)


@only_on_sqlite
async def test_a_write_that_is_cancelled_while_it_waits_leaves_the_database_usable(
    database: Database, database_url: str
) -> None:
    database_file = Path(str(database.url.database))
    held = file_lock(database_file)
    await held.acquire()
    waiting = asyncio.create_task(database.write(run_statement))
    await wait_until_queued(database_file)
    waiting.cancel()
    await asyncio.wait([waiting])
    held.release()

    await add_workspace(database, name="Acme")
    async with Database(database_url) as other:
        await add_workspace(other, name="Other")


@only_on_sqlite
async def test_a_migration_holds_its_turn(
    database: Database, other_process_database: Database
) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(ServiceUnavailable):
            await other_process_database.write(run_statement)

    await other_process_database.write(run_statement)
