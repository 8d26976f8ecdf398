"""Reads, write transactions, timeouts and lost connections of `Database`."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import TextClause, func, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError

from app.db.core.database import Database
from app.db.core.statements import Record, Statement
from app.db.core.types import ColumnValues
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import update_rows
from app.db.models import ApiKey, Post, Workspace
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId, WorkspaceKind
from app.runtime.fair_slots import current_caller
from tests.factories import NOW, add_api_key, add_post, add_workspace, insert_objects
from tests.raw_statements import of_test, run_raw

SHORT_TIMEOUT = timedelta(milliseconds=200)
INTEGRITY_ERRORS = (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)
"""Errors of a write that violates a constraint."""

only_on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
only_on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
async def short_timeout_database(anyio_backend: str, database_url: str) -> AsyncIterator[Database]:
    """Database with one read connection and a short timeout."""
    async with Database(database_url, pool_size=1, timeout=SHORT_TIMEOUT) as opened:
        yield opened


def build_workspace(name: str) -> Workspace:
    return Workspace(
        id=uuid4(),
        name=name,
        kind=WorkspaceKind.LOCAL,
        mirror_of=None,
        event_seq=0,
        next_account_id=1,
        created_at=NOW,
    )


async def workspace_names(database: Database) -> list[str]:
    async with database.read_connection() as connection:
        return list(await connection.scalars(select(Workspace.name).order_by(Workspace.name)))


async def event_seq(database: Database, workspace_id: WorkspaceId) -> int | None:
    async with database.read_connection() as connection:
        return await connection.scalar(
            select(Workspace.event_seq).where(Workspace.id == workspace_id)
        )


async def test_json_that_is_counted_at_the_same_time_is_not_lost(database: Database) -> None:
    workspace = await add_workspace(database)
    await add_post(database, workspace, media_ids=["a", "b"])
    reader = database.reader(workspace)
    rows = await reader.rows(Statement(select(Post.media_ids, Post.content)))

    def rows_counted_meanwhile() -> Iterator[Record]:
        reader.count_json(rows)
        yield from rows

    reader.count_json(rows_counted_meanwhile())

    assert reader.json_character_count == 3 * len('["a","b"]')


async def test_reader_cannot_write(database: Database) -> None:
    await add_workspace(database, name="before")

    for connect in (database.read_connection, database.snapshot):
        async with connect() as connection:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await connection.execute(update(Workspace).values(name="after"))

    assert await workspace_names(database) == ["before"]


async def test_exception_in_a_write_rolls_back(database: Database) -> None:
    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("half"))
        raise LookupError("half way")

    with pytest.raises(LookupError, match="half way"):
        await database.write_all_workspaces(work)

    assert await workspace_names(database) == []


async def test_violated_constraint_is_raised_and_rolls_back(database: Database) -> None:
    await add_workspace(database, name="taken")

    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("free"), build_workspace("taken"))

    with pytest.raises(INTEGRITY_ERRORS):
        await database.write_all_workspaces(work)

    assert await workspace_names(database) == ["taken"]


async def test_write_that_ignores_the_error_of_a_statement_fails(database: Database) -> None:
    """PostgreSQL would answer its COMMIT with a rollback, and no error."""
    await add_workspace(database, name="taken")

    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("free"))
        with pytest.raises(INTEGRITY_ERRORS):
            await insert_objects(session, build_workspace("taken"))

    with pytest.raises(RuntimeError, match="ignored the error of a statement"):
        await database.write_all_workspaces(work)
    await add_workspace(database, name="next")

    assert await workspace_names(database) == ["next", "taken"]


async def test_write_of_one_key_passes_waiting_writes_of_another(database: Database) -> None:
    running = 1 if database.is_sqlite else 5
    statement = of_test(select(literal(1)))
    begun: list[str] = []
    may_end = threading.Semaphore(0)

    async def write(caller: str) -> None:
        current_caller.set(caller)

        async def work(session: AllWorkspacesWriteSession) -> None:
            begun.append(caller)
            while not may_end.acquire(blocking=False):
                await session.rows(statement)  # a write may await nothing else

        await database.write_all_workspaces(work)

    async def wait_until_begun(number: int) -> None:
        while len(begun) < number:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)

    callers = [*["flood"] * 50, "client"]
    async with asyncio.TaskGroup() as writes:
        for caller in callers:
            writes.create_task(write(caller))
        await wait_until_begun(running)
        for ended in (1, 2, 3):
            may_end.release()
            await wait_until_begun(running + ended)
        first = list(begun)
        may_end.release(len(callers))

    # Up to two more writes of the flood precede it: one that SQLite's thread had, and one whose turn it was.
    assert first.count("client") == 1


async def test_concurrent_read_modify_writes_of_two_processes_lose_no_update(
    database: Database, database_url: str
) -> None:
    workspace_id = await add_workspace(database)

    async def count(session: AllWorkspacesWriteSession) -> None:
        ((current,),) = await run_raw(
            session,
            select(Workspace.event_seq).where(Workspace.id == workspace_id).with_for_update(),
        )
        await run_raw(
            session,
            update(Workspace).where(Workspace.id == workspace_id).values(event_seq=current + 1),
        )

    async with Database(database_url) as other:
        await asyncio.gather(
            *(writer.write_all_workspaces(count) for writer in [database, other] * 25)
        )

    assert await event_seq(database, workspace_id) == 50


async def raise_sqlstate(session: AllWorkspacesWriteSession, sqlstate: str) -> None:
    await run_raw(
        session, text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$")
    )


@only_on_postgresql
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "23503"])
async def test_conflict_of_writers_repeats_the_whole_transaction(
    database: Database, sqlstate: str
) -> None:
    names: list[str] = []

    async def work(session: AllWorkspacesWriteSession) -> None:
        names.append(f"attempt {len(names) + 1}")
        await insert_objects(session, build_workspace(names[-1]))
        if len(names) < 3:
            await raise_sqlstate(session, sqlstate)

    await database.write_all_workspaces(work)

    assert names == ["attempt 1", "attempt 2", "attempt 3"]
    assert await workspace_names(database) == ["attempt 3"]


@only_on_postgresql
async def test_repeated_serialization_failure_is_unavailable(database: Database) -> None:
    attempts = []

    async def work(session: AllWorkspacesWriteSession) -> None:
        attempts.append(1)
        await raise_sqlstate(session, "40001")

    with pytest.raises(ServiceUnavailable):
        await database.write_all_workspaces(work)

    assert len(attempts) == 5


def slow_statement(number: int) -> TextClause:
    """Statement for both engines that takes about 0.2 s per million numbers."""
    return text(
        "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers"
        f" WHERE i < {number}) SELECT count(*) FROM numbers"
    )


MINUTE_LONG_STATEMENT = slow_statement(300_000_000)


async def test_statement_over_the_timeout_is_unavailable(short_timeout_database: Database) -> None:
    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("half"))
        await run_raw(session, MINUTE_LONG_STATEMENT)

    with pytest.raises(ServiceUnavailable):
        await short_timeout_database.write_all_workspaces(work)

    assert await workspace_names(short_timeout_database) == []


async def test_snapshot_has_no_statement_timeout(short_timeout_database: Database) -> None:
    started = time.monotonic()
    async with short_timeout_database.snapshot() as connection:
        assert await connection.scalar(slow_statement(3_000_000)) == 3_000_000
    assert time.monotonic() - started > SHORT_TIMEOUT.total_seconds()


async def test_lock_held_over_the_timeout_is_unavailable(
    database: Database, short_timeout_database: Database
) -> None:
    workspace_id = await add_workspace(database, name="before")
    rename = update(Workspace).where(Workspace.id == workspace_id)

    async with database.schema_transaction() as connection:
        await connection.execute(rename.values(name="slow"))
        with pytest.raises(ServiceUnavailable):
            await short_timeout_database.write_all_workspaces(
                lambda session: run_raw(session, rename.values(name="quick"))
            )

    assert await workspace_names(database) == ["slow"]


async def test_pool_of_one_serves_many_readers_and_writers(
    database_url: str, database: Database
) -> None:
    async with Database(database_url, pool_size=1) as single:
        workspace_id = await add_workspace(database)

        async def read() -> int:
            reader = single.reader(workspace_id)
            return await reader.count(Statement(select(func.count()).select_from(Post)))

        async def write() -> int:
            await add_post(single, workspace_id)
            return await read()

        await asyncio.gather(*(read() for _ in range(20)), *(write() for _ in range(5)))

        assert await read() == 5


@only_on_postgresql
@pytest.mark.parametrize(
    ("part", "replacement"), [("/post_results_test_", "/no_such_"), ("host=", "host=/nowhere")]
)
async def test_missing_server_or_database_is_unavailable(
    database_url: str, part: str, replacement: str
) -> None:
    async with Database(database_url.replace(part, replacement), timeout=SHORT_TIMEOUT) as missing:
        with pytest.raises(ServiceUnavailable):
            await missing.ping()
        with pytest.raises(ServiceUnavailable):
            await add_workspace(missing)


async def test_unreachable_file_or_port_is_unavailable(anyio_backend: str, tmp_path: Path) -> None:
    for missing in (
        Database.from_file(tmp_path / "no-such-folder" / "post-results.db"),
        Database("postgresql+asyncpg://user@127.0.0.1:1/missing"),
    ):
        async with missing:
            with pytest.raises(ServiceUnavailable):
                await missing.ping()
            with pytest.raises(ServiceUnavailable):
                async with missing.snapshot():
                    pass
            with pytest.raises(ServiceUnavailable):
                await add_workspace(missing)


TERMINATE_OTHER_CONNECTIONS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name = 'post-results'"
)


@only_on_postgresql
async def test_connection_of_a_tool_is_closed_after_use(database: Database) -> None:
    async with database.snapshot() as connection:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
    is_open = text(f"SELECT pid FROM pg_stat_activity WHERE pid = {pid}")
    async with asyncio.timeout(5):
        while await database.write_all_workspaces(lambda session: run_raw(session, is_open)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@only_on_postgresql
async def test_terminated_connection_is_replaced(database: Database) -> None:
    await database.ping()
    async with database.write_engine.connect() as connection:
        await connection.execute(TERMINATE_OTHER_CONNECTIONS)

    await database.ping()


@only_on_postgresql
async def test_write_replaces_connections_that_were_terminated_while_idle(
    database: Database,
) -> None:
    async def wait(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, text("SELECT pg_sleep(0.1)"))

    await asyncio.gather(
        *(database.write_all_workspaces(wait) for _ in range(5))
    )  # opens all connections
    async with database.schema_transaction() as connection:
        await connection.execute(TERMINATE_OTHER_CONNECTIONS)

    await add_workspace(database, name="Acme")

    assert await workspace_names(database) == ["Acme"]


async def test_updating_a_missing_row_raises_and_rolls_back(database: Database) -> None:
    workspace_id = await add_workspace(database)
    key = await add_api_key(database, workspace_id, name="before")

    async def work(session: WriteSession) -> None:
        rows: list[ColumnValues] = [{"id": id_, "name": "after"} for id_ in (key.id, uuid4())]
        await update_rows(session, ApiKey, rows)

    with pytest.raises(RuntimeError, match="1 rows of api_key do not exist"):
        await database.write(workspace_id, work)

    async with database.read_connection() as connection:
        assert await connection.scalar(select(ApiKey.name)) == "before"


@only_on_postgresql
async def test_write_whose_connection_is_terminated_is_unavailable_and_rolled_back(
    database: Database,
) -> None:
    async def work(session: AllWorkspacesWriteSession) -> None:
        await insert_objects(session, build_workspace("lost"))
        await run_raw(session, text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(ServiceUnavailable):
        await database.write_all_workspaces(work)

    assert await workspace_names(database) == []


async def test_snapshot_does_not_see_later_writes(database: Database) -> None:
    await add_workspace(database, name="a")

    async with database.snapshot() as connection:
        before = list(await connection.scalars(select(Workspace.name)))
        await add_workspace(database, name="b")
        after = list(await connection.scalars(select(Workspace.name)))

    assert (before, after) == (["a"], ["a"])
    assert await workspace_names(database) == ["a", "b"]


async def test_failed_schema_change_is_rolled_back_and_foreign_keys_stay_enforced(
    database: Database,
) -> None:
    async def change_and_fail() -> None:
        async with database.schema_transaction() as connection:
            await connection.execute(text("CREATE TABLE half (id INTEGER)"))
            raise LookupError("half way")

    with pytest.raises(LookupError, match="half way"):
        await change_and_fail()

    async with database.read_connection() as connection:
        with pytest.raises(DBAPIError, match="half"):
            await connection.execute(text("SELECT * FROM half"))
    with pytest.raises(INTEGRITY_ERRORS):
        await add_api_key(database, WorkspaceId(uuid4()))


@only_on_sqlite
async def test_schema_change_that_breaks_a_foreign_key_is_rolled_back(database: Database) -> None:
    workspace_id = await add_workspace(database, name="Acme")
    await add_api_key(database, workspace_id)

    async def delete_workspace() -> None:
        async with database.schema_transaction() as connection:
            await connection.execute(text("DELETE FROM workspace"))

    with pytest.raises(RuntimeError, match="1 rows would refer to rows that do not exist"):
        await delete_workspace()

    assert await workspace_names(database) == ["Acme"]


async def test_stored_values_are_read_unchanged(database: Database) -> None:
    """Times are truncated to milliseconds; JSON keeps the order of keys."""
    workspace_id = await add_workspace(database)
    content = {"zulu": {"content": "ü"}, "alpha": [1.0, None, {"b": True, "a": 2**53}]}
    post = await add_post(
        database,
        workspace_id,
        platform_content=content,
        created_at=NOW + timedelta(microseconds=1999),
    )

    reader = database.reader(workspace_id)
    row = await reader.first(
        Statement(select(Post.platform_content, Post.created_at).where(Post.id == post.id))
    )

    assert row is not None
    assert repr(row.platform_content) == repr(content)
    assert row.created_at == NOW + timedelta(milliseconds=1)
    assert row.created_at.utcoffset() == timedelta(0)


async def test_naive_datetime_is_refused(database: Database) -> None:
    async def work(session: AllWorkspacesWriteSession) -> None:
        values = {"id": uuid4(), "name": "naive", "kind": "local", "event_seq": 0}
        await run_raw(
            session,
            insert(Workspace).values(
                **values, next_account_id=1, created_at=NOW.replace(tzinfo=None)
            ),
        )

    with pytest.raises(Exception, match="a stored datetime needs a time zone"):
        await database.write_all_workspaces(work)

    assert await workspace_names(database) == []
