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

NEXT, TURN = LOCK_FILE_SUFFIXES
LONG = timedelta(seconds=TIMEOUT_SECONDS)
SHORT = timedelta(milliseconds=50)

HOLDER = """
import asyncio, sys, time
from datetime import timedelta
from pathlib import Path
from app.db.turns import FileTurns

asyncio.run(FileTurns(Path(sys.argv[1]), timedelta(0)).take())
print("taken", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def file(anyio_backend: str, tmp_path: Path) -> Path:
    return tmp_path / "post-results.db"


def turns(file: Path, timeout: timedelta = LONG) -> FileWriteLock:
    """Those of one process: locks belong to whoever opened the file, also within a process."""
    return FileWriteLock(file, timeout)


async def somebody_is_next(file: Path) -> None:
    """Return when a waiter has got as far as that, so that a later one is behind it."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with file.with_name(file.name + NEXT).open() as opened:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
            await asyncio.sleep(0.001)


async def test_the_next_one_is_not_overtaken_by_one_that_has_just_left(file: Path) -> None:
    first, second = turns(file), turns(file)
    order: list[str] = []

    async def again_and_again(name: str, mine: FileWriteLock) -> None:
        while len(order) < 6:
            await mine.acquire()
            order.append(name)
            if len(order) < 6:
                await somebody_is_next(file)
            mine.release()

    await first.acquire()
    waiting = asyncio.create_task(again_and_again("second", second))
    await somebody_is_next(file)
    first.release()
    await again_and_again("first", first)
    await waiting

    assert order[:6] == ["second", "first", "second", "first", "second", "first"]


async def test_a_process_that_is_killed_leaves(file: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(file)]
    holder = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"taken\n"
    waiting = asyncio.create_task(turns(file).acquire())
    await somebody_is_next(file)
    assert not waiting.done()

    holder.kill()
    await asyncio.wait_for(waiting, TIMEOUT_SECONDS)
    await holder.wait()


async def test_a_turn_that_nobody_waits_for_any_more_is_passed_on(file: Path) -> None:
    first, second, third = turns(file), turns(file), turns(file)
    await first.acquire()
    given_up = asyncio.create_task(second.acquire())
    await somebody_is_next(file)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up

    first.release()

    await third.acquire()
    third.release()
    await second.acquire()


async def test_a_turn_that_does_not_come_in_time_is_given_up(file: Path) -> None:
    first, second = turns(file), turns(file, SHORT)
    await first.acquire()

    with pytest.raises(TimeoutError):
        await second.acquire()
    first.release()

    await turns(file).acquire()


async def test_leaving_twice_or_without_a_turn_does_nothing(file: Path) -> None:
    first, second = turns(file), turns(file)
    first.release()
    await first.acquire()
    second.release()
    first.release()
    first.release()
    await second.acquire()


async def test_where_there_can_be_no_locks_nobody_waits(tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "post-results.db"
    await turns(absent).acquire()
    await turns(absent).acquire()

    file = tmp_path / "post-results.db"
    file.with_name(file.name + TURN).mkdir()
    await turns(file).acquire()
    await turns(file).acquire()


# Of a database.


async def nothing(session: WriteSession) -> None:
    await session.execute(text("SELECT 1"))


async def broken(session: WriteSession) -> None:
    await nothing(session)
    raise LookupError("a mistake of ours")


@pytest.fixture
async def others(database_url: str) -> AsyncIterator[Database]:
    """The same file, as another process has it that does not wait for long."""
    async with Database(database_url, timeout=SHORT) as opened:
        yield opened


@only_on_sqlite
async def test_a_write_holds_its_turn_to_its_end_however_it_ends(
    database: Database, others: Database
) -> None:
    async def while_others_wait(session: WriteSession) -> None:
        await nothing(session)
        with pytest.raises(ServiceUnavailable):
            await others.write(nothing)

    async def until_cancelled(session: WriteSession) -> None:
        await while_others_wait(session)
        is_inside.set()
        await asyncio.Event().wait()

    await database.write(while_others_wait)
    await others.write(nothing)
    with pytest.raises(LookupError):
        await database.write(broken)
    await others.write(nothing)
    is_inside = asyncio.Event()
    cancelled = asyncio.create_task(database.write(until_cancelled))
    await is_inside.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await others.write(nothing)
    await database.write(nothing)


@only_on_sqlite
async def test_a_write_that_is_cancelled_while_it_waits_leaves_the_database_usable(
    database: Database, database_url: str
) -> None:
    file = Path(str(database.url.database))
    held = turns(file)
    await held.acquire()
    waiting = asyncio.create_task(database.write(nothing))
    await somebody_is_next(file)
    waiting.cancel()
    await asyncio.wait([waiting])
    held.release()

    await add_workspace(database, name="Acme")
    async with Database(database_url) as other:
        await add_workspace(other, name="Other")


@only_on_sqlite
async def test_a_migration_holds_its_turn(database: Database, others: Database) -> None:
    async with database.schema_transaction() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(ServiceUnavailable):
            await others.write(nothing)

    await others.write(nothing)
