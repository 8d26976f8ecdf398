"""Runs a task periodically in the background of a process, or several concurrently until all have ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.observability.outages import Outage

logger = structlog.stdlib.get_logger(__name__)


_STOP_GRACE = timedelta(seconds=0.5)
"""Time for a running task to end at exit; pruning many rows takes longer, and continues after a restart."""


@asynccontextmanager
async def run_periodically(
    name: str, task: Callable[[], Awaitable[None]], *, interval: timedelta
) -> AsyncIterator[None]:
    """Run a task immediately and at every interval; at exit, cancel it if it does not end soon.

    Each of its transactions must be complete in itself.
    """
    stop_requested = asyncio.Event()
    running = asyncio.create_task(_run_until_stopped(name, task, interval, stop_requested))
    try:
        yield
    finally:
        stop_requested.set()
        await asyncio.wait({running}, timeout=_STOP_GRACE.total_seconds())
        running.cancel()
        await asyncio.wait({running})


async def run_concurrently(tasks: Iterable[Awaitable[None]]) -> None:
    """Run tasks concurrently until all have ended; raises a group of the errors of those that failed."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for error in results if error is not None]
    if errors:
        raise BaseExceptionGroup("concurrent tasks failed", errors)


async def _run_until_stopped(
    name: str,
    task: Callable[[], Awaitable[None]],
    interval: timedelta,
    stop_requested: asyncio.Event,
) -> None:
    outage = Outage(logger, "periodic task failed", task=name)
    while not stop_requested.is_set():
        with outage.suppress():
            await task()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop_requested.wait(), interval.total_seconds())
