"""Work that a process does again and again beside the rest. What it is, others know."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

PERIODIC_INTERVAL = timedelta(seconds=1)
"""How late what falls due by itself may be seen to."""

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_periodically(
    work: Callable[[], Awaitable[None]], *, interval: timedelta
) -> AsyncIterator[None]:
    """Does some work now, again and again, and once more at the end; never breaks it off."""
    stopping = asyncio.Event()
    repeating = asyncio.create_task(_run_until_stopped(work, interval, stopping))
    try:
        yield
    finally:
        stopping.set()
        await repeating


async def _run_until_stopped(
    work: Callable[[], Awaitable[None]], interval: timedelta, stop_requested: asyncio.Event
) -> None:
    is_last = is_failing = False
    while not is_last:
        is_last = stop_requested.is_set()
        try:
            await work()
            is_failing = False
        except Exception:  # serving goes on without it, and it is tried again
            if not is_failing:  # once is enough of a database that is away for hours
                logger.warning("housekeeping failed", work=work.__name__, exc_info=True)
            is_failing = True
        if not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop_requested.wait(), interval.total_seconds())
