"""Write lock of SQLite files: fair, released by killed processes, and bounded by a timeout."""

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
def locked_file(anyio_backend: str, tmp_path: Path) -> Path:
    return tmp_path / "post-results.db"


def file_lock(locked_file: Path, timeout: timedelta = LONG_TIMEOUT) -> FileWriteLock:
    """Create the lock of one process; `flock` locks belong to the open file, also within a process."""
    return FileWriteLock(locked_file, timeout)


async def wait_until_queued(locked_file: Path) -> None:
    """Wait until another holder has locked the queue file, so that later ones queue behind it."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with locked_file.with_name(locked_file.name + QUEUE_SUFFIX).open() as opened:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
            await asyncio.sleep(0.001)


async def test_next_in_line_is_not_overtaken_by_a_writer_that_has_just_released(
    locked_file: Path,
) -> None:
    first, second = file_lock(locked_file), file_lock(locked_file)
    order: list[str] = []

    async def acquire_repeatedly(name: str, lock: FileWriteLock) -> None:
        while len(order) < 6:
            await lock.acquire()
            order.append(name)
            if len(order) < 6:
                await wait_until_queued(locked_file)
            lock.release()

    await first.acquire()
    waiting = asyncio.create_task(acquire_repeatedly("second", second))
    await wait_until_queued(locked_file)
    first.release()
    await acquire_repeatedly("first", first)
    await waiting

    assert order[:6] == ["second", "first", "second", "first", "second", "first"]


async def test_lock_of_a_killed_process_is_released(locked_file: Path) -> None:
    command = [sys.executable, "-c", LOCK_HOLDER_SCRIPT, str(locked_file)]
    holder = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"acquired\n"
    waiting = asyncio.create_task(file_lock(locked_file).acquire())
    await wait_until_queued(locked_file)
    assert not waiting.done()

    holder.kill()
    await asyncio.wait_for(waiting, TIMEOUT_SECONDS)
    await holder.wait()


async def test_cancelled_waiter_passes_the_lock_on(locked_file: Path) -> None:
    first, second, third = (file_lock(locked_file), file_lock(locked_file), file_lock(locked_file))
    await first.acquire()
    cancelled_wait = asyncio.create_task(second.acquire())
    await wait_until_queued(locked_file)
    cancelled_wait.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled_wait

    first.release()

    await third.acquire()
    third.release()
    await second.acquire()


async def test_waiting_for_the_lock_times_out(locked_file: Path) -> None:
    first, second = file_lock(locked_file), file_lock(locked_file, SHORT_TIMEOUT)
    await first.acquire()

    with pytest.raises(TimeoutError):
        await second.acquire()
    first.release()

    await file_lock(locked_file).acquire()


async def test_releasing_twice_or_without_the_lock_does_nothing(locked_file: Path) -> None:
    first, second = file_lock(locked_file), file_lock(locked_file)
    first.release()
    await first.acquire()
    second.release()
    first.release()
    first.release()
    await second.acquire()


async def test_lock_is_free_if_lock_files_cannot_be_created(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "post-results.db"
    await file_lock(missing).acquire()
    await file_lock(missing).acquire()

    locked_file = tmp_path / "post-results.db"
    locked_file.with_name(locked_file.name + LOCK_SUFFIX).mkdir()
    await file_lock(locked_file).acquire()
    await file_lock(locked_file).acquire()


async def run_statement(session: WriteSession) -> None:
    await session.execute(text("SELECT 1"))


async def fail_after_statement(session: WriteSession) -> None:
    await run_statement(session)
    raise LookupError("failed work")


@pytest.fixture
async def other_process(database_url: str) -> AsyncIterator[Database]:
    """The same file, opened with a short timeout, as by another process."""
    async with Database(database_url, timeout=SHORT_TIMEOUT) as opened:
        yield opened


@only_on_sqlite
async def test_write_holds_the_lock_until_it_commits_fails_or_is_cancelled(
    database: Database, other_process: Database
) -> None:
    async def write_while_others_wait(session: WriteSession) -> None:
        await run_statement(session)
        with pytest.raises(ServiceUnavailable):
            await other_process.write(run_statement)

    async def wait_until_cancelled(session: WriteSession) -> None:
        await write_while_others_wait(session)
        is_inside.set()
        await asyncio.Event().wait()

    await database.write(write_while_others_wait)
    await other_process.write(run_statement)
    with pytest.raises(LookupError):
        await database.write(fail_after_statement)
    await other_process.write(run_statement)
    is_inside = asyncio.Event()
    cancelled = asyncio.create_task(database.write(wait_until_cancelled))
    await is_inside.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await other_process.write(run_statement)
    await database.write(run_statement)


@only_on_sqlite
async def test_write_cancelled_while_waiting_leaves_the_database_usable(
    database: Database, database_url: str
) -> None:
    locked_file = Path(str(database.url.database))
    held = file_lock(locked_file)
    await held.acquire()
    waiting = asyncio.create_task(database.write(run_statement))
    await wait_until_queued(locked_file)
    waiting.cancel()
    await asyncio.wait([waiting])
    held.release()

    await add_workspace(database, name="Acme")
    async with Database(database_url) as other:
        await add_workspace(other, name="Other")


@only_on_sqlite
async def test_migration_holds_the_lock(database: Database, other_process: Database) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(ServiceUnavailable):
            await other_process.write(run_statement)

    await other_process.write(run_statement)
