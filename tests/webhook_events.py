"""Events that webhooks report, deliveries of many events, and reads of what is stored of webhooks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import bindparam, select

from app.db.core.database import Database
from app.db.core.statements import Statement, decoded_values
from app.db.core.write_session import WriteSession
from app.db.models import WebhookDelivery
from app.db.repositories.events import read_events_after
from app.db.repositories.webhook_deliveries import (
    NewDelivery,
    insert_deliveries,
    load_deliveries_for_update,
    update_deliveries,
)
from app.db.repositories.webhooks import StoredWebhook, find_webhook
from app.domain.events import Event, EventKind, StoredEvent
from app.domain.ids import AccountId, DeliveryId, PostId, WebhookId, WorkspaceId
from app.domain.webhooks.deliveries import DeliveryState
from app.domain.webhooks.event_types import WebhookEventType
from tests.db.repositories.event_rows import append_test_events
from tests.factories import NOW


@dataclass(frozen=True, slots=True)
class AddedDelivery:
    """A delivery as stored."""

    id: DeliveryId
    event_seq: int
    event_type: WebhookEventType
    event_id: UUID
    body: str
    state: DeliveryState


def connected(account_id: AccountId) -> Event:
    """An event of the type account.connected."""
    return Event(
        kind=EventKind.ACCOUNT_CHANGED,
        account_id=account_id,
        values={"is_active": True},
        previous={"is_active": False},
    )


def deleted(post_id: PostId) -> Event:
    """An event of the type post.deleted."""
    return Event(kind=EventKind.POST_DELETED, post_id=post_id, values={"deleted_at": "x"})


UNREPORTED = Event(kind=EventKind.POST_CHANGED, values={"content": "New"}, previous={})
"""An event that no webhook reports."""


async def add_events(
    database: Database, workspace: WorkspaceId, *events: Event, at: datetime = NOW
) -> None:
    """Append events in one transaction."""
    await append_test_events(database, workspace, events, occurred_at=at)


async def add_deliveries(
    database: Database,
    workspace: WorkspaceId,
    webhook_id: WebhookId,
    states: Sequence[DeliveryState],
    *,
    first_seq: int = 1,
    created_at: datetime = NOW,
    post_id: PostId | None = None,
) -> list[DeliveryId]:
    """Add deliveries of the events from `first_seq` on, in these states."""
    deliveries = [
        NewDelivery(
            id=DeliveryId(uuid4()),
            webhook_id=webhook_id,
            event_seq=seq,
            event_type=WebhookEventType.ACCOUNT_CONNECTED,
            event_id=uuid4(),
            post_id=post_id,
            body=f'{{"number":{seq}}}',
            created_at=created_at,
        )
        for seq, _ in enumerate(states, first_seq)
    ]
    by_id = {each.id: state for each, state in zip(deliveries, states, strict=True)}

    async def work(session: WriteSession) -> None:
        await insert_deliveries(session, deliveries, created_at)
        await update_deliveries(session, by_id)

    await database.write(workspace, work)
    return [*by_id]


async def stored_webhook(
    database: Database, workspace: WorkspaceId, webhook_id: WebhookId
) -> StoredWebhook:
    """Return an endpoint that is not deleted."""
    stored = await find_webhook(database.reader(workspace), webhook_id)
    assert stored is not None
    return stored


async def stored_deliveries(
    database: Database, workspace: WorkspaceId, webhook_id: WebhookId
) -> list[AddedDelivery]:
    """Return the deliveries to an endpoint in the order of their events; locks none of them."""
    rows = await database.reader(workspace).rows(_DELIVERIES, webhook_id=webhook_id)
    return [
        AddedDelivery(
            **decoded_values(row, _DELIVERY_FIELDS),
            state=DeliveryState(**decoded_values(row, _STATE_FIELDS)),
        )
        for row in rows
    ]


async def stored_events(database: Database, workspace: WorkspaceId) -> list[StoredEvent]:
    """Return all events of a workspace."""
    return await read_events_after(database.reader(workspace), 0, limit=10_000)


async def delivery_states(
    database: Database, workspace: WorkspaceId, ids: Sequence[DeliveryId]
) -> Mapping[DeliveryId, DeliveryState]:
    return await database.write(
        workspace,
        lambda session: load_deliveries_for_update(database.reader_in(session), ids),
    )


_DELIVERY_FIELDS = ("id", "event_seq", "event_type", "event_id", "body")
_STATE_FIELDS = tuple(field.name for field in fields(DeliveryState))
_DELIVERIES = Statement(
    select(*(getattr(WebhookDelivery, name) for name in (*_DELIVERY_FIELDS, *_STATE_FIELDS)))
    .where(WebhookDelivery.webhook_id == bindparam("webhook_id"))
    .order_by(WebhookDelivery.event_seq)
)
