"""PgBouncer in session and transaction mode: limits, session state, shared connections and round trips."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import Integer, bindparam, func, make_url, select, text
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from app.db.core.database import Database
from app.db.core.postgresql import connect
from app.db.core.postgresql_pooler import pooler_options
from app.db.core.statements import Record, Statement, compile_statement
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Post
from app.db.tools.pooler_check import check_pooler
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.services.change_feed import run_change_notifier
from app.settings import read_settings
from tests.db.core.intercepting_driver import StubDriver
from tests.db.core.test_database import MINUTE_LONG_STATEMENT, only_on_postgresql
from tests.db.core.test_postgresql_driver import wait_until_idle
from tests.factories import add_post, add_workspace
from tests.graphql.tenants import NO_LIMITS
from tests.graphql.test_tenancy import open_both_clients, tenancy_cases
from tests.pgbouncer import POOL_SIZE, PgBouncer, run_pgbouncer
from tests.postgres import local_server
from tests.raw_statements import of_test, run_raw
from tests.services import publishing_calls
from tests.tcp_proxy import tcp_proxy

pytestmark = only_on_postgresql

TIMEOUT = timedelta(seconds=7)
READS = 40
"""Concurrent reads, ten times as many as PgBouncer has connections."""

COUNT = Statement(select(func.count()).select_from(Post))
POINT_READ = Statement(
    select(Post.content).where(Post.id == bindparam("post_id")), point_key="post_id"
)
DIVISION_BY_ZERO = text("SELECT 1 / 0")
SELECT_PID = select(func.pg_backend_pid())
LIMITS = ("statement_timeout", "lock_timeout", "transaction_read_only")
SELECT_LIMITS = select(*map(func.current_setting, LIMITS))

SESSION_STATE = """
    SELECT 'setting ' || name FROM pg_settings WHERE source = 'session'
    UNION ALL SELECT 'prepared statement' FROM pg_prepared_statements
    UNION ALL SELECT 'cursor' FROM pg_cursors WHERE name <> ''
    UNION ALL SELECT 'channel' FROM pg_listening_channels()
    UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
