import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from app.runtime.computations import (
    await_in_main_loop,
    compute,
    is_idle,
    is_in_thread,
    run_in_thread,
)
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


async def test_coroutine_runs_in_the_event_loop_of_another_thread() -> None:
    current_caller.set("key")

    async def describe() -> tuple[int, object]:
        await asyncio.sleep(0)
        return threading.get_ident(), current_caller.get()

    thread, caller = await run_in_thread(describe)

    assert (thread != threading.get_ident(), caller) == (True, "key")


async def test_exception_of_a_coroutine_in_a_thread_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_in_thread(fail)


async def test_coroutine_in_a_thread_awaits_the_main_event_loop() -> None:
    event = asyncio.Event()

    async def wait() -> tuple[int, bool]:
        await event.wait()
        return threading.get_ident(), is_in_thread()

    async def work() -> tuple[int, bool]:
        return await await_in_main_loop(wait)

    task = asyncio.create_task(run_in_thread(work))
    await asyncio.sleep(0.01)
    event.set()

    assert await task == (threading.get_ident(), False)
    assert await await_in_main_loop(wait) == (threading.get_ident(), False)


async def test_computation_of_a_coroutine_in_a_thread_stays_in_that_thread() -> None:
    async def work() -> tuple[int, int]:
        return threading.get_ident(), await compute(threading.get_ident)

    own, computing = await run_in_thread(work)

    assert own == computing


async def test_cancelled_coroutine_is_cancelled_in_its_thread_and_in_the_main_event_loop() -> None:
    ends: list[str] = []
    never = asyncio.Event()

    async def wait() -> None:
        try:
            await never.wait()
        finally:
            ends.append("main")

    async def work() -> None:
        try:
            await await_in_main_loop(wait)
        finally:
            ends.append("thread")

    task = asyncio.create_task(run_in_thread(work))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        while len(ends) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    assert sorted(ends) == ["main", "thread"]


async def _raise_on_cancellation() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ValueError("raised while the caller is cancelled") from None


@pytest.mark.parametrize(
    "function",
    [_raise_on_cancellation, partial(await_in_main_loop, _raise_on_cancellation)],
    ids=["in the thread", "in the main event loop"],
)
async def test_exception_of_a_coroutine_whose_caller_is_cancelled_is_not_logged(
    function: Callable[[], Coroutine[Any, Any, None]], caplog: pytest.LogCaptureFixture
) -> None:
    task = asyncio.create_task(run_in_thread(function))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        while not is_idle():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await run_in_thread(partial(asyncio.sleep, 0))  # the same thread, after the end of the task

    gc.collect()  # asyncio logs exceptions when it frees their task

    assert [record.getMessage() for record in caplog.records] == []


async def _fail() -> None:
    raise ValueError("expected")


@pytest.mark.parametrize(
    "start",
    [partial(compute, int, "x"), partial(run_in_thread, _fail)],
    ids=["function", "coroutine"],
)
async def test_failed_computation_leaves_no_reference_cycle(
    start: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    counts: list[int] = []
    gc.disable()
    try:
        for _ in range(5):
            gc.collect()
            with suppress(ValueError):
                await start()
            counts.append(gc.collect())
    finally:
        gc.enable()

    assert min(counts[1:]) == 0


async def test_coroutines_that_are_cancelled_immediately_release_their_slots() -> None:
    current_caller.set("busy")

    async def nothing() -> int:
        return 1

    for _ in range(50):
        task = asyncio.create_task(run_in_thread(nothing))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(run_in_thread(nothing) for _ in range(9))) == [1] * 9


async def test_one_caller_never_uses_all_event_loops_of_threads() -> None:
    current_caller.set("busy")
    busy = [asyncio.create_task(run_in_thread(partial(asyncio.sleep, 30))) for _ in range(9)]
    await asyncio.sleep(0)
    current_caller.set("other")
    try:
        async with asyncio.timeout(20):
            await run_in_thread(partial(asyncio.sleep, 0))
        assert not any(task.done() for task in busy)
    finally:
        for task in busy:
            task.cancel()
        await asyncio.wait(busy)


def test_computation_releases_its_slot_if_no_thread_starts() -> None:
    script = """
import asyncio, threading
from app.runtime.computations import is_idle, run_in_thread
async def work(): return 1
async def main():
    size = threading.stack_size(2**47 - 2**20)  # more than all memory that a process can address
    for _ in range(5):
        try:
            await run_in_thread(work)
        except RuntimeError as error:
            print(error)
    threading.stack_size(size)
    print(is_idle(), await run_in_thread(work))
asyncio.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("can't start new thread\n" * 5 + "True 1\n", "")
