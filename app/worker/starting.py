"""A worker from the settings, and what it shows of its work. Neither signals nor a server."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

from app.db.engine import Database
from app.domain.endings import RetryRules
from app.domain.retry_policy import RetryPolicies
from app.domain.times import Clock
from app.observability.live_line import live_line
from app.platforms.adapters import make_adapters
from app.platforms.sandbox import NAME as SANDBOX
from app.settings import Settings
from app.worker.loop import Worker, working
from app.worker.means import Means, real_edges
from app.worker.tally import Tally


def make_worker(
    settings: Settings, database: Database, policies: RetryPolicies, tally: Tally, now: Clock
) -> Worker:
    edges = real_edges(now)
    means = Means(
        database=database,
        platforms=make_adapters(sandbox_file=settings.sandbox_file, now=now, sleep=edges.sleep),
        rules=RetryRules(policies, edges.random),
        edges=edges,
        tally=tally,
        name=f"{socket.gethostname()}/{os.getpid()}",
        lease=settings.worker_lease,
    )
    return Worker(
        means,
        concurrency=settings.worker_concurrency,
        stop_within=settings.shutdown_timeout,
    )


def describe_worker(settings: Settings) -> str:
    """A line of what a process prints at its start."""
    return f"  worker   publishes to {SANDBOX}, {settings.worker_concurrency} at a time"


@asynccontextmanager
async def worker_beside(
    settings: Settings, database: Database, policies: RetryPolicies, now: Clock
) -> AsyncIterator[None]:
    """The worker of a server process, if the settings want one; of several processes none has a live line."""
    if not settings.with_worker:
        yield
        return
    with watched() if settings.workers == 1 else nullcontext(Tally()) as tally:
        async with working(make_worker(settings, database, policies, tally, now)):
            yield


@contextmanager
def watched() -> Iterator[Tally]:
    """A tally; where somebody looks on, it is on a live line in place of a log line for each post."""
    with live_line() as line:
        if line is None:
            yield Tally()
            return
        tally = Tally(lambda changed: line.show(str(changed)))
        logger = logging.getLogger("app.worker")
        level = logger.level
        if not logger.isEnabledFor(logging.DEBUG):
            logger.setLevel(max(logger.getEffectiveLevel(), logging.WARNING))
        try:
            yield tally
        finally:
            logger.setLevel(level)