"""
SETTINGS_OF_PGBOUNCER = {
    f"setting {name}"
    for name in (
        "application_name",
        "client_encoding",
        "DateStyle",
        "IntervalStyle",
        "standard_conforming_strings",
        "TimeZone",
    )
}


only_in_transaction_mode = pytest.mark.parametrize("pgbouncer", ["transaction"], indirect=True)


@pytest.fixture(params=["session", "transaction"])
def pgbouncer(request: pytest.FixtureRequest, database_url: str) -> Iterator[PgBouncer]:
    """PgBouncer in front of a migrated database, with four connections."""
    with run_pgbouncer(database_url, request.param) as running:
        yield running


@asynccontextmanager
async def reserved_connections(pgbouncer: PgBouncer) -> AsyncIterator[list[asyncpg.Connection]]:
    """Open a transaction of another client on each connection of PgBouncer."""
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        connections = [await pgbouncer.connect() for _ in range(POOL_SIZE)]
        for connection in connections:
            stack.push_async_callback(connection.close)
            await connection.execute("BEGIN")
        yield connections


async def read_pid(database: Database) -> int:
    """Return the process id of the connection that served a read."""
    return await database.all_workspaces.count(of_test(SELECT_PID))


async def read_and_write(database: Database) -> None:
    """Run statements on all connections that succeed, fail or are cancelled."""
    workspace = await add_workspace(database)
    post = await add_post(database, workspace)
    reader = database.reader(workspace)

    async def fail(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, DIVISION_BY_ZERO)

    results = await asyncio.gather(
        *(reader.rows(POINT_READ, post_id=post.id) for _ in range(READS)),
        *(reader.count(COUNT) for _ in range(READS)),
        *(database.write_all_workspaces(fail) for _ in range(3)),
        *(add_workspace(database, name=f"workspace {number}") for number in range(3)),
        return_exceptions=True,
    )
    assert Counter(type(result) for result in results) == {
        list: READS,
        int: READS,
        asyncpg.DivisionByZeroError: 3,
        UUID: 3,
    }
    slow_read = asyncio.create_task(reader.rows(Statement(select(func.pg_sleep(60), Post.id))))
    await asyncio.sleep(0.1)
    slow_read.cancel()
    await asyncio.wait([slow_read])
    assert await reader.count(COUNT) == 1


async def test_no_session_state_is_left_for_other_clients(pgbouncer: PgBouncer) -> None:
    async with pgbouncer.database() as database:
        await check_pooler(database)
        await read_and_write(database)
        async with reserved_connections(pgbouncer) as others:
            state = {row[0] for other in others for row in await other.fetch(SESSION_STATE)}

    assert state - SETTINGS_OF_PGBOUNCER == set()


async def test_other_clients_have_no_limits_and_can_write(pgbouncer: PgBouncer) -> None:
    settings = ", ".join(f"current_setting('{name}')" for name in LIMITS)
    async with pgbouncer.database() as database:
        await read_and_write(database)
        async with reserved_connections(pgbouncer) as others:
            limits = [tuple(await other.fetchrow(f"SELECT {settings}")) for other in others]
            for other in others:
                await other.execute("UPDATE post SET content = 'written'")
                await other.execute("ROLLBACK")

    assert limits == [("0", "0", "off")] * POOL_SIZE


async def test_each_statement_has_limits_and_reads_are_read_only(pgbouncer: PgBouncer) -> None:
    async def read_limits(session: AllWorkspacesWriteSession) -> list[Record]:
        return [*await run_raw(session, SELECT_LIMITS), *await run_raw(session, SELECT_LIMITS)]

    async with pgbouncer.database(timeout=TIMEOUT) as database:
        read = [
            tuple(await database.all_workspaces.first(of_test(SELECT_LIMITS)) or ())
            for _ in range(2)
        ]
        written = [tuple(limits) for limits in await database.write_all_workspaces(read_limits)]

    assert read == [("7s", "7s", "on")] * 2
    assert written == [("7s", "7s", "off")] * 2


async def test_write_in_a_read_is_refused(pgbouncer: PgBouncer) -> None:
    stub = StubDriver("DELETE FROM post")
    async with pgbouncer.database(wrap_driver=stub) as database:
        workspace = await add_workspace(database)
        await add_post(database, workspace)
        for _ in range(2):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await database.reader(workspace).rows(COUNT)
        stub.sql = None

        assert await database.reader(workspace).count(COUNT) == 1


async def test_statement_over_the_timeout_is_unavailable_and_cancelled(
    database: Database, pgbouncer: PgBouncer
) -> None:
    async def sleep(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, MINUTE_LONG_STATEMENT)

    sleeping = of_test(select(func.pg_sleep(60)))
    async with pgbouncer.database(timeout=timedelta(seconds=1)) as pooled:
        with pytest.raises(ServiceUnavailable):
            await pooled.all_workspaces.rows(sleeping)
        with pytest.raises(ServiceUnavailable) as raised:
            await pooled.write_all_workspaces(sleep)
        assert isinstance(raised.value.__cause__, asyncpg.QueryCanceledError)
        await pooled.ping()
        await wait_until_idle(database)


async def test_wait_for_a_lock_is_limited(pgbouncer: PgBouncer) -> None:
    async def lock(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, text("LOCK TABLE post"))

    async with pgbouncer.database(timeout=timedelta(seconds=1)) as database:
        workspace = await add_workspace(database)
        other = await pgbouncer.connect()
        await other.execute("BEGIN; LOCK TABLE post")
        for locked in (
            database.write_all_workspaces(lock),
            database.reader(workspace).count(COUNT),
        ):
            with pytest.raises(ServiceUnavailable):
                await locked
        await other.close()

        assert await database.reader(workspace).count(COUNT) == 0


@pytest.mark.parametrize("loop_steps", [0, 1, 2, 3, 5, 50])
async def test_cancelled_read_cancels_its_statement_and_releases_its_connection(
    database: Database, pgbouncer: PgBouncer, loop_steps: int
) -> None:
    sleeping = Statement(select(func.pg_sleep(60), Post.id))
    async with pgbouncer.database(pool_size=2) as pooled, asyncio.timeout(20):
        workspace = await add_workspace(pooled)
        await add_post(pooled, workspace)
        reader = pooled.reader(workspace)
        await asyncio.gather(reader.count(COUNT), reader.count(COUNT))  # opens the connections
        for _ in range(3):  # the types of the statement are unknown at first
            reads = [asyncio.create_task(reader.rows(sleeping)) for _ in range(2)]
            for _ in range(loop_steps):
                await asyncio.sleep(0.002 if loop_steps == 50 else 0)
            for read in reads:
                read.cancel()
            await asyncio.wait(reads)
            assert await asyncio.gather(*(reader.count(COUNT) for _ in range(4))) == [1] * 4
        await wait_until_idle(database)
        if pgbouncer.mode == "transaction":
            async with reserved_connections(pgbouncer):  # no transaction of ours is open
                pass


async def test_processes_share_fewer_connections_than_they_open(pgbouncer: PgBouncer) -> None:
    async def read_together(process: Database) -> set[int]:
        return set(await asyncio.gather(*(read_pid(process) for _ in range(READS))))

    async with AsyncExitStack() as stack, asyncio.timeout(20):
        processes = [
            await stack.enter_async_context(pgbouncer.database(pool_size=10)) for _ in range(3)
        ]
        workspace = await add_workspace(processes[0])
        readers = [process.reader(workspace) for process in processes]
        for _ in range(3):
            counts = await asyncio.gather(
                *(reader.count(COUNT) for reader in readers for _ in range(READS))
            )
            assert counts == [0] * len(readers) * READS
        pids = await asyncio.gather(*map(read_together, processes))

    assert 1 <= len(set().union(*pids)) <= POOL_SIZE


@only_in_transaction_mode
async def test_due_destinations_are_claimed_once_by_concurrent_processes(
    pgbouncer: PgBouncer,
) -> None:
    async with pgbouncer.database() as first, pgbouncer.database() as second:
        workspace = await add_workspace(first)
        await publishing_calls.add_due(first, workspace, count=30)
        claims = await asyncio.gather(
            *(publishing_calls.claim(process, 5) for process in (first, second) for _ in range(6))
        )

    claimed = [claim.lease.destination_id for each in claims for claim in each]
    assert len(claimed) == len(set(claimed))
    assert len(claimed) >= 5


async def test_commit_is_notified_to_another_process(pgbouncer: PgBouncer) -> None:
    woken: asyncio.Queue[WorkspaceId | None] = asyncio.Queue()
    async with (
        asyncio.timeout(10),
        pgbouncer.database() as listening,
        pgbouncer.database() as notifying,
        run_change_notifier(listening, woken.put_nowait),
        run_change_notifier(notifying, lambda _: None),
    ):
        workspace = await add_workspace(notifying)
        assert await woken.get() is None  # it listens
        notifying.notify_commit(workspace)
        assert await woken.get() == workspace


@only_in_transaction_mode
async def test_foreign_and_nonexistent_values_have_equal_responses(pgbouncer: PgBouncer) -> None:
    settings = read_settings(NO_LIMITS)
    async with open_both_clients(pgbouncer.database(), settings) as (own, foreign):
        cases = [case async for case in tenancy_cases(own, foreign)]

    assert len(cases) > 20
    assert [case.position for case in cases if case.foreign != case.nonexistent] == []


async def test_round_trips_are_as_many_as_without_a_pooler(
    database_url: str, pgbouncer: PgBouncer
) -> None:
    """A read takes one, and a write of two statements takes four."""

    async def work(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, SELECT_PID)
        await run_raw(session, SELECT_LIMITS)

    async def count_round_trips(url: str, **options: Any) -> list[int]:
        async with (
            tcp_proxy(url) as proxy,
            Database(proxy.url.render_as_string(hide_password=False), **options) as database,
        ):
            counts = []
            for _ in range(2):
                for run in (
                    lambda: read_pid(database),
                    lambda: database.write_all_workspaces(work),
                ):
                    before = proxy.round_trips
                    await run()
                    counts.append(proxy.round_trips - before)
        return counts

    pooled = await count_round_trips(
        pgbouncer.url, pooler=pgbouncer.mode, direct_url=pgbouncer.direct_url
    )
    direct = await count_round_trips(database_url)
    assert pooled[2:] == direct[2:] == [1, 4]


@asynccontextmanager
async def pooled_connection(pgbouncer: PgBouncer) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(pooler_options(make_url(pgbouncer.url), timedelta(seconds=0.5)))
    try:
        yield connection
    finally:
        await connection.close()


@only_in_transaction_mode
async def test_wait_for_a_lock_is_limited_while_the_types_are_read(pgbouncer: PgBouncer) -> None:
    async with pooled_connection(pgbouncer) as connection, pooled_connection(pgbouncer) as other:
        await other.execute("BEGIN; LOCK TABLE post")
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.fetch("SELECT id FROM post")
        await other.execute("ROLLBACK")

        assert await connection.fetch("SELECT id FROM post") == []


@only_in_transaction_mode
async def test_changed_type_of_a_column_fails_only_one_read(pgbouncer: PgBouncer) -> None:
    select_version = "SELECT version FROM post"
    async with pgbouncer.database() as database:
        await add_post(database, await add_workspace(database))
    async with pooled_connection(pgbouncer) as connection:
        await connection.execute("BEGIN")
        stored = await connection.fetch(select_version)
        await connection.execute("ALTER TABLE post ALTER version TYPE numeric")
        await connection.execute("SAVEPOINT changed")
        with pytest.raises(BufferError):
            await connection.fetch(select_version)
        await connection.execute("ROLLBACK TO changed")

        assert await connection.fetch(select_version) == stored
        await connection.execute("ROLLBACK")


@only_in_transaction_mode
async def test_invalid_argument_leaves_no_open_transaction(pgbouncer: PgBouncer) -> None:
    statement = compile_statement(
        select(bindparam("number", type_=Integer())),
        asyncpg_dialect.dialect(),  # type: ignore[no-untyped-call]
    )
    async with pgbouncer.database() as database:
        with pytest.raises(asyncpg.DataError):
            await database.driver.fetch(statement, ["text"])
        async with reserved_connections(pgbouncer) as others:
            assert len(others) == POOL_SIZE
        assert [*(await database.driver.fetch(statement, [1]))[0]] == [1]


@pytest.mark.usefixtures("engine")
async def test_restart_of_postgresql_causes_errors_only_while_it_is_down() -> None:
    with local_server() as server, run_pgbouncer(server.url, "transaction") as pgbouncer:
        async with pgbouncer.database(timeout=timedelta(seconds=1)) as database:
            await database.ping()
            await asyncio.to_thread(server.stop)
            with pytest.raises(ServiceUnavailable):
                await database.ping()
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(15):
                while True:
                    with suppress(ServiceUnavailable):
                        await database.ping()
                        break

            assert await database.write_all_workspaces(select_one) == [(1,)]


async def select_one(session: AllWorkspacesWriteSession) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await run_raw(session, text("SELECT 1"))]
