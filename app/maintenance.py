"""Background duties of a server process: periodic maintenance, and reaction to shutdown signals."""

import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from types import FrameType

import structlog

from app.db.core.database import Database
from app.db.core.sqlite import STATISTICS_INTERVAL
from app.domain.times import Clock
from app.observability.outages import Outage
from app.services.api_keys import LastUsedRecorder
from app.services.expirations import prune_events, prune_idempotency_keys, run_expirations
from app.services.periodic import run_periodically

_KEY_USAGE_FLUSH_INTERVAL = timedelta(seconds=30)
"""Maximum delay until the last use of an API key is stored."""
_EVENT_PRUNE_INTERVAL = timedelta(minutes=10)
"""Longest time that events stay after their retention, unless a tenth of the retention is shorter."""
_IDEMPOTENCY_PRUNE_INTERVAL = timedelta(minutes=10)
"""Longest time that a stored outcome stays after its idempotency key has expired."""

CLEANUP_LIMIT = timedelta(seconds=3)
"""Time for background tasks and connections to end, once requests and attempts have ended."""

_LOG_TIMEOUT = timedelta(seconds=1)
"""Longest wait for the line that the process was ended."""

_SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_maintenance(
    database: Database,
    clock: Clock,
    *,
    key_usage: LastUsedRecorder,
    event_retention: timedelta,
    expiration_interval: timedelta,
) -> AsyncIterator[None]:
    """Run all maintenance tasks; those that settle expirations run every `expiration_interval`."""
    async with (
        run_periodically(
            "refresh_statistics", database.refresh_statistics, interval=STATISTICS_INTERVAL
        ),
        run_expirations(database, clock, interval=expiration_interval),
        run_periodically(
            "prune_idempotency_keys",
            lambda: prune_idempotency_keys(database, clock()),
            interval=_IDEMPOTENCY_PRUNE_INTERVAL,
        ),
        run_periodically(
            "prune_events",
            lambda: prune_events(database, clock(), retention=event_retention),
            interval=min(_EVENT_PRUNE_INTERVAL, event_retention / 10),
        ),
        _flush_key_usage(database, key_usage),
    ):
        yield


@asynccontextmanager
async def _flush_key_usage(database: Database, key_usage: LastUsedRecorder) -> AsyncIterator[None]:
    """Store the last use of keys at every interval, and once more at exit."""
    flush = partial(key_usage.flush, database)
    async with run_periodically("flush_key_usage", flush, interval=_KEY_USAGE_FLUSH_INTERVAL):
        yield
    with Outage(logger, "last use of keys not stored").suppress():
        await flush()


@contextmanager
def limited_cleanup(limit: timedelta | None) -> Iterator[Callable[[], None]]:
    """Yield a function; the process ends unless the context ends within the limit after its call.

    No result is lost then: every commit precedes its answer, and leases expire. The last use of keys and
    lines of requests that are not written yet are lost. None is no limit.
    """
    if limit is None:
        yield lambda: None
        return

    def log_error() -> None:
        logger.error("shutdown not finished in time", limit_seconds=limit.total_seconds())

    def end_process() -> None:
        # Logged by another thread, because a log that no one reads blocks its writer.
        log_thread = threading.Thread(target=log_error, daemon=True)
        log_thread.start()
        log_thread.join(_LOG_TIMEOUT.total_seconds())
        os._exit(1)

    timer = threading.Timer(limit.total_seconds(), end_process)
    timer.daemon = True
    try:
        yield timer.start
    finally:
        timer.cancel()


@contextmanager
def on_shutdown_signal(callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` when a shutdown signal arrives, before the server's own handler.

    The server reports a shutdown only after it has waited for all responses, and a long poll holds its
    response back until there is something new. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous_handlers = {number: signal.getsignal(number) for number in _SHUTDOWN_SIGNALS}

    def handle_signal(number: int, frame: FrameType | None) -> None:
        callback()
        previous = previous_handlers[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    for number, previous in previous_handlers.items():
        if callable(previous):
            signal.signal(number, handle_signal)
    try:
        yield
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)
