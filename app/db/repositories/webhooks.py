"""Webhook endpoints: stored with their encrypted secrets, and found when there is something to deliver."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, false, func, select, true, update

from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, AnyRow, Record, Statement, decoded_values
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_rows, update_rows
from app.db.models import Deployment, Webhook, WebhookDelivery, Workspace
from app.domain.ids import WebhookId, WorkspaceId
from app.domain.webhooks.endpoints import WebhookEndpoint
from app.domain.webhooks.event_types import WebhookEventType


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWebhook:
    """An endpoint with its position in the change feed and its encrypted secrets."""

    endpoint: WebhookEndpoint
    feed_seq: int
    """Number of the last event of the workspace whose deliveries are stored."""
    encrypted_secret: str
    encrypted_previous_secret: str | None = None
    previous_secret_expires_at: datetime | None = None

    def unexpired_previous_secret(self, now: datetime) -> str | None:
        """Return the encrypted previous secret while it signs too; None if there is none."""
        expires_at = self.previous_secret_expires_at
        return (
            self.encrypted_previous_secret if expires_at is not None and now < expires_at else None
        )


@dataclass(frozen=True, slots=True)
class WebhookOfWorkspace:
    """An endpoint of any workspace."""

    workspace_id: WorkspaceId
    workspace_name: str
    webhook: StoredWebhook


_ENDPOINT_FIELDS = tuple(field.name for field in fields(WebhookEndpoint))
_SECRET_FIELDS = ("encrypted_secret", "encrypted_previous_secret", "previous_secret_expires_at")
_COLUMNS = (*_ENDPOINT_FIELDS, "feed_seq", *_SECRET_FIELDS)
_SELECT_WEBHOOKS = select(*(getattr(Webhook, name) for name in _COLUMNS)).where(
    Webhook.deleted_at.is_(None)
)


async def list_webhooks(reader: Reader) -> list[StoredWebhook]:
    """Return the endpoints of the workspace that are not deleted, oldest first."""
    return [_stored_webhook(row) for row in await reader.rows(_ALL)]


_ALL = Statement(_SELECT_WEBHOOKS.order_by(Webhook.created_at, Webhook.id))
_OF_ALL_WORKSPACES = AllWorkspacesStatement(
    _SELECT_WEBHOOKS.add_columns(Webhook.workspace_id, Workspace.name.label("workspace_name"))
    .join(Workspace, Workspace.id == Webhook.workspace_id)
    .order_by(Workspace.name, Webhook.created_at, Webhook.id),
    reason="the operator re-encrypts the secrets of all workspaces",
)


async def list_all_webhooks(reader: AllWorkspacesReader) -> list[WebhookOfWorkspace]:
    """Return the endpoints of all workspaces that are not deleted, by workspace name and age."""
    rows = await reader.rows(_OF_ALL_WORKSPACES)
    return [
        WebhookOfWorkspace(WorkspaceId(row.workspace_id), row.workspace_name, _stored_webhook(row))
        for row in rows
    ]


async def list_webhook_secrets(reader: AllWorkspacesReader) -> Sequence[AnyRow]:
    """Return workspace, id and encrypted secret of the endpoints of all workspaces that are not deleted."""
    return await reader.rows(_SECRETS)


_SECRETS = AllWorkspacesStatement(
    select(Webhook.workspace_id, Webhook.id, Webhook.encrypted_secret).where(
        Webhook.deleted_at.is_(None)
    ),
    reason="keys belong to the installation",
)


async def find_webhook(reader: Reader, webhook_id: WebhookId) -> StoredWebhook | None:
    """Return an endpoint; None if it is deleted or does not exist."""
    row = await reader.first(_ONE, id=webhook_id)
    return None if row is None else _stored_webhook(row)


async def load_webhook_for_update(reader: Reader, webhook_id: WebhookId) -> StoredWebhook | None:
    """Lock an endpoint until the transaction ends, and return it; None if it is deleted or does not exist."""
    row = await reader.first(_ONE_FOR_UPDATE, id=webhook_id)
    return None if row is None else _stored_webhook(row)


_SELECT_ONE = _SELECT_WEBHOOKS.where(Webhook.id == bindparam("id"))
_ONE = Statement(_SELECT_ONE)
_ONE_FOR_UPDATE = Statement(_SELECT_ONE.with_for_update(key_share=True))


class WebhooksBehindFeed(NamedTuple):
    """Active endpoints without deliveries for the newest events."""

    locked: list[StoredWebhook]
    """Locked until the transaction ends."""
    are_all: bool
    """False if another transaction has locked some."""


async def lock_webhooks_behind_feed(session: WriteSession) -> WebhooksBehindFeed:
    """Lock the active endpoints without deliveries for the newest events.

    Skips those that another transaction has locked. Served by ix_webhook_active.
    """
    ((number,),) = await session.rows(_COUNT_BEHIND_FEED)
    rows = await session.rows(_BEHIND_FEED)
    return WebhooksBehindFeed([_stored_webhook(row) for row in rows], len(rows) >= number)


_IS_BEHIND_FEED = (
    Webhook.is_active == true(),
    Webhook.feed_seq
    < select(Workspace.event_seq)
    .where(Workspace.id == Webhook.workspace_id)
    .correlate(Webhook)
    .scalar_subquery(),
)
_COUNT_BEHIND_FEED = select(func.count()).select_from(Webhook).where(*_IS_BEHIND_FEED)
_BEHIND_FEED = _SELECT_WEBHOOKS.where(*_IS_BEHIND_FEED).with_for_update(
    skip_locked=True, key_share=True
)


async def workspaces_with_new_events(reader: AllWorkspacesReader) -> list[WorkspaceId]:
    """Return the workspaces with an active endpoint without deliveries for the newest events.

    Served by ix_webhook_active.
    """
    rows = await reader.rows(_WORKSPACES_WITH_NEW_EVENTS)
    return [WorkspaceId(row.workspace_id) for row in rows]


_WORKSPACES_WITH_NEW_EVENTS = AllWorkspacesStatement(
    select(Webhook.workspace_id).where(*_IS_BEHIND_FEED).distinct(),
    reason="a process delivers for all workspaces",
)


async def webhooks_with_due_deliveries(
    reader: AllWorkspacesReader, now: datetime
) -> Sequence[AnyRow]:
    """Return workspace, id and consecutive failures of the active endpoints of all workspaces with work.

    Served by ix_webhook_active, and one lookup in ix_webhook_delivery_due for each endpoint, however many
    deliveries it has.
    """
    return await reader.rows(_WITH_DUE_DELIVERIES, now=now)


_WITH_DUE_DELIVERIES = AllWorkspacesStatement(
    select(Webhook.workspace_id, Webhook.id, Webhook.consecutive_failures).where(
        Webhook.is_active == true(),
        select(func.min(WebhookDelivery.next_attempt_at))
        .where(
            WebhookDelivery.workspace_id == Webhook.workspace_id,
            WebhookDelivery.webhook_id == Webhook.id,
            WebhookDelivery.next_attempt_at.is_not(None),
        )
        .correlate(Webhook)
        .scalar_subquery()
        <= bindparam("now", type_=UtcDateTime()),
    ),
    reason="a process delivers for all workspaces",
)


async def insert_webhook(session: WriteSession, webhook: StoredWebhook) -> None:
    """Store a new endpoint."""
    await insert_rows(session, Webhook, [_row(webhook)])


async def update_webhooks(session: WriteSession, webhooks: Sequence[StoredWebhook]) -> None:
    """Store endpoints that were locked and loaded before."""
    await update_rows(session, Webhook, [_row(webhook) for webhook in webhooks])


async def delete_webhook(session: WriteSession, webhook_id: WebhookId, now: datetime) -> None:
    """Mark an endpoint as deleted, and erase its secrets.

    Its deliveries are pruned by their age, and after them the endpoint itself.
    """
    await session.rows(_DELETE, id=webhook_id, now=now)


_DELETE = (
    update(Webhook)
    .where(Webhook.id == bindparam("id"))
    .values(
        deleted_at=bindparam("now"),
        updated_at=bindparam("now"),
        is_active=false(),
        encrypted_secret="",
        encrypted_previous_secret=None,
        previous_secret_expires_at=None,
    )
)


async def deleted_webhooks_without_deliveries(
    reader: AllWorkspacesReader, *, limit: int
) -> list[tuple[WorkspaceId, WebhookId]]:
    """Return endpoints of all workspaces that are marked as deleted and have no deliveries left.

    They get none later, because deliveries are stored for active endpoints only.
    """
    rows = await reader.rows(_WITHOUT_DELIVERIES, limit=limit)
    return [(WorkspaceId(row.workspace_id), WebhookId(row.id)) for row in rows]


_WITHOUT_DELIVERIES = AllWorkspacesStatement(
    select(Webhook.workspace_id, Webhook.id)
    .where(
        Webhook.deleted_at.is_not(None),
        ~exists()
        .where(
            WebhookDelivery.workspace_id == Webhook.workspace_id,
            WebhookDelivery.webhook_id == Webhook.id,
        )
        .correlate(Webhook),
    )
    .limit(bindparam("limit")),
    reason="maintenance of all workspaces",
)


async def remove_webhooks(
    session: AllWorkspacesWriteSession, webhooks: Sequence[tuple[WorkspaceId, WebhookId]]
) -> None:
    """Remove endpoints that `deleted_webhooks_without_deliveries` returned."""
    keys = [(workspace_id, {"id": id_}) for workspace_id, id_ in webhooks]
    await session.execute_many(_REMOVE, keys)


_REMOVE = delete(Webhook).where(Webhook.id == bindparam("id"))


async def lock_event_counter(session: WriteSession) -> int:
    """Lock the workspace's event counter until the transaction ends, and return the number of its last event.

    Other transactions can insert rows of the workspace meanwhile, but append no event.
    """
    ((event_seq,),) = await session.rows(_LOCK_COUNTER)
    return int(event_seq)


_LOCK_COUNTER = select(Workspace.event_seq).with_for_update(key_share=True)


async def record_poll(session: AllWorkspacesWriteSession, now: datetime) -> None:
    """Store the time at which a process looked for deliveries."""
    await session.rows(_RECORD_POLL, now=now)


_RECORD_POLL = AllWorkspacesStatement(
    update(Deployment).values(webhooks_polled_at=bindparam("now")),
    reason="a process delivers for all workspaces",
)


async def last_poll(reader: AllWorkspacesReader) -> datetime | None:
    """Return the time at which a process last looked for deliveries; None if none ever did."""
    row = await reader.first(_LAST_POLL)
    return None if row is None else row.webhooks_polled_at


_LAST_POLL = AllWorkspacesStatement(
    select(Deployment.webhooks_polled_at), reason="a process delivers for all workspaces"
)


def _stored_webhook(row: Record) -> StoredWebhook:
    values = decoded_values(row, _COLUMNS)
    stored = {name: values.pop(name) for name in ("feed_seq", *_SECRET_FIELDS)}
    values["event_types"] = tuple(map(WebhookEventType, values["event_types"]))
    return StoredWebhook(endpoint=WebhookEndpoint(**values), **stored)


def _row(webhook: StoredWebhook) -> dict[str, object]:
    endpoint = asdict(webhook.endpoint)
    for name in ("event_types", "platforms", "account_ids"):
        endpoint[name] = [*endpoint[name]]
    return {
        **endpoint,
        "feed_seq": webhook.feed_seq,
        **{name: getattr(webhook, name) for name in _SECRET_FIELDS},
    }
