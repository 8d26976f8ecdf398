"""The worker's loop: claims as much as it can work on at once, until it is told to stop. No processes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.services.claims import Claim, ClaimRequest, claim_destinations, claim_verifications
from app.worker.context import OPERATOR_PUBLISHER, WorkerContext
from app.worker.lease_renewal import LeaseTimer
from app.worker.publisher import publish
from app.worker.verifier import verify

POLL_INTERVAL = timedelta(milliseconds=500)
"""How often a worker with nothing to do looks for something."""

logger = structlog.stdlib.get_logger(__name__)


class Worker:
    """Publishes what is due, and looks at what is unknown, on the platforms that it has adapters for."""

    def __init__(
        self,
        context: WorkerContext,
        *,
        concurrency: int,
        shutdown_timeout: timedelta,
        poll_interval: timedelta = POLL_INTERVAL,
    ) -> None:
        self._context = context
        # Each has its turn to be first, for of one free place the first one has all.
        self._publish_platforms, self._verify_platforms = (
            deque(context.platforms),
            deque(context.platforms),
        )
        self._concurrency = concurrency
        self._shutdown_timeout = shutdown_timeout
        self._poll_interval = poll_interval
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = self._is_failing = False
        self._wakeup = asyncio.Event()
        """Set by whatever is no reason to wait any longer: a free place, or a stop."""

    def stop(self) -> None:
        """Claim nothing more; give back what is not started, and finish what is."""
        self._is_stopping = True
        self._wakeup.set()

    async def run(self) -> None:
        """Until `stop`, and as long after it as what was started takes, up to the time for that."""
        while not self._is_stopping:
            self._wakeup.clear()
            await self._fill_slots()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), self._poll_interval.total_seconds())
        await self._drain()

    async def _fill_slots(self) -> None:
        """Whatever happens, the next round is tried."""
        try:
            await self._start_verifications()
            await self._start_publishing()
            self._is_failing = False
        except Exception:
            if not self._is_failing:  # once is enough of a database that is away for hours
                logger.warning("nothing can be claimed", exc_info=True)
            self._is_failing = True

    async def _start_verifications(self) -> None:
        if self._free_slots == 0:
            return
        asked_at = self._context.runtime.monotonic()
        for claim in await claim_verifications(
            self._context.database,
            OPERATOR_PUBLISHER,
            # Not all places, so that what is due need not wait.
            self._claim_request(max(self._free_slots // 2, 1), self._verify_platforms),
            new_id=self._context.runtime.new_id,
            now=self._context.runtime.now(),
        ):
            self._start_task(verify(self._context, claim, self._make_lease_timer(asked_at)))

    async def _start_publishing(self) -> None:
        if self._free_slots == 0 or self._is_stopping:
            return
        asked_at = self._context.runtime.monotonic()
        for claim in await claim_destinations(
            self._context.database,
            OPERATOR_PUBLISHER,
            self._claim_request(self._free_slots, self._publish_platforms),
            new_id=self._context.runtime.new_id,
            now=self._context.runtime.now(),
        ):
            self._start_task(self._publish(claim, self._make_lease_timer(asked_at)))

    def _publish(self, claim: Claim, lease_timer: LeaseTimer) -> Coroutine[None, None, None]:
        return publish(self._context, claim, lease_timer, is_stopping=lambda: self._is_stopping)

    @property
    def _free_slots(self) -> int:
        return self._concurrency - len(self._tasks)

    def _claim_request(self, limit: int, platforms: deque[str]) -> ClaimRequest:
        platforms.rotate()
        return ClaimRequest(
            limit=limit, lease_duration=self._context.lease_duration, platforms=tuple(platforms)
        )

    def _make_lease_timer(self, requested_at: float) -> LeaseTimer:
        return LeaseTimer(
            self._context.lease_duration,
            requested_at=requested_at,
            monotonic=self._context.runtime.monotonic,
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
            logger.error("a claim was left to its lease", exc_info=error)

    async def _drain(self) -> None:
        """What does not end in time is left to its lease; whoever lives then settles it as unknown."""
        running = set(self._tasks)
        if running:
            _, late = await asyncio.wait(running, timeout=self._shutdown_timeout.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


@asynccontextmanager
async def run_in_background(worker: Worker) -> AsyncIterator[None]:
    """The worker runs from here to the end, at which it is stopped and waited for."""
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running
