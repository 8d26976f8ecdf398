"""Workers that deliver webhooks to receivers on loopback, in the test process."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from app.db.core.database import Database
from app.outbound.client import OutboundClient
from app.services.secret_cipher import SecretCipher
from app.services.webhook_deliveries import WebhookDeliveryService
from app.worker.context import SystemFunctions
from app.worker.webhooks import MAX_TASKS, WebhookWorker, deliver_in_background
from tests.webhook_receiver import LOOPBACK_RULES
from tests.webhook_rows import CIPHER
from tests.worker.worker_bench import TIMEOUT_SECONDS, FakeClock, RealClock


@dataclass
class WebhookBench:
    """Dependencies of a test's workers."""

    database: Database
    clock: FakeClock | RealClock = field(default_factory=FakeClock)
    cipher: SecretCipher = CIPHER
    retry_schedule: Sequence[timedelta] = (timedelta(seconds=0.05),)
    random: Callable[[], float] = lambda: 0.0

    def worker(self, client: OutboundClient, *, max_tasks: int = MAX_TASKS) -> WebhookWorker:
        system = SystemFunctions(
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
            new_id=uuid4,
            random=self.random,
        )
        service = WebhookDeliveryService(
            database=self.database,
            cipher=self.cipher,
            signing_key=bytes(32),
            retry_schedule=self.retry_schedule,
            new_id=uuid4,
            clock=self.clock.now,
            random=self.random,
        )
        poll_interval = timedelta(milliseconds=10)
        return WebhookWorker(
            service, client, system, max_tasks=max_tasks, poll_interval=poll_interval
        )

    @asynccontextmanager
    async def running_worker(
        self, shutdown_timeout: timedelta = timedelta(seconds=TIMEOUT_SECONDS)
    ) -> AsyncIterator[WebhookWorker]:
        """Run a worker; at exit it is stopped, and cancelled if its attempts outlast the timeout."""
        async with OutboundClient(LOOPBACK_RULES) as client:
            worker = self.worker(client)
            async with deliver_in_background(worker, shutdown_timeout):
                yield worker
