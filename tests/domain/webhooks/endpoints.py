"""Webhook endpoints with default fields."""

from typing import Any
from uuid import UUID

from app.domain.ids import WebhookId
from app.domain.webhooks.endpoints import WebhookEndpoint
from app.domain.webhooks.event_types import WebhookEventType
from tests.factories import NOW

WEBHOOK_ID = WebhookId(UUID(int=0xE))


def make_endpoint(**fields: Any) -> WebhookEndpoint:
    """An active endpoint that wants events of every type."""
    defaults: dict[str, Any] = {
        "id": WEBHOOK_ID,
        "url": "https://example.com/hook",
        "event_types": tuple(WebhookEventType),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return WebhookEndpoint(**(defaults | fields))
