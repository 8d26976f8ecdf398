"""Delivery loop of webhooks: stores the deliveries of new events, and attempts those that are due.

Each endpoint with due deliveries has a task of its own, so that a slow receiver delays no other.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from cachetools import FIFOCache, TTLCache

from app.db.repositories.webhook_deliveries import StoredDelivery
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.observability.outages import Outage
from app.outbound.client import OutboundClient
from app.services.webhook_deliveries import (
    DeliveryBatch,
    DueWebhook,
    LeaseRequest,
    RemainingEvents,
    SettledDelivery,
    WebhookDeliveryService,
)
from app.services.webhook_requests import ATTEMPT_TIMEOUT, send_webhook
from app.worker.context import SystemFunctions, retry_while
from app.worker.lease_batcher import LeaseBatcher

_POLL_INTERVAL = timedelta(milliseconds=500)
"""Interval at which a process polls for new events and due deliveries."""

_LOCKED_INTERVAL = timedelta(milliseconds=20)
"""The same while another transaction has locked endpoints with new events."""

_RECORD_INTERVAL = timedelta(seconds=20)
"""Interval at which the process stores that it polls for deliveries."""

MAX_TASKS = 256
"""Endpoints to which a process delivers at a time; at most three quarters of them failed last."""

FILES_PER_TASK = 40
"""Open files for one task: a connection for each of its concurrent attempts, and as many that are idle."""

_MAX_CONCURRENT_ATTEMPTS = 20
"""Requests to one endpoint at a time."""

_UNREADABLE_INTERVAL = timedelta(minutes=1)
"""Time after which an endpoint is tried again whose secret this process could not decrypt."""
_MAX_UNREADABLE = 100_000

_SETTLE_TIME = timedelta(seconds=5)
"""Time that is left to store the results, before the end of a lease or at a shutdown."""

logger = structlog.stdlib.get_logger(__name__)


class WebhookWorker:
    """Loop that delivers the webhooks of all workspaces, until it is stopped."""

    def __init__(
        self,
        service: WebhookDeliveryService,
        client: OutboundClient,
        system: SystemFunctions,
        *,
        max_tasks: int = MAX_TASKS,
        poll_interval: timedelta = _POLL_INTERVAL,
    ) -> None:
        self._service = service
        self._batcher = LeaseBatcher(service)
        self._client = client
        self._system = system
        self._max_tasks, self._max_failing_tasks = max_tasks, max(1, max_tasks * 3 // 4)
        self._poll_interval = poll_interval
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        """Running deliveries by endpoint."""
        self._failing: set[UUID] = set()
        """Endpoints among them whose last attempt had failed."""
        self._has_waiting = self._has_failing_waiting = False
        """True if an endpoint with due deliveries, or a failing one, waits for a task."""
        self._unreadable = TTLCache[UUID, None](
            _MAX_UNREADABLE, _UNREADABLE_INTERVAL.total_seconds(), timer=system.monotonic
        )
        """Endpoints whose secret this process could not decrypt, and which it does not try meanwhile."""
        self._logged_unreadable_ids = FIFOCache[UUID, None](_MAX_UNREADABLE)
        """Endpoints that were logged as unreadable; the warning is not repeated for them."""
        self._is_stopping = False
        self._wakeup = asyncio.Event()
        self._outage = Outage(logger, "webhook delivery failed")
        self._socket_outage = Outage(logger, "webhook request not sent")
        self._event_outage = Outage(logger, "events of webhooks not read")

    def stop(self) -> None:
        """Lease nothing more, and let running attempts end."""
        self._is_stopping = True
        self._wakeup.set()

    async def run(self) -> None:
        """Deliver until `stop`, then wait for the running attempts; if cancelled, cancel them."""
        recorded_at = float("-inf")
        waits = {
            RemainingEvents.NONE: self._poll_interval,
            RemainingEvents.LOCKED: _LOCKED_INTERVAL,
            RemainingEvents.MORE: timedelta(),
        }
        try:
            while not self._is_stopping:
                self._wakeup.clear()
                remaining = RemainingEvents.NONE
                with self._outage.suppress():
                    now = self._system.monotonic()
                    if now - recorded_at >= _RECORD_INTERVAL.total_seconds():
                        await self._service.record_poll()
                        recorded_at = now
                with self._event_outage.suppress():
                    remaining = await self._service.store_deliveries()
                with self._outage.suppress():
                    await self._start_tasks()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wakeup.wait(), waits[remaining].total_seconds())
            if self._tasks:
                # Unlike `gather`, this does not cancel the tasks, each of which must be cancelled only once.
                await asyncio.wait(self._tasks.values())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _start_tasks(self) -> None:
        """Start a task for each endpoint with due deliveries, in random order, healthy ones first."""
        due = [
            each
            for each in await self._service.due_webhooks()
            if each.id not in self._tasks and each.id not in self._unreadable
        ]
        order = {each.id: (each.is_failing, self._system.random()) for each in due}
        self._has_waiting = self._has_failing_waiting = False
        for webhook in sorted(due, key=lambda each: order[each.id]):
            if len(self._tasks) >= self._max_tasks:
                self._has_waiting = True
                break
            if webhook.is_failing and len(self._failing) >= self._max_failing_tasks:
                self._has_failing_waiting = True
                break
            if webhook.is_failing:
                self._failing.add(webhook.id)
            task = asyncio.create_task(self._deliver(webhook))
            self._tasks[webhook.id] = task
            task.add_done_callback(partial(self._remove_task, webhook.id))

    def _remove_task(self, webhook_id: UUID, _task: asyncio.Task[None]) -> None:
        del self._tasks[webhook_id]
        self._failing.discard(webhook_id)

    async def _deliver(self, webhook: DueWebhook) -> None:
        """Attempt due deliveries of an endpoint, batch after batch, until there are none.

        If it is cancelled, the attempts that have ended are stored, and the others repeated later.
        """
        settled: list[SettledDelivery] = []
        with self._outage.suppress():
            try:
                while batch := await self._settle_and_lease(webhook, settled):
                    settled = []
                    await self._attempt_all(batch, settled)
            except asyncio.CancelledError:
                if settled:
                    request = LeaseRequest(webhook.id, settled, wants_more=False)
                    async with asyncio.timeout(_SETTLE_TIME.total_seconds()):
                        await self._batcher.run(webhook.workspace_id, request)
                raise

    async def _settle_and_lease(
        self, webhook: DueWebhook, settled: list[SettledDelivery]
    ) -> DeliveryBatch | None:
        """Store results and lease more, unless the task should end.

        While the database is unavailable, the transaction is retried as long as the results may still be
        stored.
        """
        give_up_at = self._system.monotonic() + ATTEMPT_TIMEOUT.total_seconds()
        request = LeaseRequest(webhook.id, settled, self._may_lease(webhook, settled))
        batch = await retry_while(
            lambda: self._batcher.run(webhook.workspace_id, request),
            self._system,
            should_retry=lambda: self._system.monotonic() < give_up_at,
        )
        if batch is not None and not batch.secrets:
            self._skip_unreadable(webhook)
            return None
        return batch

    def _skip_unreadable(self, webhook: DueWebhook) -> None:
        if webhook.id not in self._logged_unreadable_ids:
            self._logged_unreadable_ids[webhook.id] = None
            logger.warning(
                "webhook secret not decrypted",
                webhook_id=str(webhook.id),
                workspace_id=str(webhook.workspace_id),
                reason="SECRETS_KEY of this process lacks its key. Run `post-results secrets check`.",
            )
        self._unreadable[webhook.id] = None

    def _may_lease(self, webhook: DueWebhook, settled: Sequence[SettledDelivery]) -> bool:
        """Return whether the task of an endpoint may go on after these results.

        It ends if others wait for a task, if there was no time or socket for an attempt, and at the first
        failures, so that endpoints which begin to fail count as failing when they continue.
        """
        must_end = self._has_waiting or (webhook.is_failing and self._has_failing_waiting)
        if self._is_stopping or (settled and must_end):
            return False
        if any(each.attempt is None for each in settled):
            return False
        has_failed = any(each.attempt and not each.attempt.is_success for each in settled)
        return webhook.is_failing or not has_failed

    async def _attempt_all(self, batch: DeliveryBatch, settled: list[SettledDelivery]) -> None:
        """Attempt the deliveries, those of one post in order, and append each result to `settled`.

        `settled` is an output parameter, because the results must survive a cancellation.
        """
        by_post: dict[UUID, list[StoredDelivery]] = defaultdict(list)
        for delivery in batch.deliveries:
            by_post[delivery.post_id or delivery.id].append(delivery)
        slots = asyncio.Semaphore(_MAX_CONCURRENT_ATTEMPTS)
        async with asyncio.TaskGroup() as group:
            for deliveries in by_post.values():
                group.create_task(self._attempt_in_order(batch, deliveries, slots, settled))

    async def _attempt_in_order(
        self,
        batch: DeliveryBatch,
        deliveries: Sequence[StoredDelivery],
        slots: asyncio.Semaphore,
        settled: list[SettledDelivery],
    ) -> None:
        last_start = batch.lease_expires_at - ATTEMPT_TIMEOUT - _SETTLE_TIME
        for delivery in deliveries:
            attempt = None
            async with slots:
                if not self._is_stopping and self._system.now() < last_start:
                    attempt = await self._attempt(batch, delivery)
            settled.append(SettledDelivery(delivery, attempt))

    async def _attempt(
        self, batch: DeliveryBatch, delivery: StoredDelivery
    ) -> DeliveryAttempt | None:
        """Send a delivery; return None if this process could not send it."""
        with self._socket_outage.suppress():
            return await send_webhook(
                self._client,
                batch.url,
                delivery.body,
                event_id=delivery.event_id,
                secrets=batch.secrets,
                clock=self._system.now,
                monotonic=self._system.monotonic,
            )
        return None


@asynccontextmanager
async def deliver_in_background(
    worker: WebhookWorker, shutdown_timeout: timedelta
) -> AsyncIterator[None]:
    """Deliver inside the context. At exit, running attempts have the timeout to end; others are repeated."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(task, shutdown_timeout.total_seconds())
