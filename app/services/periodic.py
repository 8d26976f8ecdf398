"""Runs tasks in the background of a process: periodically, concurrently, or until a common exit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
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


@asynccontextmanager
async def exit_together(*contexts: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
    """Enter contexts one after the other, and exit all at the same time: each may wait for its work.

    Exits once all have ended; raises a group of the errors of those that failed.
    """
    entered = []
    try:
        for context in contexts:
            await context.__aenter__()
            entered.append(context)
        yield
    finally:
        await run_concurrently(context.__aexit__(None, None, None) for context in entered)


async def run_concurrently(tasks: Iterable[Awaitable[object]]) -> None:
    """Run tasks concurrently until all have ended; raises a group of the errors of those that failed."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
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
