"""Batches of point reads: size and number of batches, errors, cancellation, time limits, lost connections."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog
from sqlalchemy import bindparam, select, text

from app.db.core.conditions import any_of
from app.db.core.database import Database, Reader
from app.db.core.statements import CompiledStatement, Record, Statement
from app.db.models import Account
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from tests.db.core.intercepting_driver import WrappingDriver
from tests.db.core.test_database import only_on_postgresql
from tests.db.core.test_postgresql_driver import wait_until_idle
from tests.factories import add_account, add_workspace
from tests.postgres import local_server

pytestmark = only_on_postgresql

WORKSPACE = WorkspaceId(uuid4())
REQUESTS = "FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS request (workspace, key, number)"
BATCH_SIZE = f"SELECT cardinality($1::uuid[]), number {REQUESTS}"
"""Batched statement whose column `id` is the number of requests."""
ONE = "SELECT 1 WHERE $1::int > 0 AND $2::uuid IS NOT NULL"
"""Statement of one request whose column `id` is the number of requests."""
FAILURE = "SELECT 1 / 0 WHERE $1 IS NOT NULL AND $2 IS NOT NULL"


def read_account() -> Statement:
    return Statement(select(Account.id).where(Account.id == bindparam("id")), point_key="id")


STATEMENT = read_account()


@dataclass(slots=True)
class PointReadStub(WrappingDriver):
    """Driver that replaces the SQL of point reads; None leaves the form for one or for many unchanged."""

    one: str | None = ONE
    many: str | None = BATCH_SIZE
    _statements: dict[CompiledStatement, CompiledStatement] = field(default_factory=dict)

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if statement not in self._statements:
            assert statement.batch is not None
            many = replace(
                statement.batch.statement, sql=self.many or statement.batch.statement.sql
            )
            self._statements[statement] = replace(
                statement,
                sql=self.one or statement.sql,
                batch=replace(statement.batch, statement=many),
            )
        return await self.driver.fetch(self._statements[statement], arguments)


@pytest.fixture
def stub() -> PointReadStub:
    return PointReadStub()


@pytest.fixture
async def stubbed(database_url: str, stub: PointReadStub) -> AsyncIterator[Database]:
    async with Database(database_url, wrap_driver=stub) as opened:
        yield opened


@pytest.fixture
def reader(stubbed: Database) -> Reader:
    return stubbed.reader(WORKSPACE)


async def read_id(reader: Reader, statement: Statement = STATEMENT, id: int = 1) -> Any:
    (row,) = await reader.rows(statement, id=id)
    return row.id


async def read_together(reader: Reader, count: int) -> list[Any]:
    return await asyncio.gather(*(read_id(reader) for _ in range(count)))


async def start_reads(reader: Reader, count: int) -> list[asyncio.Task[Any]]:
    """Start reads in different steps of the event loop."""
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(read_id(reader)))
        await asyncio.sleep(0.001)
    return tasks


async def test_read_without_others_runs_as_the_statement_of_one_request(
    reader: Reader, stub: PointReadStub
) -> None:
    stub.many = FAILURE

    assert [await read_id(reader) for _ in range(3)] == [1, 1, 1]


async def test_reads_of_one_step_of_the_event_loop_are_one_batch(reader: Reader) -> None:
    assert await read_together(reader, 20) == [20] * 20


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(32, {32: 32}), (33, {32: 32, 1: 1}), (34, {32: 32, 2: 2}), (100, {32: 96, 4: 4})],
)
async def test_batch_has_at_most_32_requests(
    reader: Reader, count: int, sizes: dict[int, int]
) -> None:
    assert Counter(await read_together(reader, count)) == sizes


async def test_two_batches_run_at_a_time(reader: Reader, stub: PointReadStub) -> None:
    stub.many = f"SELECT pg_backend_pid(), number {REQUESTS}, pg_sleep(0.05)"

    pids = Counter(await read_together(reader, 32 * 6))

    assert len(pids) == 2
    assert {count % 32 for count in pids.values()} == {0}


async def test_reads_that_arrive_while_two_batches_run_are_the_next_batch(
    reader: Reader, stub: PointReadStub
) -> None:
    stub.many = f"{BATCH_SIZE}, pg_sleep(0.5)"
    running = []
    for size in (2, 3):
        running.append(asyncio.create_task(read_together(reader, size)))
        await asyncio.sleep(0.05)
    next_batch = await start_reads(reader, 5)

    assert await asyncio.gather(*running) == [[2] * 2, [3] * 3]
    assert await asyncio.gather(*next_batch) == [5] * 5


async def test_reads_of_different_statements_are_different_batches(reader: Reader) -> None:
    other = read_account()

    sizes = await asyncio.gather(
        *(read_id(reader, statement) for statement in [STATEMENT, other, other] * 2)
    )

    assert sizes == [2, 4, 4] * 2


async def test_only_connections_of_batches_use_generic_plans(database_url: str) -> None:
    values = "current_setting('plan_cache_mode') || ', ' || current_setting('statement_timeout')"
    one = f"SELECT {values} WHERE $1::int > 0 AND $2::uuid IS NOT NULL"
    stub = PointReadStub(one, f"SELECT {values}, number {REQUESTS}")
    async with Database(database_url, wrap_driver=stub) as database:
        reader = database.reader(WORKSPACE)

        assert await read_id(reader) == "auto, 10s"
        assert await read_together(reader, 2) == ["force_generic_plan, 10s"] * 2


async def test_each_request_of_a_batch_has_the_rows_of_its_workspace_and_key(
    database: Database, database_url: str
) -> None:
    columns = select(Account.workspace_id, Account.id, Account.account_name)
    by_id = Statement(columns.where(Account.id == bindparam("id")), point_key="id")
    own, other = [await add_workspace(database) for _ in range(2)]
    for workspace, number in ((own, 1), (own, 2), (other, 1)):
        await add_account(database, workspace, id=number, account_name=f"{number}")
    async with Database(database_url, wrap_driver=PointReadStub(one=FAILURE, many=None)) as batched:
        requests = [(own, 1), (other, 1), (own, 1), (other, 2), (own, 2), (own, 3), (own, 1)]
        results = await asyncio.gather(
            *(batched.reader(workspace).rows(by_id, id=number) for workspace, number in requests)
        )

    stored = {(own, 1), (own, 2), (other, 1)}
    assert [[(row.workspace_id, row.id, row.account_name) for row in rows] for rows in results] == [
        [(workspace, number, f"{number}")] if (workspace, number) in stored else []
        for workspace, number in requests
    ]


@pytest.mark.parametrize(
    ("ids", "sizes"), [([7], [2]), ([7, 8], [1]), ((7,), [2]), ([], [1])], ids=str
)
async def test_list_of_one_key_runs_in_a_batch(
    database_url: str, ids: Sequence[int], sizes: list[int]
) -> None:
    one = "SELECT 1 WHERE $1::int[] IS NOT NULL AND $2::uuid IS NOT NULL"
    statement = Statement(select(Account.id).where(any_of(Account.id, "ids")), point_key="ids")
    async with Database(database_url, wrap_driver=PointReadStub(one)) as database:
        reader = database.reader(WORKSPACE)
        results = await asyncio.gather(*(reader.rows(statement, ids=ids) for _ in range(2)))

    assert [[row.id for row in rows] for rows in results] == [sizes] * 2


async def test_failing_request_of_a_batch_fails_alone(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    for number in range(1, 6):
        await add_account(database, workspace, id=number)
    statement = Statement(
        select((10 % (Account.id - 3)).label("id")).where(Account.id == bindparam("id")),
        point_key="id",
    )
    async with Database(database_url) as opened:
        with structlog.testing.capture_logs() as logs:
            results = await asyncio.gather(
                *(read_id(opened.reader(workspace), statement, number) for number in range(1, 6)),
                return_exceptions=True,
            )

    assert isinstance(results.pop(2), asyncpg.DivisionByZeroError)
    assert results == [0, 0, 0, 0]
    assert logs == [
        {
            "event": "batch of reads failed",
            "log_level": "warning",
            "error": "DivisionByZeroError",
            "size": 5,
        }
    ]


@pytest.mark.parametrize("delay", [0, 0.1], ids=["waiting", "running"])
async def test_cancelled_request_leaves_its_batch_running(
    reader: Reader, stub: PointReadStub, delay: float
) -> None:
    stub.many = f"{BATCH_SIZE}, pg_sleep(0.3)"
    reads = [asyncio.create_task(read_id(reader)) for _ in range(5)]
    await asyncio.sleep(delay)
    reads[1].cancel()
    results = await asyncio.gather(*reads, return_exceptions=True)

    assert isinstance(results.pop(1), asyncio.CancelledError)
    assert results == [5 if delay else 4] * 4


async def test_deadline_of_a_request_leaves_its_batch_running(
    reader: Reader, stub: PointReadStub
) -> None:
    async def read_with_deadline() -> Any:
        async with asyncio.timeout(0.1):
            return await read_id(reader)

    stub.many = f"{BATCH_SIZE}, pg_sleep(0.3)"
    reads = [read_with_deadline(), read_id(reader), read_id(reader)]
    results = await asyncio.gather(*reads, return_exceptions=True)

    assert isinstance(results.pop(0), TimeoutError)
    assert results == [3, 3]


async def test_requests_of_a_batch_over_its_time_limit_run_alone(
    stubbed: Database, reader: Reader, stub: PointReadStub
) -> None:
    stub.many = f"SELECT pg_sleep(60) IS NULL, number {REQUESTS}"
    started = time.monotonic()

    assert await read_together(reader, 5) == [1] * 5
    assert 0.9 < time.monotonic() - started < 5
    await wait_until_idle(stubbed)


async def test_slow_reads_delay_others_up_to_the_time_limit(
    reader: Reader, stub: PointReadStub
) -> None:
    stub.one = "SELECT 1 FROM pg_sleep(CASE WHEN $1::int = 2 THEN 60 ELSE 0 END) WHERE $2::uuid IS NOT NULL"
    slow = []
    for _ in range(2):
        slow.append(asyncio.create_task(read_id(reader, id=2)))
        await asyncio.sleep(0.05)
    started = time.monotonic()

    assert await read_id(reader) == 1
    assert 0.5 < time.monotonic() - started < 5
    for read in slow:
        read.cancel()
    await asyncio.wait(slow)


KILL_READERS = text(
    "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database() AND query LIKE '%cardinality($1%'"
)


async def kill_batch_connections(database: Database) -> int:
    async with database.write_engine.connect() as connection:
        return await connection.scalar(KILL_READERS) or 0


async def test_terminated_idle_connections_of_batches_cause_no_error(
    database: Database, reader: Reader
) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await read_together(reader, 64) == [32] * 64
            assert await kill_batch_connections(database) == 2

    assert logs == []


async def test_connections_lost_under_load_cause_no_error(
    database: Database, reader: Reader
) -> None:
    is_over = False

    async def read_repeatedly() -> int:
        count = 0
        while not is_over:
            assert 1 <= await read_id(reader) <= 16
            count += 1
        return count

    readers = [asyncio.create_task(read_repeatedly()) for _ in range(16)]
    killed = 0
    for _ in range(10):
        await asyncio.sleep(0.05)
        killed += await kill_batch_connections(database)
    is_over = True
    counts = await asyncio.gather(*readers)

    assert killed >= 3
    assert min(counts) > 0


@pytest.mark.usefixtures("engine")
async def test_restart_of_the_server_causes_errors_only_while_it_is_down(
    anyio_backend: str, stub: PointReadStub
) -> None:
    with local_server() as server:
        async with Database(server.url, wrap_driver=stub) as database:
            reader = database.reader(WORKSPACE)
            assert await read_together(reader, 64) == [32] * 64
            await asyncio.to_thread(server.stop)
            with pytest.raises(ServiceUnavailable):
                await read_together(reader, 64)
            await asyncio.to_thread(server.start)

            assert await read_together(reader, 64) == [32] * 64
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            assert await read_together(reader, 64) == [32] * 64


async def test_driver_waits_for_running_batches_when_it_is_closed(
    database_url: str, stub: PointReadStub
) -> None:
    stub.many = f"{BATCH_SIZE}, pg_sleep(0.2)"
    database = Database(database_url, wrap_driver=stub)
    reads = [asyncio.create_task(read_id(database.reader(WORKSPACE))) for _ in range(40)]
    await asyncio.sleep(0.1)
    await database.driver.close()

    assert Counter(await asyncio.gather(*reads)) == {32: 32, 8: 8}
    await database.__aexit__()


async def test_read_inside_a_write_joins_no_batch(stubbed: Database, stub: PointReadStub) -> None:
    workspace = await add_workspace(stubbed)
    account = await add_account(stubbed, workspace)

    async def work(session: Any) -> list[Any]:
        reader = stubbed.reader_in(session)
        return [await read_id(reader, id=account) for _ in range(2)]

    stub.one = stub.many = FAILURE
    assert await stubbed.write(workspace, work) == [account, account]
