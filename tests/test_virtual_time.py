"""Time of an event loop that skips idle waits."""

import asyncio
import time
from pathlib import Path

from tests.factories import add_workspace
from tests.virtual_time import (
    LoopClock,
    open_migrated_in_virtual_time,
    run_in_virtual_time,
    running_loop,
)

HOUR = 3600.0


def test_idle_waits_are_skipped() -> None:
    async def sleep() -> float:
        clock = LoopClock()
        await asyncio.gather(asyncio.sleep(HOUR), asyncio.sleep(2 * HOUR))
        return clock.monotonic()

    started_at = time.monotonic()
    slept = run_in_virtual_time(sleep())

    assert 2 * HOUR <= slept < 2 * HOUR + 60
    assert time.monotonic() - started_at < 60


def test_time_passes_as_on_the_machine_during_an_operation() -> None:
    async def wait_for_operation() -> float:
        clock, is_done = LoopClock(), asyncio.Event()
        asyncio.get_running_loop().call_later(HOUR, is_done.set)
        with running_loop().operation():
            await asyncio.to_thread(time.sleep, 0.05)
        await asyncio.to_thread(time.sleep, 0.05)
        assert not is_done.is_set()
        return clock.monotonic()

    assert 0.1 <= run_in_virtual_time(wait_for_operation()) < 60


def test_statements_and_transactions_do_not_exceed_their_timeouts(
    database_url: str, tmp_path: Path
) -> None:
    async def write_and_read() -> float:
        async with open_migrated_in_virtual_time(database_url) as database:
            clock = LoopClock()
            for _ in range(20):
                await add_workspace(database)
            await database.ping()
            return clock.monotonic()

    assert run_in_virtual_time(write_and_read()) < 60
