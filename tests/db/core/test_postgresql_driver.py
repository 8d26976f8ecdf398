"""PostgreSQL driver: replaced connections, pool timeouts, and cancellation."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, func, make_url, select, text
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from app.db.core.database import Database, Reader
from app.db.core.postgresql import connect, driver_options
from app.db.core.postgresql_driver import PostgreSQLDriver
from app.db.core.statements import Statement, compile_statement
from app.db.core.write_session import AllWorkspacesWriteSession, Transaction
from app.db.models import Post
from app.domain.errors import ServiceUnavailable
from tests.db.core.intercepting_driver import StubDriver
from tests.db.core.test_database import MINUTE_LONG_STATEMENT, SHORT_TIMEOUT, only_on_postgresql
from tests.factories import add_post, add_workspace
from tests.raw_statements import run_raw
from tests.tcp_proxy import tcp_proxy

pytestmark = only_on_postgresql

POOL_SIZE = 3
COUNT_STATEMENT = Statement(select(func.count()).select_from(Post))
OWN_CONNECTIONS_CONDITION = (
    "datname = current_database() AND query LIKE 'SELECT count(*) AS count_1%'"
)
"""Condition for the connections whose last statement was COUNT_STATEMENT."""

KILL_STATEMENT = text(
    f"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE {OWN_CONNECTIONS_CONDITION}"
)


@pytest.fixture
def stub_driver() -> StubDriver:
    return StubDriver(None)


@pytest.fixture
async def reader(
    database: Database, database_url: str, stub_driver: StubDriver
) -> AsyncIterator[Reader]:
    """Reader of a workspace with one post, with three connections and a short timeout."""
    workspace = await add_workspace(database)
    await add_post(database, workspace)
    async with Database(
        database_url, pool_size=POOL_SIZE, timeout=SHORT_TIMEOUT * 5, wrap_driver=stub_driver
    ) as opened:
        yield opened.reader(workspace)


async def count_concurrently(reader: Reader, times: int) -> list[int]:
    return list(await asyncio.gather(*(reader.count(COUNT_STATEMENT) for _ in range(times))))


async def kill_connections(database: Database) -> int:
    async with database.write_engine.connect() as connection:
        return await connection.scalar(KILL_STATEMENT) or 0


async def test_terminated_idle_connections_cause_no_error(
    database: Database, reader: Reader
) -> None:
    for _ in range(3):
        assert await count_concurrently(reader, 2 * POOL_SIZE) == [1] * 2 * POOL_SIZE
        assert await kill_connections(database) == POOL_SIZE


async def test_concurrent_reads_share_the_connections(database: Database, reader: Reader) -> None:
    assert await count_concurrently(reader, 50) == [1] * 50
    async with database.read_engine.connect() as connection:
        opened = await connection.scalar(
            text(f"SELECT count(*) FROM pg_stat_activity WHERE {OWN_CONNECTIONS_CONDITION}")
        )
    assert 1 <= (opened or 0) <= POOL_SIZE


async def test_read_without_a_free_connection_in_time_is_unavailable(
    reader: Reader, stub_driver: StubDriver
) -> None:
    stub_driver.sql = "SELECT pg_sleep(60)"
    async with asyncio.timeout(10):
        results = await asyncio.gather(
            *(reader.count(COUNT_STATEMENT) for _ in range(2 * POOL_SIZE)), return_exceptions=True
        )
    stub_driver.sql = None

    assert [type(result) for result in results] == [ServiceUnavailable] * 2 * POOL_SIZE
    assert await count_concurrently(reader, POOL_SIZE) == [1] * POOL_SIZE


async def test_reads_of_the_server_do_not_wait_for_those_of_clients(database_url: str) -> None:
    slow = Statement(select(func.pg_sleep(60), Post.id))
    async with Database(database_url, pool_size=POOL_SIZE) as database, asyncio.timeout(10):
        workspace = await add_workspace(database)
        await add_post(database, workspace)
        reads = [
            asyncio.create_task(database.reader(workspace).rows(slow)) for _ in range(POOL_SIZE)
        ]
        await wait_until_running(database, POOL_SIZE)
        await database.ping()
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def wait_until_running(database: Database, count: int) -> None:
    while await count_running(database) < count:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)


async def test_statement_over_the_timeout_is_unavailable_and_cancelled(
    database: Database, reader: Reader, stub_driver: StubDriver
) -> None:
    stub_driver.sql = str(MINUTE_LONG_STATEMENT)
    with pytest.raises(ServiceUnavailable):
        await reader.count(COUNT_STATEMENT)
    stub_driver.sql = None

    assert await count_concurrently(reader, 1) == [1]
    await wait_until_idle(database)


@pytest.mark.parametrize("loop_steps", [0, 1, 3, 100])
async def test_cancelled_read_cancels_its_statement_and_releases_its_connection(
    database: Database, reader: Reader, stub_driver: StubDriver, loop_steps: int
) -> None:
    stub_driver.sql = "SELECT pg_sleep(60)"
    reads = [asyncio.create_task(reader.count(COUNT_STATEMENT)) for _ in range(POOL_SIZE)]
    for _ in range(loop_steps):
        await asyncio.sleep(0.001 if loop_steps == 100 else 0)
    for read in reads:
        read.cancel()
    await asyncio.wait(reads)
    stub_driver.sql = None

    assert [read.cancelled() for read in reads] == [True] * POOL_SIZE
    assert await count_concurrently(reader, POOL_SIZE) == [1] * POOL_SIZE
    await wait_until_idle(database)


async def test_error_of_a_read_does_not_contain_its_values(
    reader: Reader, stub_driver: StubDriver
) -> None:
    """Exceptions are logged."""
    stub_driver.sql = "SELECT 'confidential'::int"
    with pytest.raises(asyncpg.InvalidTextRepresentationError) as raised:
        await reader.rows(COUNT_STATEMENT)

    assert str(raised.value) == "invalid input syntax for type integer"


async def test_write_is_refused(reader: Reader, stub_driver: StubDriver) -> None:
    stub_driver.sql = "DELETE FROM post"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await reader.rows(COUNT_STATEMENT)
    stub_driver.sql = None

    assert await count_concurrently(reader, 1) == [1]


SELECT_PID = compile_statement(
    select(func.pg_backend_pid()),
    asyncpg_dialect.dialect(),  # type: ignore[no-untyped-call]
)


@asynccontextmanager
async def open_driver(
    url: URL, read_timeout: timedelta = SHORT_TIMEOUT * 5, **options: Any
) -> AsyncIterator[PostgreSQLDriver]:
    driver = PostgreSQLDriver(
        driver_options(url, read_timeout, read_only=True), size=2, timeout=read_timeout, **options
    )
    async with asyncio.timeout(10):
        yield driver
        await driver.close()


async def fetch_pid(driver: PostgreSQLDriver) -> int:
    """Return the process id of the connection that served the read."""
    ((pid,),) = await driver.fetch(SELECT_PID, [])
    return int(pid)


async def write_pid(driver: PostgreSQLDriver) -> int:
    """Return the process id of the connection that served the write."""

    async def work(transaction: Transaction) -> int:
        ((pid,),) = await transaction.fetch(SELECT_PID, [])
        return int(pid)

    return await driver.write(work)


@pytest.mark.parametrize(
    ("max_idle", "connections"), [(timedelta(minutes=5), 1), (timedelta(0), 3)]
)
async def test_connection_idle_for_too_long_is_replaced(
    database_url: str, max_idle: timedelta, connections: int
) -> None:
    async with open_driver(make_url(database_url), max_idle=max_idle) as driver:
        assert len({await fetch_pid(driver) for _ in range(3)}) == connections


async def test_connection_at_its_maximum_age_is_closed_after_its_use(
    database: Database, database_url: str
) -> None:
    select_pid_slowly = compile_statement(
        text("SELECT pg_backend_pid() FROM pg_sleep(0.2)"),
        asyncpg_dialect.dialect(),  # type: ignore[no-untyped-call]
    )
    max_age = timedelta(milliseconds=100)
    async with open_driver(make_url(database_url), max_age=max_age) as driver:
        ((in_use,),) = await driver.fetch(select_pid_slowly, [])
        idle = await fetch_pid(driver)
        assert idle != in_use
        assert await fetch_pid(driver) == idle
        await asyncio.sleep(0.2)
        async with database.read_engine.connect() as connection:
            remaining = await connection.scalar(
                text(f"SELECT count(*) FROM pg_stat_activity WHERE pid IN ({in_use}, {idle})")
            )
        assert remaining == 0


async def test_unresponsive_connection_fails_only_one_read(database_url: str) -> None:
    async with (
        tcp_proxy(database_url) as proxy,
        open_driver(proxy.url, SHORT_TIMEOUT * 4) as driver,
    ):
        silenced = await fetch_pid(driver)
        proxy.silence()
        with pytest.raises(TimeoutError):
            await fetch_pid(driver)

        assert silenced not in [await fetch_pid(driver) for _ in range(5)]
        # Both slots of the pool are usable again.
        assert silenced not in await asyncio.gather(*(fetch_pid(driver) for _ in range(10)))


async def test_idle_connections_are_replaced_after_a_read_without_an_answer(
    database_url: str,
) -> None:
    async with (
        tcp_proxy(database_url) as proxy,
        open_driver(proxy.url, SHORT_TIMEOUT * 4) as driver,
    ):
        silenced = set(await asyncio.gather(*(fetch_pid(driver) for _ in range(2))))
        assert len(silenced) == 2
        proxy.silence()
        with pytest.raises(TimeoutError):
            await fetch_pid(driver)

        assert await fetch_pid(driver) not in silenced  # without waiting for the other one


async def test_idle_connections_are_replaced_after_a_write_without_an_answer(
    database_url: str,
) -> None:
    async with (
        tcp_proxy(database_url) as proxy,
        open_driver(proxy.url, SHORT_TIMEOUT * 4) as driver,
    ):
        silenced = set(await asyncio.gather(*(write_pid(driver) for _ in range(2))))
        assert len(silenced) == 2
        proxy.silence()
        with pytest.raises(TimeoutError):
            await write_pid(driver)

        assert await write_pid(driver) not in silenced


@pytest.mark.parametrize("statements_before", [0, 1])
async def test_unresponsive_connection_fails_only_one_write(
    database: Database, database_url: str, statements_before: int
) -> None:
    """The connection is silent from the transaction's first statement, or only from a later one."""
    select_pid = text("SELECT pg_backend_pid()")

    async def work(session: AllWorkspacesWriteSession) -> None:
        for _ in range(statements_before):
            await run_raw(session, select_pid)
        proxy.silence()
        await run_raw(session, select_pid)

    async with tcp_proxy(database_url) as proxy, asyncio.timeout(10):
        url = proxy.url.render_as_string(hide_password=False)
        async with Database(url, pool_size=1, timeout=SHORT_TIMEOUT) as silent:
            workspace = await add_workspace(silent)
            with pytest.raises(ServiceUnavailable):
                await silent.write_all_workspaces(work)

            await add_post(silent, workspace)

    assert await database.reader(workspace).count(COUNT_STATEMENT) == 1


