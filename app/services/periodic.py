"""Runs tasks periodically in the background of a process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.observability.outages import Outage

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_periodically(
    name: str, task: Callable[[], Awaitable[None]], *, interval: timedelta
) -> AsyncIterator[None]:
    """Run a task immediately, at every interval, and once more at exit; never cancel it midway."""
    stop_requested = asyncio.Event()
    running = asyncio.create_task(_run_until_stopped(name, task, interval, stop_requested))
    try:
        yield
    finally:
        stop_requested.set()
        await running


async def _run_until_stopped(
    name: str,
    task: Callable[[], Awaitable[None]],
    interval: timedelta,
    stop_requested: asyncio.Event,
) -> None:
    outage = Outage(logger, "periodic task failed", task=name)
    is_last = False
    while not is_last:
        is_last = stop_requested.is_set()
        with outage.suppress():
            await task()
        if not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop_requested.wait(), interval.total_seconds())
