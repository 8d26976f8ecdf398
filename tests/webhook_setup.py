"""Webhooks for tests and measurements, created by the service without its API."""

import secrets
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import uuid4

from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from app.domain.outbound_rules import OutboundRules
from app.domain.webhooks.commands import WebhookUpdate
from app.domain.webhooks.event_types import WebhookEventType
from app.outbound.client import OutboundClient
from app.services.secret_cipher import SecretCipher
from app.services.unit_of_work import WriteContext
from app.services.webhooks import WebhookService
from tests.webhook_receiver import WebhookReceiver

LOOPBACK_RULES = OutboundRules(allow_http=True, allowed_networks=(ip_network("127.0.0.0/8"),))


async def add_webhooks(
    database: Database,
    workspace_id: WorkspaceId,
    receiver: WebhookReceiver,
    paths: Sequence[str],
    secrets_key: str,
    event_types: Collection[WebhookEventType] = (WebhookEventType.POST_SCHEDULED,),
) -> None:
    """Create a webhook for each path of the receiver."""
    now = datetime.now(UTC)
    async with OutboundClient(LOOPBACK_RULES) as client:
        service = WebhookService(
            database=database,
            cipher=SecretCipher([secrets_key]),
            rules=LOOPBACK_RULES,
            client=client,
            new_id=uuid4,
            random_bytes=secrets.token_bytes,
            clock=lambda: now,
            monotonic=time.monotonic,
        )
        context = WriteContext(
            workspace_id=workspace_id, actor=None, operation="createWebhook", now=now
        )
        for path in paths:
            settings = WebhookUpdate(url=receiver.url(path), event_types=[*event_types])
            created = await service.create(context, settings, None)
            receiver.add_endpoint(path, created.secret)
