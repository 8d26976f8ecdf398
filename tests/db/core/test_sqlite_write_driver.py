"""Writer thread of SQLite: one hop per write, time limits, cancellation, and works that would deadlock."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Post, Workspace
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from tests.db.core.cancellation import cancel_at_await
from tests.db.core.test_database import (
    MINUTE_LONG_STATEMENT,
    SHORT_TIMEOUT,
    build_workspace,
    event_seq,
    workspace_names,
)
from tests.factories import add_workspace, insert_objects
from tests.raw_statements import run_raw
from tests.servers import TIMEOUT_SECONDS
from tests.write_lock_waits import NoWriteLock

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class OpenWrite:
    """A write that has inserted the workspace "open", and waits inside its transaction."""

    def __init__(self) -> None:
        self.is_inside = threading.Event()
        self.may_continue = threading.Event()

    async def __call__(self, session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("open"))
        self.is_inside.set()
        self.may_continue.wait(TIMEOUT_SECONDS)
        await run_raw(session, text("SELECT 1"))


@asynccontextmanager
async def open_write(database: Database) -> AsyncIterator[tuple[OpenWrite, asyncio.Task[None]]]:
    """Begin a write and wait until it is inside its transaction; it continues at the end of the block."""
    work = OpenWrite()
    task = asyncio.create_task(database.write_all_workspaces(work))
    await asyncio.to_thread(work.is_inside.wait, TIMEOUT_SECONDS)
    try:
        yield work, task
    finally:
        work.may_continue.set()
        await asyncio.wait([task])


async def test_write_waits_only_once_for_the_event_loop(database: Database) -> None:
    async def insert_ten(session: AllWorkspacesWriteSession) -> None:
        for number in range(10):
            await insert_objects(session, build_workspace(str(number)))

    assert await cancel_at_await(database.write_all_workspaces(insert_ten), await_number=0) == 1
    assert len(await workspace_names(database)) == 10


async def test_write_ends_while_the_event_loop_is_blocked(database: Database) -> None:
    async with open_write(database) as (work, task):
        work.may_continue.set()
        while "open" not in stored_names(database):
            pass
        assert not task.done()


def stored_names(database: Database) -> list[str]:
    connection = sqlite3.connect(str(database.url.database))
    try:
        return [name for (name,) in connection.execute("SELECT name FROM workspace")]
    finally:
        connection.close()


async def test_settings_of_the_connection(database: Database) -> None:
    async def read_settings(session: AllWorkspacesWriteSession) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "analysis_limit", "busy_timeout")
        return [(await run_raw(session, text(f"PRAGMA {name}")))[0][0] for name in names]

    full = 2
    assert await database.write_all_workspaces(read_settings) == ["wal", full, 1, 400, 10_000]


async def test_writers_without_file_lock_lose_no_update(
    database: Database, database_url: str
) -> None:
    """A deferred transaction would fail when it writes what it has read before."""
    workspace_id = await add_workspace(database)

    async def count(session: AllWorkspacesWriteSession) -> None:
        ((current,),) = await run_raw(
            session, select(Workspace.event_seq).where(Workspace.id == workspace_id)
        )
        await run_raw(
            session,
            update(Workspace).where(Workspace.id == workspace_id).values(event_seq=current + 1),
        )

    def unlocked() -> Database:
        return Database(database_url, make_write_lock=lambda _file, _timeout: NoWriteLock())

    async with unlocked() as first, unlocked() as second:
        await asyncio.gather(
            *(writer.write_all_workspaces(count) for writer in [first, second] * 20)
        )

    assert await event_seq(database, workspace_id) == 40


async def test_write_that_waits_too_long_for_the_thread_never_runs(
    database: Database, database_url: str
) -> None:
    async with Database(database_url, timeout=SHORT_TIMEOUT) as impatient:
        async with open_write(impatient):
            with pytest.raises(ServiceUnavailable):
                await add_workspace(impatient, name="late")
        await add_workspace(impatient, name="next")

    assert await workspace_names(database) == ["next", "open"]


async def test_cancelled_write_that_has_not_begun_never_runs(database: Database) -> None:
    async with open_write(database):
        waiting = asyncio.create_task(add_workspace(database, name="cancelled"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
    await add_workspace(database, name="next")

    assert waiting.cancelled()
    assert await workspace_names(database) == ["next", "open"]


async def test_cancelled_write_is_rolled_back_and_releases_the_lock(
    database: Database, database_url: str
) -> None:
    """The tasks stay referenced: their tracebacks keep all objects of the cancelled writes alive."""
    tasks = []
    async with Database(database_url, timeout=SHORT_TIMEOUT) as other_process:
        for number in range(5):
            async with open_write(database) as (_work, task):
                task.cancel()
                await asyncio.wait([task])
            tasks.append(task)
            await add_workspace(database, name=f"after {number}")
            await add_workspace(other_process, name=f"other after {number}")

    assert all(task.cancelled() for task in tasks)
    assert "open" not in await workspace_names(database)


async def test_cancelled_write_interrupts_its_statement(database: Database) -> None:
    is_inside = threading.Event()

    async def run_long_statement(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("cancelled"))
        is_inside.set()
        await run_raw(session, MINUTE_LONG_STATEMENT)

    async with asyncio.timeout(TIMEOUT_SECONDS):
        writing = asyncio.create_task(database.write_all_workspaces(run_long_statement))
        await asyncio.to_thread(is_inside.wait)
        writing.cancel()
        await asyncio.wait([writing])
        await add_workspace(database, name="next")

    assert await workspace_names(database) == ["next"]


async def test_closing_waits_for_the_running_write_and_drops_the_waiting_ones(
    database: Database, database_url: str
) -> None:
    async with Database(database_url) as closing:
        async with open_write(closing) as (work, running):
            waiting = asyncio.create_task(add_workspace(closing, name="waiting"))
            await asyncio.sleep(0.01)
            closed = asyncio.create_task(closing.writer.close())
            await asyncio.sleep(0.01)
            assert not closed.done()
            with pytest.raises(ServiceUnavailable):
                async with asyncio.timeout(1):  # refused without a wait for `running`
                    await add_workspace(closing, name="late")
            work.may_continue.set()
            await asyncio.wait([closed, waiting, running])
        assert isinstance(waiting.exception(), ServiceUnavailable)

        await add_workspace(closing, name="reopened")

    assert await workspace_names(database) == ["open", "reopened"]


def begin_write(database: Database) -> Awaitable[object]:
    return database.write_all_workspaces(lambda session: run_raw(session, text("SELECT 1")))


def read(database: Database) -> Awaitable[object]:
    return database.reader(WorkspaceId(uuid4())).rows(Statement(select(Post.id)))


def sleep(_database: Database) -> Awaitable[object]:
    return asyncio.sleep(0)


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (begin_write, r"write\(\) was called inside a write"),
        (read, "no running event loop"),
        (sleep, "awaited something besides its session"),
    ],
)
async def test_work_that_awaits_something_besides_its_session_fails(
    database: Database, begin: Callable[[Database], Awaitable[object]], message: str
) -> None:
    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("half"))
        await begin(database)

    with pytest.raises(RuntimeError, match=message):
        await database.write_all_workspaces(work)

    await add_workspace(database, name="next")
    assert await workspace_names(database) == ["next"]


async def test_write_during_a_transaction_of_another_program_is_unavailable(
    database: Database, database_url: str
) -> None:
    holder = sqlite3.connect(str(database.url.database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with Database(database_url, timeout=timedelta(milliseconds=50)) as waiting:
        with pytest.raises(ServiceUnavailable):
            await add_workspace(waiting, name="refused")
        holder.execute("ROLLBACK")
        holder.close()
        await add_workspace(waiting, name="next")

    assert await workspace_names(database) == ["next"]
