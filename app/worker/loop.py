"""The worker's loop: claims as much as it can work on at once, until it is told to stop. No processes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.services.claiming import Claim, Wish, claim_destinations, claim_verifications
from app.worker.holds import Hold
from app.worker.means import OPERATOR, Means
from app.worker.publisher import publish
from app.worker.verifier import verify

POLL = timedelta(milliseconds=500)
"""How often a worker with nothing to do looks for something."""

logger = structlog.stdlib.get_logger(__name__)


class Worker:
    """Publishes what is due, and looks at what is unknown, on the platforms that it has adapters for."""

    def __init__(
        self, means: Means, *, concurrency: int, stop_within: timedelta, poll: timedelta = POLL
    ) -> None:
        self._means = means
        # Each has its turn to be first, for of one free place the first one has all.
        self._of_due, self._of_unknown = deque(means.platforms), deque(means.platforms)
        self._concurrency = concurrency
        self._stop_within = stop_within
        self._poll = poll
        self._running: set[asyncio.Task[None]] = set()
        self._is_stopping = self._is_failing = False
        self._news = asyncio.Event()
        """Set by whatever is no reason to wait any longer: a free place, or a stop."""

    def stop(self) -> None:
        """Claim nothing more; give back what is not started, and finish what is."""
        self._is_stopping = True
        self._news.set()

    async def run(self) -> None:
        """Until `stop`, and as long after it as what was started takes, up to the time for that."""
        while not self._is_stopping:
            self._news.clear()
            await self._fill_up()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._poll.total_seconds())
        await self._finish()

    async def _fill_up(self) -> None:
        """Whatever happens, the next round is tried."""
        try:
            await self._verify_what_is_unknown()
            await self._publish_what_is_due()
            self._is_failing = False
        except Exception:
            if not self._is_failing:  # once is enough of a database that is away for hours
                logger.warning("nothing can be claimed", exc_info=True)
            self._is_failing = True

    async def _verify_what_is_unknown(self) -> None:
        if self._free == 0:
            return
        asked_at = self._means.edges.elapsed()
        for claim in await claim_verifications(
            self._means.database,
            OPERATOR,
            # Not all places, so that what is due need not wait.
            self._wish(max(self._free // 2, 1), self._of_unknown),
            new_id=self._means.edges.new_id,
            now=self._means.edges.now(),
        ):
            self._begin(verify(self._means, claim, self._hold(asked_at)))

    async def _publish_what_is_due(self) -> None:
        if self._free == 0 or self._is_stopping:
            return
        asked_at = self._means.edges.elapsed()
        for claim in await claim_destinations(
            self._means.database,
            OPERATOR,
            self._wish(self._free, self._of_due),
            new_id=self._means.edges.new_id,
            now=self._means.edges.now(),
        ):
            self._begin(self._publish(claim, self._hold(asked_at)))

    def _publish(self, claim: Claim, hold: Hold) -> Coroutine[None, None, None]:
        return publish(self._means, claim, hold, is_stopping=lambda: self._is_stopping)

    @property
    def _free(self) -> int:
        return self._concurrency - len(self._running)

    def _wish(self, limit: int, turns: deque[str]) -> Wish:
        turns.rotate()
        return Wish(limit=limit, lease=self._means.lease, platforms=tuple(turns))

    def _hold(self, asked_at: float) -> Hold:
        return Hold(self._means.lease, asked_at=asked_at, elapsed=self._means.edges.elapsed)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        self._means.tally.flying(len(self._running))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()
        self._means.tally.flying(len(self._running))
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a claim was left to its lease", exc_info=error)

    async def _finish(self) -> None:
        """What does not end in time is left to its lease; whoever lives then settles it as unknown."""
        running = set(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=self._stop_within.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    """The worker runs from here to the end, at which it is stopped and waited for."""
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running
