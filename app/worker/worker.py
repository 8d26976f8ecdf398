"""The worker's loop: fills its free slots with claims, until it is stopped."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.domain.accounts import AccountPublisher
from app.observability.outages import Outage
from app.services.claims import ClaimRequest
from app.worker.context import WorkerContext
from app.worker.lease_renewal import LeaseTimer
from app.worker.publish import publish
from app.worker.verify_outcome import verify_outcome

_POLL_INTERVAL = timedelta(milliseconds=500)
"""Interval at which a worker with free slots checks for claims."""

logger = structlog.stdlib.get_logger(__name__)


class Worker:
    """Loop that publishes due destinations and verifies unknown outcomes of accounts with an adapter."""

    def __init__(
        self,
        context: WorkerContext,
        *,
        concurrency: int,
        shutdown_timeout: timedelta,
        poll_interval: timedelta = _POLL_INTERVAL,
    ) -> None:
        self._context = context
        # Rotated before each claim, because a single free slot goes to the first publisher.
        self._publishers_to_publish = deque(context.adapters)
        self._publishers_to_verify = deque(context.adapters)
        self._concurrency = concurrency
        self._shutdown_timeout = shutdown_timeout
        self._poll_interval = poll_interval
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._time_limit: asyncio.Timeout | None = None
        """Limit of `run`, which begins with `stop`; None while nothing runs."""
        self._claim_outage = Outage(logger, "claim failed")
        self._wakeup = asyncio.Event()
        """Set by a free slot or a stop, to end the wait for the next poll."""

    def stop(self) -> None:
        """Claim nothing more, release claims that are not started, and finish those that are."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._wakeup.set()
        if self._time_limit is not None:
            now = asyncio.get_running_loop().time()
            self._time_limit.reschedule(now + self._shutdown_timeout.total_seconds())

    async def run(self) -> None:
        """Work until `stop`, then finish started attempts, for up to the shutdown timeout."""
        try:
            async with asyncio.timeout(None) as self._time_limit:
                await self._claim_until_stopped()
                if self._tasks:
                    await asyncio.wait(set(self._tasks))
        except TimeoutError:
            logger.warning("shutdown timeout exceeded", running_attempts=len(self._tasks))
        finally:
            self._time_limit = None
        # The leases of late attempts expire into unknown outcomes.
        late = set(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _claim_until_stopped(self) -> None:
        while not self._is_stopping:
            self._wakeup.clear()
            with self._claim_outage.suppress():
                if await self._context.connectivity.may_claim():
                    await self._start_outcome_verifications()
                    await self._start_publishing()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), self._poll_interval.total_seconds())

    async def _start_outcome_verifications(self) -> None:
        if self._free_slots == 0:
            return
        requested_at = self._context.system.monotonic()
        # At most half of the slots, so that due destinations need not wait.
        request = self._claim_request(max(self._free_slots // 2, 1), self._publishers_to_verify)
        for claim in await self._context.claims.claim_verifications(request):
            self._start_task(
                verify_outcome(self._context, claim, self._make_lease_timer(requested_at))
            )

    async def _start_publishing(self) -> None:
        if self._free_slots == 0 or self._is_stopping:
            return
        requested_at = self._context.system.monotonic()
        request = self._claim_request(self._free_slots, self._publishers_to_publish)
        for claim in await self._context.claims.claim_destinations(request):
            lease_timer = self._make_lease_timer(requested_at)
            self._start_task(
                publish(self._context, claim, lease_timer, is_stopping=lambda: self._is_stopping)
            )

    @property
    def _free_slots(self) -> int:
        return self._concurrency - len(self._tasks)

    def _claim_request(self, limit: int, publishers: deque[AccountPublisher]) -> ClaimRequest:
        publishers.rotate()
        return ClaimRequest(
            limit=limit, lease_duration=self._context.lease_duration, publishers=tuple(publishers)
        )

    def _make_lease_timer(self, requested_at: float) -> LeaseTimer:
        return LeaseTimer(
            self._context.lease_duration,
            requested_at=requested_at,
            monotonic=self._context.system.monotonic,
        )

    def _start_task(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        self._context.stats.set_in_flight(len(self._tasks))

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wakeup.set()
        self._context.stats.set_in_flight(len(self._tasks))
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("claim abandoned until lease expiry", exc_info=error)


@asynccontextmanager
async def run_in_background(worker: Worker) -> AsyncIterator[None]:
    """Run the worker inside the context; stop it and wait for it at exit."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task
