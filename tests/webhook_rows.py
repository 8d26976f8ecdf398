"""Rows of webhooks: endpoints, deliveries in each state, and their attempts."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from app.db.core.database import Database
from app.db.models import Webhook, WebhookDelivery, WebhookDeliveryAttempt
from app.domain.ids import DeliveryId, WebhookId, WorkspaceId
from app.domain.webhooks.deliveries import DeliveryState
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType
from app.services.secret_cipher import SecretCipher, webhook_row_name
from tests.factories import NOW, insert_objects

SECRETS_KEY = "c2VjcmV0cyBrZXkgb2YgdGhlIHRlc3RzIG9ubHkhISE="
CIPHER = SecretCipher([SECRETS_KEY])
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
URL = "https://receiver.example/hook"
ERROR = (
    "The receiver answered 500 Internal Server Error; a delivery needs a status from 200 to 299."
)


async def add_webhook(
    database: Database,
    workspace: WorkspaceId,
    *,
    id: UUID | None = None,
    event_types: Collection[WebhookEventType] = tuple(WebhookEventType),
    secret: str = SECRET,
    cipher: SecretCipher = CIPHER,
    **columns: Any,
) -> WebhookId:
    """Add a webhook for all events from the first on, with a URL of its own and without an attempt."""
    webhook_id = WebhookId(id or uuid4())
    row: dict[str, Any] = {
        "url": f"{URL}/{webhook_id}",
        "platforms": [],
        "account_ids": [],
        "encrypted_secret": cipher.encrypt(secret, webhook_row_name(workspace, webhook_id)),
        "is_active": True,
        "feed_seq": 0,
        "consecutive_failures": 0,
        "created_at": NOW,
        "updated_at": NOW,
        **columns,
    }
    webhook = Webhook(workspace_id=workspace, id=webhook_id, event_types=[*event_types], **row)
    await database.write_all_workspaces(lambda session: insert_objects(session, webhook))
    return webhook_id


def disabled_webhook() -> dict[str, Any]:
    """Columns of a webhook that the server has disabled."""
    return {
        "is_active": False,
        "consecutive_failures": 7,
        "failing_since": NOW - timedelta(days=5),
        "disabled_reason": DisabledReason.FAILING,
        "auto_disabled_at": NOW,
        "last_delivery_at": NOW,
        "last_failure_at": NOW,
    }


async def add_delivery(
    database: Database,
    workspace: WorkspaceId,
    webhook: UUID,
    state: DeliveryState,
    *,
    event_seq: int,
    id: UUID | None = None,
    event_type: WebhookEventType = WebhookEventType.POST_PUBLISHED,
    post_id: UUID | None = None,
    body: str | None = None,
    created_at: datetime = NOW,
) -> DeliveryId:
    """Add a delivery with its attempts, one a minute of the hour before NOW.

    All of them fail but the last of a delivered one.
    """
    delivery_id = id or uuid4()
    delivery = WebhookDelivery(
        workspace_id=workspace,
        id=delivery_id,
        webhook_id=webhook,
        event_seq=event_seq,
        event_type=event_type,
        event_id=UUID(int=event_seq),
        post_id=post_id,
        body=f'{{"event_seq":{event_seq}}}' if body is None else body,
        created_at=created_at,
        **asdict(state),
    )
    attempts = [
        _attempt(
            workspace,
            delivery_id,
            number,
            is_success=state.delivered_at is not None and number == state.attempts,
        )
        for number in range(1, state.attempts + 1)
    ]
    await database.write_all_workspaces(
        lambda session: insert_objects(session, delivery, *attempts)
    )
    return DeliveryId(delivery_id)


def _attempt(
    workspace: WorkspaceId, delivery_id: UUID, number: int, *, is_success: bool
) -> WebhookDeliveryAttempt:
    return WebhookDeliveryAttempt(
        workspace_id=workspace,
        delivery_id=delivery_id,
        number=number,
        started_at=NOW - HOUR + number * MINUTE,
        duration_ms=10 * number,
        status_code=204 if is_success else 500,
        error=None if is_success else ERROR,
        response_body="" if is_success else f"failure {number}",
    )


def pending(due_at: datetime = NOW) -> DeliveryState:
    return DeliveryState(next_attempt_at=due_at)


def being_attempted() -> DeliveryState:
    return DeliveryState(next_attempt_at=NOW + MINUTE, lease_token=UUID(int=0x1EA5E))


def retrying(attempts: int = 1) -> DeliveryState:
    return DeliveryState(
        attempts=attempts, round_attempts=attempts, next_attempt_at=NOW + 5 * MINUTE
    )


def delivered(attempts: int = 1) -> DeliveryState:
    return DeliveryState(
        attempts=attempts, round_attempts=attempts, next_attempt_at=None, delivered_at=NOW
    )


def given_up(attempts: int = 2) -> DeliveryState:
    return DeliveryState(
        attempts=attempts, round_attempts=attempts, next_attempt_at=None, given_up_at=NOW
    )
