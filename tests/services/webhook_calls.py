"""Short forms of webhook use cases for tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from app.db.core.database import Database
from app.domain.idempotency import IdempotencyKey
from app.domain.ids import AccountId, WebhookId, WorkspaceId
from app.domain.webhooks.commands import WebhookUpdate
from app.domain.webhooks.deliveries import DeliveryAttempt
from app.domain.webhooks.event_types import WebhookEventType
from app.outbound.client import OutboundClient
from app.services.secret_cipher import SecretCipher
from app.services.unit_of_work import WriteContext
from app.services.webhook_deliveries import (
    DeliveryBatch,
    LeaseRequest,
    SettledDelivery,
    WebhookDeliveryService,
)
from app.services.webhooks import WebhookService
from tests.factories import NOW, add_account, add_workspace
from tests.webhook_events import stored_deliveries
from tests.webhook_receiver import LOOPBACK_RULES
from tests.webhook_rows import CIPHER, add_webhook

SECOND = timedelta(seconds=1)
SCHEDULE = (5 * SECOND, 300 * SECOND)
SIGNING_KEY = bytes(32)


def delivery_service(
    database: Database, now: datetime = NOW, *, cipher: SecretCipher = CIPHER
) -> WebhookDeliveryService:
    """The service of a process at a time, without jitter."""
    return WebhookDeliveryService(
        database=database,
        cipher=cipher,
        signing_key=SIGNING_KEY,
        retry_schedule=SCHEDULE,
        new_id=uuid4,
        clock=lambda: now,
        random=lambda: 0.0,
    )


def webhook_service(
    database: Database, now: datetime = NOW, *, cipher: SecretCipher = CIPHER
) -> WebhookService:
    return WebhookService(
        database=database,
        cipher=cipher,
        rules=LOOPBACK_RULES,
        client=OutboundClient(LOOPBACK_RULES),
        new_id=uuid4,
        random_bytes=lambda length: (uuid4().bytes * 2)[:length],
        clock=lambda: now,
        monotonic=lambda: 0.0,
    )


async def store_all(database: Database, now: datetime = NOW) -> None:
    """Store the deliveries of all events."""
    while await delivery_service(database, now).store_deliveries():
        pass


@dataclass(frozen=True, slots=True)
class TenantWithoutServer:
    """A workspace, without a server whose worker would deliver its webhooks."""

    database: Database
    workspace: WorkspaceId

    async def event_seqs(self, webhook_id: WebhookId) -> list[int]:
        """Return the numbers of the events that have a delivery to an endpoint."""
        deliveries = await stored_deliveries(self.database, self.workspace, webhook_id)
        return [each.event_seq for each in deliveries]


async def add_similar_tenants(database: Database) -> list[tuple[WorkspaceId, WebhookId, AccountId]]:
    """Workspaces with the same account ids and event numbers, each with an endpoint."""
    tenants = []
    for _ in range(2):
        workspace = await add_workspace(database)
        account = await add_account(database, workspace, account_name=f"of {workspace}")
        tenants.append((workspace, await add_webhook(database, workspace), account))
    return tenants


@dataclass(frozen=True, slots=True)
class DeliveryProcess:
    """A process that delivers to one endpoint."""

    database: Database
    workspace: WorkspaceId
    webhook_id: WebhookId

    async def lease(
        self, now: datetime = NOW, settled: Sequence[SettledDelivery] = ()
    ) -> DeliveryBatch | None:
        """Settle deliveries, and lease the next ones."""
        return await self._run(LeaseRequest(self.webhook_id, settled), now)

    async def settle(self, settled: Sequence[SettledDelivery], now: datetime = NOW) -> None:
        batch = await self._run(LeaseRequest(self.webhook_id, settled, wants_more=False), now)
        assert batch is None

    async def _run(self, request: LeaseRequest, now: datetime) -> DeliveryBatch | None:
        service = delivery_service(self.database, now)
        (batch,) = await service.settle_and_lease(self.workspace, [request])
        return batch

    async def respond(
        self, batch: DeliveryBatch | None, status_code: int | None, now: datetime = NOW
    ) -> None:
        """Settle all deliveries of a batch with the same response."""
        assert batch is not None
        await self.settle(
            [SettledDelivery(each, attempt_at(now, status_code)) for each in batch.deliveries], now
        )


def attempt_at(now: datetime, status_code: int | None) -> DeliveryAttempt:
    """An attempt of 20 ms with this response; None if the receiver did not respond."""
    is_success = status_code is not None and status_code < 300
    return DeliveryAttempt(
        started_at=now,
        duration=timedelta(milliseconds=20),
        status_code=status_code,
        error=None if is_success else "It failed.",
        response_body=None if status_code is None else "The body.",
    )


def webhook_context(
    workspace: WorkspaceId, operation: str = "updateWebhook", now: datetime = NOW
) -> WriteContext:
    return WriteContext.without_actor(workspace, operation, now)


def client_key(text: str = "k") -> IdempotencyKey:
    return IdempotencyKey(f"given:{text}", timedelta(hours=24), is_client_chosen=True)


def new_settings(url: str = "https://example.com/hook") -> WebhookUpdate:
    return {"url": url, "event_types": [WebhookEventType.ACCOUNT_CONNECTED]}
