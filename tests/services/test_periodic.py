"""Periodic tasks of a process, and their end."""

import asyncio
from datetime import timedelta
from functools import partial

import structlog

from app.services.periodic import run_periodically

INTERVAL = timedelta(milliseconds=10)


async def test_task_runs_immediately_and_at_every_interval_until_exit() -> None:
    runs = 0
    has_run_thrice = asyncio.Event()

    async def task() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            has_run_thrice.set()

    async with run_periodically("count", task, interval=INTERVAL), asyncio.timeout(5):
        await has_run_thrice.wait()
    runs_at_exit = runs
    await asyncio.sleep(3 * INTERVAL.total_seconds())

    assert runs == runs_at_exit


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
    runs = 0
    has_run_thrice = asyncio.Event()

    async def task() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            has_run_thrice.set()
        raise ValueError("broken")

    with structlog.testing.capture_logs() as logs:
        async with run_periodically("break", task, interval=INTERVAL), asyncio.timeout(5):
            await has_run_thrice.wait()

    assert [(log["event"], log["task"]) for log in logs] == [("periodic task failed", "break")]