async def test_connections_break_if_the_network_stops_delivering(database_url: str) -> None:
    async with tcp_proxy(database_url) as proxy:
        connection = await connect(driver_options(proxy.url, SHORT_TIMEOUT, read_only=True))
        opened: socket.socket = connection._transport.get_extra_info("socket")
        options = [
            opened.getsockopt(level, option)
            for level, option in (
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            )
        ]
        await connection.close()

    assert options == [1, 10_000, 5, 2, 3]


async def test_termination_message_on_an_idle_connection_causes_no_error(database_url: str) -> None:
    """A server that shuts down sends the message before it closes the socket."""
    message = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
    async with open_driver(make_url(database_url)) as driver:
        terminated = await fetch_pid(driver)
        assert driver._pools is not None
        ((_, idle),) = driver._pools.main._idle
        idle._protocol.data_received(b"E" + (len(message) + 4).to_bytes(4) + message)

        assert terminated not in {await fetch_pid(driver) for _ in range(3)}


async def test_driver_can_be_closed_twice_and_used_again(database_url: str) -> None:
    async with open_driver(make_url(database_url)) as driver:
        first = await fetch_pid(driver)
        await driver.close()
        await driver.close()

        assert await fetch_pid(driver) != first


def test_driver_can_be_used_in_consecutive_event_loops(database_url: str) -> None:
    database = Database(database_url)

    async def read() -> int:
        async with database:
            workspace = await add_workspace(database)
            return await database.reader(workspace).count(COUNT_STATEMENT)

    assert [asyncio.run(read()) for _ in range(2)] == [0, 0]


async def wait_until_idle(database: Database) -> None:
    """Wait until none of the minute-long statements is running.

    PostgreSQL ignores a cancellation that arrives before its statement; then the time limit ends it.
    """
    async with asyncio.timeout(15):
        while await count_running(database):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def count_running(database: Database) -> int:
    """Return the number of minute-long statements that are running."""
    async with database.read_engine.connect() as connection:
        count = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state = 'active' AND pid <> pg_backend_pid()"
                " AND (query LIKE 'SELECT pg_sleep%' OR query LIKE 'WITH RECURSIVE%')"
            )
        )
    return count or 0
