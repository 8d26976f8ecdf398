"""Leases as their holder sees them: how long they last by its own clock, and how they are kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.domain.errors import RequestError
from app.domain.leases import Lease
from app.services.reports import extend_lease
from app.worker.context import OPERATOR_PUBLISHER, WorkerContext

MAX_SAFETY_MARGIN = timedelta(seconds=5)
"""So long before its end a lease counts as lost: for other machines' clocks, and for the call itself."""

logger = structlog.stdlib.get_logger(__name__)


class LeaseTimer:
    """How long a lease lasts. By a clock that runs on while the process is stopped."""

    def __init__(
        self, lease_duration: timedelta, *, requested_at: float, monotonic: Callable[[], float]
    ) -> None:
        """`asked_at` is from before the lease was asked for, so that it never seems to end too late."""
        self._duration = (
            lease_duration - min(MAX_SAFETY_MARGIN, lease_duration / 6)
        ).total_seconds()
        self._monotonic = monotonic
        self.extend(requested_at)

    def extend(self, requested_at: float) -> None:
        self._ends_at = requested_at + self._duration

    def seconds_left(self) -> float:
        """0 or less: it must be taken for lost."""
        return self._ends_at - self._monotonic()

    @property
    def is_held(self) -> bool:
        return self.seconds_left() > 0


@asynccontextmanager
async def renew_lease(
    context: WorkerContext, lease: Lease, lease_timer: LeaseTimer
) -> AsyncIterator[None]:
    """Within it the lease is extended whenever a third of it has passed."""
    done = asyncio.Event()
    extending = asyncio.create_task(_renew_periodically(context, lease, lease_timer, done))
    try:
        yield
    finally:
        done.set()
        await extending


async def _renew_periodically(
    context: WorkerContext, lease: Lease, lease_timer: LeaseTimer, stop_event: asyncio.Event
) -> None:
    usual = context.lease_duration / 3
    wait = usual
    while not await _wait(stop_event, wait):
        asked_at = context.runtime.monotonic()
        try:
            await extend_lease(
                context.database,
                OPERATOR_PUBLISHER,
                lease,
                context.lease_duration,
                now=context.runtime.now(),
            )
        except RequestError:  # it cannot be had back; what comes of the call will be reported late
            logger.warning("lease lost", destination_id=str(lease.destination_id))
            return
        except Exception:  # noqa: BLE001 - the database is away; while the lease lasts it may come back
            wait = usual / 4
        else:
            lease_timer.extend(asked_at)
            wait = usual


async def _wait(event: asyncio.Event, duration: timedelta) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), duration.total_seconds())
    return event.is_set()
