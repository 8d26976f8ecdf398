"""Write lock of SQLite files: fair, released by killed processes, and bounded by a timeout."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.db.core.database import Database
from app.db.core.write_lock import LOCK_FILE_SUFFIXES, FileWriteLock
from app.db.core.write_session import AllWorkspacesWriteSession
from app.domain.errors import ServiceUnavailable
from tests.db.core.test_database import only_on_sqlite
from tests.raw_statements import run_raw
from tests.servers import TIMEOUT_SECONDS

LOCK_SUFFIX = LOCK_FILE_SUFFIXES[-1]
LONG_TIMEOUT = timedelta(seconds=TIMEOUT_SECONDS)
SHORT_TIMEOUT = timedelta(milliseconds=50)

LOCK_HOLDER_SCRIPT = """
import sys, time
from datetime import timedelta
from pathlib import Path
from app.db.core.write_lock import FileWriteLock

lock = FileWriteLock(Path(sys.argv[1]), timedelta(0)).acquire()
print("acquired", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def locked_file(anyio_backend: str, tmp_path: Path) -> Path:
    return tmp_path / "post-results.db"


def file_lock(locked_file: Path, timeout: timedelta = LONG_TIMEOUT) -> FileWriteLock:
    """Create the lock of one process; `flock` locks belong to the open file, also within a process."""
    return FileWriteLock(locked_file, timeout)


def is_queued(locked_file: Path) -> bool:
    """Return whether a waiter blocks in the kernel on the lock file; a first attempt does not block."""
    inode = locked_file.with_name(locked_file.name + LOCK_SUFFIX).stat().st_ino
    locks = Path("/proc/locks").read_text().splitlines()
    return any(" -> FLOCK " in line and line.split()[-3].endswith(f":{inode}") for line in locks)


async def wait_until_queued(locked_file: Path) -> None:
    """Wait until another waiter is next in line, so that later ones queue behind it."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            if is_queued(locked_file):
                return
            await asyncio.sleep(0.001)


async def test_next_in_line_is_not_overtaken_by_a_writer_that_has_just_released(
    locked_file: Path,
) -> None:
    first, second = file_lock(locked_file), file_lock(locked_file)
    order: list[str] = []

    async def acquire_repeatedly(name: str, lock: FileWriteLock) -> None:
        while len(order) < 6:
            held = await asyncio.to_thread(lock.acquire)
            order.append(name)
            if len(order) < 6:
                await wait_until_queued(locked_file)
            held.release()

    held = first.acquire()
    waiting = asyncio.create_task(acquire_repeatedly("second", second))
    await wait_until_queued(locked_file)
    held.release()
    await acquire_repeatedly("first", first)
    await waiting

    assert order[:6] == ["second", "first", "second", "first", "second", "first"]


async def test_lock_of_a_killed_process_is_released(locked_file: Path) -> None:
    command = [sys.executable, "-c", LOCK_HOLDER_SCRIPT, str(locked_file)]
    holder = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"acquired\n"
    waiting = asyncio.create_task(asyncio.to_thread(file_lock(locked_file).acquire))
    await wait_until_queued(locked_file)
    assert not waiting.done()

    holder.kill()
    await asyncio.wait_for(waiting, TIMEOUT_SECONDS)
    await holder.wait()


def test_waiter_that_has_timed_out_passes_the_lock_on(locked_file: Path) -> None:
    held = file_lock(locked_file).acquire()

    with pytest.raises(TimeoutError):
        file_lock(locked_file, SHORT_TIMEOUT).acquire()
    held.release()

    file_lock(locked_file).acquire().release()


def test_releasing_twice_does_nothing(locked_file: Path) -> None:
    lock = file_lock(locked_file)
    first = lock.acquire()
    first.release()
    second = lock.acquire()
    first.release()
    with pytest.raises(TimeoutError):
        file_lock(locked_file, SHORT_TIMEOUT).acquire()
    second.release()


def test_lock_is_free_if_lock_files_cannot_be_created(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "post-results.db"
    file_lock(missing).acquire()
    file_lock(missing).acquire()

    locked_file = tmp_path / "post-results.db"
    locked_file.with_name(locked_file.name + LOCK_SUFFIX).mkdir()
    file_lock(locked_file).acquire()
    file_lock(locked_file).acquire()


async def run_statement(session: AllWorkspacesWriteSession) -> None:
    await run_raw(session, text("SELECT 1"))


@pytest.fixture
async def other_process(database_url: str) -> AsyncIterator[Database]:
    """The same file, opened with a short timeout, as by another process."""
    async with Database(database_url, timeout=SHORT_TIMEOUT) as opened:
        yield opened


@only_on_sqlite
async def test_write_holds_the_lock_until_it_commits_fails_or_is_cancelled(
    database: Database, other_process: Database
) -> None:
    is_inside, may_end = threading.Event(), threading.Event()

    async def wait_inside(session: AllWorkspacesWriteSession) -> None:
        await run_statement(session)
        is_inside.set()
        may_end.wait(TIMEOUT_SECONDS)
        await run_statement(session)

    async def fail_inside(session: AllWorkspacesWriteSession) -> None:
        await wait_inside(session)
        raise LookupError("failed work")

    for work, is_cancelled in ((wait_inside, False), (fail_inside, False), (wait_inside, True)):
        is_inside.clear()
        may_end.clear()
        writing = asyncio.create_task(database.write_all_workspaces(work))
        await asyncio.to_thread(is_inside.wait)
        if is_cancelled:
            writing.cancel()
        with pytest.raises(ServiceUnavailable):
            await other_process.write_all_workspaces(run_statement)
        may_end.set()
        await asyncio.gather(writing, return_exceptions=True)
        await database.write_all_workspaces(run_statement)
        await other_process.write_all_workspaces(run_statement)


async def change_schema(database: Database) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("SELECT 1"))


@only_on_sqlite
@pytest.mark.parametrize(
    "work", [lambda database: database.write_all_workspaces(run_statement), change_schema]
)
async def test_work_cancelled_while_waiting_passes_the_lock_on(
    database: Database, database_url: str, work: Callable[[Database], Coroutine[Any, Any, None]]
) -> None:
    locked_file = Path(str(database.url.database))
    held = file_lock(locked_file).acquire()
    waiting = asyncio.create_task(work(database))
    await wait_until_queued(locked_file)
    waiting.cancel()
    await asyncio.wait([waiting])
    held.release()

    await database.write_all_workspaces(run_statement)
    await change_schema(database)
    async with Database(database_url) as other:
        await other.write_all_workspaces(run_statement)


@only_on_sqlite
async def test_migration_holds_the_lock(database: Database, other_process: Database) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(ServiceUnavailable):
            await other_process.write_all_workspaces(run_statement)

    await other_process.write_all_workspaces(run_statement)
