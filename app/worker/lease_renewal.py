"""Leases on the worker's side: measured by its own clock, and renewed while a platform is called."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.domain.errors import RequestError
from app.domain.leases import Lease
from app.worker.context import WorkerContext

_MAX_SAFETY_MARGIN = timedelta(seconds=5)
"""A lease counts as lost this long before it expires, for clock differences and the call itself."""

logger = structlog.stdlib.get_logger(__name__)


class LeaseTimer:
    """Remaining time of a lease, by a clock that continues while the process is stopped."""

    def __init__(
        self, lease_duration: timedelta, *, requested_at: float, monotonic: Callable[[], float]
    ) -> None:
        """Start at `requested_at`, before the lease, so that the timer never ends after the lease."""
        self._duration = (
            lease_duration - min(_MAX_SAFETY_MARGIN, lease_duration / 6)
        ).total_seconds()
        self._monotonic = monotonic
        self.renew(requested_at)

    def renew(self, requested_at: float) -> None:
        self._ends_at = requested_at + self._duration

    def seconds_left(self) -> float:
        """Return the remaining seconds; 0 or less if the lease must be considered lost."""
        return self._ends_at - self._monotonic()

    @property
    def is_held(self) -> bool:
        return self.seconds_left() > 0


@asynccontextmanager
async def renew_lease(
    context: WorkerContext, lease: Lease, lease_timer: LeaseTimer
) -> AsyncIterator[Callable[[], None]]:
    """Extend the lease inside the context, each time a third of its duration has passed.

    Yields a function that stops the renewals earlier, without waiting for one that runs.
    """
    stop_requested = asyncio.Event()
    task = asyncio.create_task(_renew_periodically(context, lease, lease_timer, stop_requested))
    try:
        yield stop_requested.set
    finally:
        stop_requested.set()
        await task


async def _renew_periodically(
    context: WorkerContext, lease: Lease, lease_timer: LeaseTimer, stop_requested: asyncio.Event
) -> None:
    interval = context.lease_duration / 3
    delay = interval
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop_requested.wait(), delay.total_seconds())
        if stop_requested.is_set():
            return
        requested_at = context.system.monotonic()
        try:
            await context.reports.extend_lease(lease, context.lease_duration)
        except RequestError:  # cannot be regained; the result of the call will be reported late
            if not stop_requested.is_set():  # a report may have ended the lease since
                logger.warning("lease lost", destination_id=str(lease.destination_id))
            return
        except Exception:  # noqa: BLE001 - database unavailable; it may recover within the lease
            delay = interval / 4
        else:
            lease_timer.renew(requested_at)
            delay = interval
