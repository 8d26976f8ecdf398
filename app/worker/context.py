"""All that a worker works with: database, adapters, clocks, chance. No behaviour."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from app.db.core.database import Database
from app.domain.ids import IdFactory
from app.domain.settlement import RetryDecider
from app.platforms.protocol import Platform
from app.services.reports import Publisher
from app.worker.stats import WorkerStats

OPERATOR_PUBLISHER = Publisher(workspace_id=None, actor=None)
"""Who publishes: a worker of the operator's own, in every workspace."""

PUBLISH_TIMEOUT = timedelta(minutes=10)
"""After so long an adapter is broken off, and nobody knows what came of it."""

LOOKUP_TIMEOUT = timedelta(seconds=30)
"""A platform that takes longer to say whether a post is there cannot say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What comes from outside of the program."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    """Seconds since some moment, whatever is done to the clock; also while the process is stopped."""
    sleep: Callable[[float], Awaitable[None]]
    new_id: IdFactory
    random: Callable[[], float]
    """From 0 to below 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What every claim of a worker is worked on with."""

    database: Database
    platforms: Mapping[str, Platform]
    retry_decider: RetryDecider
    runtime: Runtime
    stats: WorkerStats
    worker_name: str
    """As the log of attempts has it."""
    lease_duration: timedelta
    publish_timeout: timedelta = PUBLISH_TIMEOUT
    lookup_timeout: timedelta = LOOKUP_TIMEOUT


def system_runtime(now: Callable[[], datetime]) -> Runtime:
    return Runtime(
        now=now,
        monotonic=_monotonic,
        sleep=asyncio.sleep,
        new_id=uuid4,
        random=random.SystemRandom().random,
    )


def _monotonic() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):  # runs on while a machine sleeps, as leases do
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
