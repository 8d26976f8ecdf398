"""Periodic tasks of a process, and their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
import structlog

from app.services.periodic import exit_together, run_concurrently, run_periodically

INTERVAL = timedelta(milliseconds=10)


class CountedTask:
    """A task that counts its runs, and raises `error` unless it is None."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self.has_run_thrice = asyncio.Event()
        self._error = error

    async def __call__(self) -> None:
        self.runs += 1
        if self.runs == 3:
            self.has_run_thrice.set()
        if self._error is not None:
            raise self._error


async def test_task_runs_immediately_and_at_every_interval_until_exit() -> None:
    task = CountedTask()
    async with run_periodically("count", task, interval=INTERVAL), asyncio.timeout(5):
        await task.has_run_thrice.wait()
    runs_at_exit = task.runs
    await asyncio.sleep(3 * INTERVAL.total_seconds())

    assert task.runs == runs_at_exit


async def test_running_task_ends_before_exit_unless_it_takes_long() -> None:
    ends: list[str] = []

    async def task(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            ends.append(f"{name} cancelled")
            raise
        ends.append(f"{name} completed")

    async with asyncio.timeout(5):
        for name, seconds in (("short", 0.1), ("long", 60)):
            async with run_periodically(name, partial(task, name, seconds), interval=INTERVAL):
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    assert ends == ["short completed", "long cancelled"]


async def test_failed_task_is_repeated_and_logged_once() -> None:
    task = CountedTask(ValueError("broken"))
    with structlog.testing.capture_logs() as logs:
        async with run_periodically("break", task, interval=INTERVAL), asyncio.timeout(5):
            await task.has_run_thrice.wait()

    assert [(log["event"], log["task"]) for log in logs] == [("periodic task failed", "break")]


async def test_concurrent_tasks_end_and_their_errors_are_raised_together() -> None:
    ends: list[int] = []

    async def task(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        ends.append(number)
        if number != 3:
            raise ValueError(number)

    with pytest.raises(ExceptionGroup) as raised:
        await run_concurrently(map(task, (2, 1, 3)))

    assert ends == [1, 2, 3]
    assert list(map(repr, raised.value.exceptions)) == ["ValueError(2)", "ValueError(1)"]


async def test_contexts_exit_at_the_same_time_and_all_end_although_one_fails() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def context(name: str, error: Exception | None = None) -> AsyncIterator[None]:
        steps.append(f"{name} entered")
        yield
        steps.append(f"{name} exits")
        if error is not None:
            raise error
        await asyncio.sleep(0.01)
        steps.append(f"{name} ended")

    with pytest.raises(ExceptionGroup) as raised:
        async with exit_together(context("a"), context("b", ValueError("broken")), context("c")):
            pass

    assert steps == [
        *("a entered", "b entered", "c entered"),
        *("a exits", "b exits", "c exits"),
        *("a ended", "c ended"),
    ]
    assert list(map(repr, raised.value.exceptions)) == ["ValueError('broken')"]
