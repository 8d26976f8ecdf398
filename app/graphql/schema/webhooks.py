"""GraphQL types Webhook and WebhookDelivery, and pages of deliveries."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument, field

from app.db.core.statements import AnyRow
from app.db.repositories.webhook_pages import (
    MAX_ATTEMPTS,
    DeliveryCriteria,
    all_webhooks,
    deliveries_page,
)
from app.domain.ids import DeliveryId, NodeKind, PostId, WebhookId
from app.domain.webhooks.deliveries import DeliveryState, DeliveryStatus
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType
from app.graphql.loading.field_sources import Deferred, FromResolver, column, sourced_field
from app.graphql.schema.connections import (
    After,
    CursorPage,
    PageInfo,
    PageSize,
    parse_page_arguments,
)
from app.graphql.schema.context import Context, Info
from app.graphql.schema.inputs import optional, to_record
from app.graphql.schema.node import Node

_STATE_COLUMNS = (
    "attempts",
    "round_attempts",
    "next_attempt_at",
    "lease_token",
    "delivered_at",
    "given_up_at",
)


@strawberry.input(
    name="WebhookDeliveryFilter",
    description="Filter for deliveries of webhooks. An omitted field matches everything, a list matches any"
    " of its values, and an empty list matches nothing.",
)
class WebhookDeliveryFilterInput:
    status: list[DeliveryStatus] | None = optional("Status of the delivery.")
    event: list[WebhookEventType] | None = optional("Type of the event.")
    post_id: UUID | None = optional("UUID of the post that the event is about.")
    created_after: datetime | None = optional("The event happened at this time or later.")
    created_before: datetime | None = optional("The event happened before this time.")


DeliveryFilter = Annotated[
    WebhookDeliveryFilterInput | None, argument(description="Filter for deliveries.")
]


@strawberry.type(description="One request of a delivery to the receiver of a webhook.")
class WebhookDeliveryAttempt:
    number: int = field(description="Number of the attempt in the delivery, from 1.")
    started_at: datetime = field(description="UTC time when the request was sent.")
    duration_ms: int = field(
        description="Milliseconds from the start to the end of the response, or to the failure."
    )
    status_code: int | None = field(
        description="HTTP status of the response; null if the receiver did not respond."
    )
    error: str | None = field(
        description="Reason of the failure, as a sentence; null if the attempt succeeded."
    )
    response_body: str | None = field(
        description="First 2 KiB of the response, without secrets; null if there is none."
    )


@strawberry.type(
    description="Delivery of one event to one webhook: attempted by a schedule until the receiver accepts it."
)
class WebhookDelivery(Node):
    kind = NodeKind.WEBHOOK_DELIVERY

    delivery_id: UUID = column("UUID of the delivery.", name="id")
    event_id: UUID = column(
        "UUID of the event, which all attempts send as `webhook-id` and as `event_id` of the payload."
    )
    event: WebhookEventType = column("Type of the event.", name="event_type")
    post_id: UUID | None = column("UUID of the post that the event is about, if any.")
    attempt_count: int = column("Number of attempts that have ended.", name="attempts")
    next_attempt_at: datetime | None = column(
        "UTC time from which the next attempt is due, or until which the running one is reserved; null if no"
        " attempt follows."
    )
    delivered_at: datetime | None = column("UTC time when the receiver accepted the event, if yet.")
    given_up_at: datetime | None = column(
        "UTC time when the last attempt of the schedule failed, if it did."
    )
    created_at: datetime = column("UTC time of the event.")
    payload: str = column(
        "JSON body of the requests, exactly as it is signed; the same at each attempt.", name="body"
    )

    @sourced_field("Status of the delivery.", FromResolver(columns=_STATE_COLUMNS))
    def status(self) -> DeliveryStatus:
        return to_record(self.row, DeliveryState).status

    @sourced_field(
        "Reason why the last attempt failed, as a sentence; null if it succeeded, and before the first one"
        " has ended.",
        Deferred(columns=("id",)),
    )
    async def last_error(self, info: Info) -> str | None:
        attempt = await self._load_last_attempt(info)
        return None if attempt is None else attempt.error

    @sourced_field(
        "HTTP status of the response to the last attempt; null if the receiver did not respond, and before"
        " the first attempt has ended.",
        Deferred(columns=("id",)),
    )
    async def last_status_code(self, info: Info) -> int | None:
        attempt = await self._load_last_attempt(info)
        return None if attempt is None else attempt.status_code

    async def _load_last_attempt(self, info: Info) -> AnyRow | None:
        loader = info.context.loaders.last_attempts_by_delivery_id
        return await loader.load(DeliveryId(self.delivery_id))

    @sourced_field(
        f"Log of the last {MAX_ATTEMPTS} attempts, newest first.", Deferred(columns=("id",))
    )
    async def attempts(self, info: Info) -> list[WebhookDeliveryAttempt] | None:
        loader = info.context.loaders.attempts_by_delivery_id
        rows = await loader.load(DeliveryId(self.delivery_id))
        return [to_record(row, WebhookDeliveryAttempt) for row in rows]

    @sourced_field(
        "Webhook that the event is delivered to; null if it was deleted in the meantime.",
        Deferred(columns=("webhook_id",)),
    )
    async def webhook(self, info: Info) -> "Webhook | None":
        return await load_webhook(info.context, WebhookId(self.row.webhook_id))


@strawberry.type(description="Delivery in a list.")
class WebhookDeliveryEdge:
    cursor: str = field(description="Cursor of the delivery; pass it as `after`.")
    node: WebhookDelivery = field(description="The delivery.")


@strawberry.type(description="Page of deliveries of webhooks, those of the newest event first.")
class WebhookDeliveryConnection:
    page: strawberry.Private[CursorPage]
    nodes: list[WebhookDelivery] = field(description="Deliveries of the page.")

    @strawberry.field(description="Position of the page in the list.")
    def page_info(self) -> PageInfo:
        return self.page.info()

    @strawberry.field(description="Deliveries of the page with their cursors.")
    def edges(self) -> list[WebhookDeliveryEdge]:
        return self.page.edges(WebhookDeliveryEdge, self.nodes)


@strawberry.type(
    description="Endpoint of another system that receives events of this workspace by signed HTTP requests."
)
class Webhook(Node):
    kind = NodeKind.WEBHOOK

    webhook_id: UUID = column("UUID of the webhook.", name="id")
    url: str = column("URL that receives the requests.")
    events: list[WebhookEventType] = column(
        "Types of the events that it receives.", name="event_types"
    )
    platforms: list[str] = column(
        "Platforms whose events it receives; empty for all. A filter by platform or account excludes events"
        " without an account, such as a scheduled post without destinations."
    )
    account_ids: list[int] = column(
        "Numbers of the accounts whose events it receives; empty for all."
    )
    name: str | None = column("Name of the webhook.")
    description: str | None = column("Notes about the webhook.")
    is_active: bool = column(
        "False if no events are sent, because a person or the server disabled the webhook."
    )
    consecutive_failures: int = column("Number of failed attempts since the last success.")
    failing_since: datetime | None = column(
        "UTC time of the first failed attempt since the last success; null if the last attempt succeeded."
    )
    disabled_reason: DisabledReason | None = column(
        "Reason why the server disabled the webhook; null if it did not."
    )
    auto_disabled_at: datetime | None = column(
        "UTC time when the server disabled the webhook; null if it did not."
    )
    last_delivery_at: datetime | None = column("UTC time of the last attempt, if any.")
    last_success_at: datetime | None = column("UTC time of the last successful attempt, if any.")
    last_failure_at: datetime | None = column("UTC time of the last failed attempt, if any.")
    created_at: datetime = column("UTC time when the webhook was created.")
    updated_at: datetime = column("UTC time of the last change of its settings or its secret.")

    @sourced_field(
        "UTC time until which the replaced secret signs besides the current one; null if only the current"
        " one signs.",
        FromResolver(columns=("previous_secret_expires_at",)),
    )
    def previous_secret_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.row.previous_secret_expires_at
        return expires_at if expires_at is not None and self.now < expires_at else None

    @sourced_field(
        "Reason why nothing can be sent: the server cannot decrypt the secret. Null if it can.",
        Deferred(columns=("id",)),
    )
    async def secret_error(self, info: Info) -> str | None:
        context, webhook_id = info.context, WebhookId(self.webhook_id)
        row = await context.loaders.encrypted_secrets_by_webhook_id.load(webhook_id)
        if row is None:  # deleted meanwhile
            return None
        return context.app_state.webhooks.secret_error(
            context.viewer.workspace_id, webhook_id, row.encrypted_secret
        )

    @sourced_field(
        "Deliveries of events to this webhook, those of the newest event first.",
        Deferred(columns=("id",)),
    )
    async def deliveries(
        self,
        info: Info,
        filter: DeliveryFilter = None,
        first: PageSize = None,
        after: After = None,
    ) -> WebhookDeliveryConnection | None:
        return await read_deliveries(info, WebhookId(self.webhook_id), filter, first, after)


async def read_webhooks(context: Context) -> list[Webhook]:
    """Return all webhooks of the workspace, oldest first."""
    rows, now = await all_webhooks(context.reader), context.clock()
    context.response_limit.add(len(rows))
    return [Webhook.from_row(row, now) for row in rows]


async def read_deliveries(
    info: Info,
    webhook_id: WebhookId | None,
    filter: WebhookDeliveryFilterInput | None,
    first: int | None,
    after: str | None,
) -> WebhookDeliveryConnection:
    """Return a page of the deliveries of one webhook, or of all.

    Raises BadCursor for a cursor of another list.
    """
    context, filters = info.context, filter or WebhookDeliveryFilterInput()
    codec = context.cursor_codec(f"webhookDeliveries:{webhook_id or ''}")
    request = parse_page_arguments(codec, first=first, after=after, last=None, before=None)
    criteria = DeliveryCriteria(
        webhook_id=webhook_id,
        post_id=None if filters.post_id is None else PostId(filters.post_id),
        status=filters.status,
        event_type=filters.event,
        created_after=filters.created_after,
        created_before=filters.created_before,
    )
    page = await deliveries_page(context.reader, criteria, request, info.selection.projection)
    now = context.clock()
    return WebhookDeliveryConnection(
        nodes=[WebhookDelivery.from_row(row, now) for row in page.rows],
        page=CursorPage(page, codec, "event_seq"),
    )


async def load_webhook(context: Context, webhook_id: WebhookId) -> Webhook | None:
    """Load the current state of a webhook; return None if it does not exist."""
    row = await context.loaders.webhooks_by_id.load(webhook_id)
    return None if row is None else Webhook.from_row(row, context.clock())


async def load_delivery(context: Context, delivery_id: DeliveryId) -> WebhookDelivery | None:
    """Load the current state of a delivery; return None if it does not exist."""
    row = await context.loaders.deliveries_by_id.load(delivery_id)
    return None if row is None else WebhookDelivery.from_row(row, context.clock())
