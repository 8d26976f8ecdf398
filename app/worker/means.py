"""All that a worker works with: database, adapters, clocks, chance. No behaviour."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from app.db.engine import Database
from app.domain.endings import RetryRules
from app.domain.ids import NewId
from app.platforms.protocol import Platform
from app.services.publishing import Publisher
from app.worker.tally import Tally

OPERATOR = Publisher(workspace_id=None, actor=None)
"""Who publishes: a worker of the operator's own, in every workspace."""

LONGEST_CALL = timedelta(minutes=10)
"""After so long an adapter is broken off, and nobody knows what came of it."""

LONGEST_LOOK = timedelta(seconds=30)
"""A platform that takes longer to say whether a post is there cannot say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """What comes from outside of the program."""

    now: Callable[[], datetime]
    elapsed: Callable[[], float]
    """Seconds since some moment, whatever is done to the clock; also while the process is stopped."""
    sleep: Callable[[float], Awaitable[None]]
    new_id: NewId
    random: Callable[[], float]
    """From 0 to below 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every claim of a worker is worked on with."""

    database: Database
    platforms: Mapping[str, Platform]
    rules: RetryRules
    edges: Edges
    tally: Tally
    name: str
    """As the log of attempts has it."""
    lease: timedelta
    longest_call: timedelta = LONGEST_CALL
    longest_look: timedelta = LONGEST_LOOK


def real_edges(now: Callable[[], datetime]) -> Edges:
    return Edges(
        now=now,
        elapsed=_elapsed,
        sleep=asyncio.sleep,
        new_id=uuid4,
        random=random.SystemRandom().random,
    )


def _elapsed() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):  # runs on while a machine sleeps, as leases do
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
