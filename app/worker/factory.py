"""A worker from the settings, and what it shows of its work. Neither signals nor a server."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

from app.db.core.database import Database
from app.domain.retry_policy import RetryPolicies
from app.domain.settlement import RetryDecider
from app.domain.times import Clock
from app.observability.status_line import open_status_line
from app.platforms.adapters import make_adapters
from app.platforms.sandbox import PLATFORM_NAME as SANDBOX
from app.settings import Settings
from app.worker.context import WorkerContext, system_runtime
from app.worker.loop import Worker, run_in_background
from app.worker.stats import WorkerStats


def make_worker(
    settings: Settings, database: Database, policies: RetryPolicies, stats: WorkerStats, now: Clock
) -> Worker:
    edges = system_runtime(now)
    means = WorkerContext(
        database=database,
        platforms=make_adapters(sandbox_file=settings.sandbox_file, now=now, sleep=edges.sleep),
        retry_decider=RetryDecider(policies, edges.random),
        runtime=edges,
        stats=stats,
        worker_name=f"{socket.gethostname()}/{os.getpid()}",
        lease_duration=settings.worker_lease,
    )
    return Worker(
        means,
        concurrency=settings.worker_concurrency,
        shutdown_timeout=settings.shutdown_timeout,
    )


def describe_worker(settings: Settings) -> str:
    """A line of what a process prints at its start."""
    return f"  worker   publishes to {SANDBOX}, {settings.worker_concurrency} at a time"


@asynccontextmanager
async def embedded_worker(
    settings: Settings, database: Database, policies: RetryPolicies, now: Clock
) -> AsyncIterator[None]:
    """The worker of a server process, if the settings want one; of several processes none has a live line."""
    if not settings.with_worker:
        yield
        return
    with worker_stats() if settings.workers == 1 else nullcontext(WorkerStats()) as tally:
        async with run_in_background(make_worker(settings, database, policies, tally, now)):
            yield


@contextmanager
def worker_stats() -> Iterator[WorkerStats]:
    """A tally; where somebody looks on, it is on a live line in place of a log line for each post."""
    with open_status_line() as line:
        if line is None:
            yield WorkerStats()
            return
        tally = WorkerStats(lambda changed: line.show(str(changed)))
        logger = logging.getLogger("app.worker")
        level = logger.level
        if not logger.isEnabledFor(logging.DEBUG):
            logger.setLevel(max(logger.getEffectiveLevel(), logging.WARNING))
        try:
            yield tally
        finally:
            logger.setLevel(level)
