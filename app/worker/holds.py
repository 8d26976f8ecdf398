"""Leases as their holder sees them: how long they last by its own clock, and how they are kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.domain.errors import RequestError
from app.domain.leases import Lease
from app.services.publishing import extend_lease
from app.worker.means import OPERATOR, Means

LONGEST_MARGIN = timedelta(seconds=5)
"""So long before its end a lease counts as lost: for other machines' clocks, and for the call itself."""

logger = structlog.stdlib.get_logger(__name__)


class Hold:
    """How long a lease lasts. By a clock that runs on while the process is stopped."""

    def __init__(self, length: timedelta, *, asked_at: float, elapsed: Callable[[], float]) -> None:
        """`asked_at` is from before the lease was asked for, so that it never seems to end too late."""
        self._length = (length - min(LONGEST_MARGIN, length / 6)).total_seconds()
        self._elapsed = elapsed
        self.extended(asked_at)

    def extended(self, asked_at: float) -> None:
        self._ends_at = asked_at + self._length

    def seconds_left(self) -> float:
        """0 or less: it must be taken for lost."""
        return self._ends_at - self._elapsed()

    @property
    def is_held(self) -> bool:
        return self.seconds_left() > 0


@asynccontextmanager
async def kept(means: Means, lease: Lease, hold: Hold) -> AsyncIterator[None]:
    """Within it the lease is extended whenever a third of it has passed."""
    done = asyncio.Event()
    extending = asyncio.create_task(_extend(means, lease, hold, done))
    try:
        yield
    finally:
        done.set()
        await extending


async def _extend(means: Means, lease: Lease, hold: Hold, done: asyncio.Event) -> None:
    usual = means.lease / 3
    wait = usual
    while not await _comes(done, wait):
        asked_at = means.edges.elapsed()
        try:
            await extend_lease(means.database, OPERATOR, lease, means.lease, now=means.edges.now())
        except RequestError:  # it cannot be had back; what comes of the call will be reported late
            logger.warning("lease lost", destination_id=str(lease.destination_id))
            return
        except Exception:  # noqa: BLE001 - the database is away; while the lease lasts it may come back
            wait = usual / 4
        else:
            hold.extended(asked_at)
            wait = usual


async def _comes(event: asyncio.Event, within: timedelta) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within.total_seconds())
    return event.is_set()
