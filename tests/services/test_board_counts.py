"""Reuse of counts: for the same arguments, while no event follows, and for two seconds."""

import asyncio
from datetime import timedelta

from app.db.core.database import Database
from app.domain.errors import ServiceUnavailable
from app.services.board_counts import BoardCounter
from tests.db.core.intercepting_driver import InterceptingDriver, do_nothing
from tests.factories import NOW, add_account, add_post, add_workspace, unknown

SECOND = timedelta(seconds=1)


class ManualTimer:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_counts_are_reused_until_they_are_old(database: Database, database_url: str) -> None:
    workspace = await add_workspace(database)
    account = await add_account(database, workspace)
    timer, driver = ManualTimer(), InterceptingDriver()
    numbers = []
    async with Database(database_url, wrap_driver=driver) as counted:
        counter = BoardCounter(counted, lambda: NOW, timer)
        for seconds in (0, 1.9, 2.1):
            timer.seconds = seconds
            numbers.append((await counter.count(workspace, NOW)).unknown.count)
            await add_post(database, workspace, {account: unknown()})  # without an event
        other = (await counter.count(workspace, NOW - SECOND)).unknown.count

    assert (numbers, other) == ([0, 0, 2], 3)


async def test_concurrent_callers_share_one_computation(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    driver = InterceptingDriver(lambda: asyncio.sleep(0.01))
    async with Database(database_url, wrap_driver=driver) as counted:
        counter = BoardCounter(counted, lambda: NOW, ManualTimer())
        results = await asyncio.gather(*(counter.count(workspace, NOW) for _ in range(20)))

    assert all(result is results[0] for result in results)
    assert driver.count == 20 + 2  # the position for each, accounts and destinations once


async def test_failure_is_shared_by_the_waiting_callers_and_not_reused(
    database: Database, database_url: str
) -> None:
    workspace = await add_workspace(database)
    driver = InterceptingDriver()

    async def fail_after_position() -> None:
        await asyncio.sleep(0.01)
        if driver.count >= 3:
            raise TimeoutError

    async with Database(database_url, wrap_driver=driver) as counted:
        counter = BoardCounter(counted, lambda: NOW, ManualTimer())
        driver.before_statement = fail_after_position
        results = await asyncio.gather(
            *(counter.count(workspace, NOW) for _ in range(3)), return_exceptions=True
        )
        before = driver.count
        driver.before_statement = do_nothing
        counts = await counter.count(workspace, NOW)

    assert [type(result) for result in results] == [ServiceUnavailable] * 3
    assert before == 3
    assert counts.failed.count == 0
