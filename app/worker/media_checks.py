"""Loop that checks the media of posts before they are due."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from app.db.repositories.media_checks import PendingMediaCheck
from app.domain.ids import WorkspaceId
from app.observability.outages import Outage
from app.services.media_checks import MediaCheckService
from app.worker.connectivity import Connectivity

_POLL_INTERVAL = timedelta(seconds=2)
"""Interval at which a worker polls for due checks."""

_MAX_CHECKS = 8
"""Posts that a worker checks at a time. One file of each is in memory."""

_MAX_CHECKS_OF_WORKSPACE = 2
"""Posts of one workspace among them, so that its slow servers leave time for the others."""

logger = structlog.stdlib.get_logger(__name__)


class MediaChecker:
    """Loop that checks media of all workspaces until it is cancelled; the leases of running checks expire."""

    def __init__(
        self,
        service: MediaCheckService,
        connectivity: Connectivity,
        *,
        poll_interval: timedelta = _POLL_INTERVAL,
    ) -> None:
        self._service = service
        self._connectivity = connectivity
        self._poll_interval = poll_interval
        self._running: dict[asyncio.Task[None], WorkspaceId] = {}
        self._has_free_slot = asyncio.Event()
        self._outage = Outage(logger, "media checks failed")

    async def run(self) -> None:
        """Check until cancelled; a worker that reaches no server checks nothing."""
        try:
            while True:
                self._has_free_slot.clear()
                with self._outage.suppress():
                    if await self._connectivity.may_claim():
                        await self._start_checks()
                with suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._has_free_slot.wait(), self._poll_interval.total_seconds()
                    )
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _start_checks(self) -> None:
        if (limit := _MAX_CHECKS - len(self._running)) == 0:
            return
        due = await self._service.due(
            Counter(self._running.values()),
            max_of_workspace=_MAX_CHECKS_OF_WORKSPACE,
            limit=limit,
        )
        for pending in due:
            task = asyncio.create_task(self._check(pending))
            self._running[task] = pending.workspace_id
            task.add_done_callback(self._remove)

    async def _check(self, pending: PendingMediaCheck) -> None:
        with self._outage.suppress():
            await self._service.check(pending)

    def _remove(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._has_free_slot.set()


@asynccontextmanager
async def check_media_in_background(checker: MediaChecker) -> AsyncIterator[None]:
    """Check media inside the context."""
    task = asyncio.create_task(checker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
