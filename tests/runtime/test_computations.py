import asyncio
import threading

import pytest

from app.runtime.computations import compute
from app.runtime.fair_slots import current_caller


async def test_computation_runs_outside_of_the_event_loop() -> None:
    loop_thread = threading.get_ident()

    assert await compute(threading.get_ident) != loop_thread
    assert await compute(pow, 2, 10) == 1024


async def test_exception_of_a_computation_is_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await compute(int, "x")


async def test_computation_knows_its_caller() -> None:
    current_caller.set("key")

    assert await compute(current_caller.get) == "key"


async def test_one_caller_never_uses_all_threads() -> None:
    is_over = threading.Event()
    current_caller.set("busy")
    busy = [asyncio.create_task(compute(is_over.wait, 30)) for _ in range(3)]
    await asyncio.sleep(0)
    current_caller.set("other")
    try:
        async with asyncio.timeout(20):
            assert await compute(pow, 2, 3) == 8
        assert not any(task.done() for task in busy)
    finally:
        is_over.set()
        await asyncio.gather(*busy)


async def test_cancelled_computation_keeps_its_slot_until_it_ends() -> None:
    is_running, is_over = threading.Event(), threading.Event()
    current_caller.set("busy")

    def work() -> None:
        is_running.set()
        is_over.wait(30)

    first = asyncio.create_task(compute(work))
    await asyncio.to_thread(is_running.wait, 30)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(compute(pow, 2, 3))
    await asyncio.sleep(0.01)
    assert not second.done()

    is_over.set()
    assert await second == 8
