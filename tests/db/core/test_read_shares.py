"""Shares of the read connections: expensive reads of one key beside reads of another, on both engines."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

import pytest
from sqlalchemy import bindparam, select

from app.db.core.database import Database
from app.db.core.statements import CompiledStatement, Record, Statement
from app.db.models import Account
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.runtime.fair_slots import current_caller
from tests.db.core.intercepting_driver import WrappingDriver
from tests.db.core.test_database import (
    MINUTE_LONG_STATEMENT,
    SHORT_TIMEOUT,
    only_on_postgresql,
    slow_statement,
)

WORKSPACE = WorkspaceId(uuid4())
STATEMENT = Statement(select(Account.id))
POINT_READ = Statement(select(Account.id).where(Account.id == bindparam("id")), point_key="id")
IN_A_THREAD = str(slow_statement(300_000))
"""SQL that SQLite does not run inline."""


@dataclass(slots=True)
class SlowDriver(WrappingDriver):
    """Replaces each statement without parameters by one that takes a minute, or some of a second."""

    finished: list[str] = field(default_factory=list)
    """Names of the reads that have returned rows."""
    _statements: dict[str, CompiledStatement] = field(default_factory=dict)

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if statement.batch is not None:
            return await self.driver.fetch(statement, arguments)
        task = asyncio.current_task()
        assert task is not None
        sql = str(MINUTE_LONG_STATEMENT) if task.get_name() == "endless" else IN_A_THREAD
        if sql not in self._statements:
            self._statements[sql] = replace(statement, sql=sql)
        rows = await self.driver.fetch(self._statements[sql], ())
        self.finished.append(task.get_name())
        return rows


@pytest.fixture
def driver() -> SlowDriver:
    return SlowDriver()


async def read(database: Database, caller: str, statement: Statement, **values: object) -> None:
    current_caller.set(caller)
    await database.reader(WORKSPACE).rows(statement, **values)


def start_read(database: Database, name: str, caller: str) -> "asyncio.Task[None]":
    return asyncio.create_task(read(database, caller, STATEMENT), name=name)


async def cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("pool_size", [2, 5])
async def test_read_does_not_wait_for_expensive_reads_of_another_key(
    database_url: str, driver: SlowDriver, pool_size: int
) -> None:
    async with Database(database_url, pool_size=pool_size, wrap_driver=driver) as database:
        expensive = [start_read(database, "endless", "greedy") for _ in range(2 * pool_size)]
        await asyncio.sleep(0.1)
        await start_read(database, "read", "client")

        assert not any(task.done() for task in expensive)
        await cancel(*expensive)


async def test_reads_that_wait_start_round_robin_by_key(
    database_url: str, driver: SlowDriver
) -> None:
    async with Database(database_url, pool_size=1, wrap_driver=driver) as database:
        running = start_read(database, "endless", "greedy")
        await asyncio.sleep(0.1)
        waiting = []
        for name in ("greedy 1", "greedy 2", "greedy 3", "client 1", "client 2"):
            waiting.append(start_read(database, name, name.split()[0]))
            await asyncio.sleep(0.05)  # SQLite tries to run each statement inline first
        await cancel(running)
        await asyncio.gather(*waiting)

    assert driver.finished == ["greedy 1", "client 1", "greedy 2", "client 2", "greedy 3"]


async def test_waiting_read_that_is_cancelled_never_starts(
    database_url: str, driver: SlowDriver
) -> None:
    async with Database(database_url, pool_size=2, wrap_driver=driver) as database:
        running, waiting = [start_read(database, "endless", "greedy") for _ in range(2)]
        await asyncio.sleep(0.1)
        await cancel(waiting)
        await cancel(running)
        await start_read(database, "next", "greedy")

    assert driver.finished == ["next"]


async def test_expensive_reads_of_one_key_time_out_alone(
    database_url: str, driver: SlowDriver
) -> None:
    timeout = SHORT_TIMEOUT * 5
    async with Database(database_url, pool_size=2, timeout=timeout, wrap_driver=driver) as database:
        expensive = [start_read(database, "endless", "greedy") for _ in range(4)]
        reads = []
        while not all(task.done() for task in expensive):
            await start_read(database, "read", "client")
            reads.append("read")
        results = await asyncio.gather(*expensive, return_exceptions=True)

    assert [type(result) for result in results] == [ServiceUnavailable] * 4
    assert driver.finished == reads


@only_on_postgresql
async def test_point_reads_do_not_wait_for_expensive_reads_of_their_key(
    database_url: str, driver: SlowDriver
) -> None:
    async with Database(database_url, pool_size=2, wrap_driver=driver) as database:
        expensive = [start_read(database, "endless", "greedy") for _ in range(2)]
        await asyncio.sleep(0.1)
        await read(database, "greedy", POINT_READ, id=1)

        assert not any(task.done() for task in expensive)
        await cancel(*expensive)


@only_on_postgresql
async def test_batches_of_point_reads_are_filled_round_robin_by_key(database_url: str) -> None:
    finished: list[str] = []

    async def read_and_record(database: Database, caller: str) -> None:
        await read(database, caller, POINT_READ, id=1)
        finished.append(caller)

    async with Database(database_url) as database:
        # Opens the connections: if that takes longer than a batch may, its requests run alone.
        await asyncio.gather(*(read(database, "greedy", POINT_READ, id=1) for _ in range(100)))
        await asyncio.gather(
            *(read_and_record(database, "greedy") for _ in range(500)),
            read_and_record(database, "client"),
        )

    assert finished.index("client") < 250  # in the order of arrival, it would be the last


async def test_database_is_reading_while_an_expensive_read_runs(
    database_url: str, driver: SlowDriver
) -> None:
    async with Database(database_url, wrap_driver=driver) as database:
        await start_read(database, "short", "key")
        states = [database.is_reading]
        endless = start_read(database, "endless", "key")
        async with asyncio.timeout(20):
            while not database.is_reading:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await cancel(endless)
        async with asyncio.timeout(20):
            while database.is_reading:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    assert states == [False]
