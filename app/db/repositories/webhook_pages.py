"""Webhooks with their deliveries and attempts, as clients read them: no secrets, and no deleted webhooks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, and_, bindparam, false, or_, select

from app.db.core.conditions import (
    any_of,
    filter_conditions,
    filter_params,
    time_range_conditions,
    unindexed,
)
from app.db.core.database import Reader
from app.db.core.paging import (
    Direction,
    Order,
    Page,
    PageRequest,
    PageSlice,
    page_of_rows,
    read_page,
    slice_statement,
)
from app.db.core.projections import (
    ALL_COLUMNS,
    Projection,
    cached_statement,
    columns_except,
    projected_columns,
)
from app.db.core.statements import AnyRow, Statement
from app.db.models import Webhook, WebhookDelivery, WebhookDeliveryAttempt
from app.domain.ids import DeliveryId, PostId, WebhookId
from app.domain.signing import KeysetPosition
from app.domain.webhooks.deliveries import DeliveryStatus
from app.domain.webhooks.event_types import WebhookEventType

MAX_ATTEMPTS = 50
"""Attempts of one delivery that are read."""

_IS_NOT_DELETED = Webhook.deleted_at.is_(None)
_SELECT_WEBHOOKS = select(
    *columns_except(
        Webhook, "encrypted_secret", "encrypted_previous_secret", "feed_seq", "deleted_at"
    )
).where(_IS_NOT_DELETED)
_DELIVERY_COLUMNS = columns_except(WebhookDelivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCriteria:
    """Filters of deliveries: None does not filter, an empty list matches nothing.

    `created_after` is inclusive, `created_before` is exclusive.
    """

    webhook_id: WebhookId | None = None
    post_id: PostId | None = None
    status: Sequence[DeliveryStatus] | None = None
    event_type: Sequence[WebhookEventType] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def all_webhooks(reader: Reader) -> Sequence[AnyRow]:
    """Return the webhooks of the workspace, oldest first. Served by the primary key."""
    return await reader.rows(_ALL_WEBHOOKS)


_ALL_WEBHOOKS = Statement(_SELECT_WEBHOOKS.order_by(Webhook.created_at, Webhook.id))


async def encrypted_secrets_by_webhook_id(
    reader: Reader, ids: Sequence[WebhookId]
) -> Sequence[AnyRow]:
    """Return the ids and encrypted secrets of webhooks that exist, in no particular order."""
    return await reader.rows(_ENCRYPTED_SECRETS, ids=ids)


_ENCRYPTED_SECRETS = Statement(
    select(Webhook.id, Webhook.encrypted_secret).where(any_of(Webhook.id, "ids"), _IS_NOT_DELETED)
)


async def webhooks_by_id(reader: Reader, ids: Sequence[WebhookId]) -> Sequence[AnyRow]:
    """Return the webhooks that exist, in no particular order. Served by the primary key."""
    return await reader.rows(_WEBHOOKS_BY_ID, ids=ids)


_WEBHOOKS_BY_ID = Statement(_SELECT_WEBHOOKS.where(any_of(Webhook.id, "ids")))


async def deliveries_by_id(reader: Reader, ids: Sequence[DeliveryId]) -> Sequence[AnyRow]:
    """Return the deliveries that exist, in no particular order. Served by the primary key."""
    return await reader.rows(_DELIVERIES_BY_ID, ids=ids)


_HAS_WEBHOOK = and_(unindexed(WebhookDelivery.webhook_id) == Webhook.id, _IS_NOT_DELETED)
"""Condition of the join with the webhook of deliveries that an index has found."""

_DELIVERIES_BY_ID = Statement(
    select(*_DELIVERY_COLUMNS).join(Webhook, _HAS_WEBHOOK).where(any_of(WebhookDelivery.id, "ids"))
)


async def deliveries_page(
    reader: Reader,
    criteria: DeliveryCriteria,
    request: PageRequest,
    projection: Projection = ALL_COLUMNS,
) -> Page:
    """Return one page of deliveries, those of the newest event first.

    Served by uq_webhook_delivery_event for a webhook, and by ix_webhook_delivery_post for a post. Without
    both, it reads a page of each webhook, of which a workspace has few.
    """
    if criteria.webhook_id is None and criteria.post_id is None:
        return await _merged_page(reader, criteria, request, projection)
    if criteria.webhook_id is not None and request.after is not None:
        seq = request.after.value
        request = replace(request, after=KeysetPosition(seq, str(seq)))
    order = _NEWEST_FIRST if criteria.webhook_id is None else _NEWEST_OF_WEBHOOK
    return await _read_page(reader, criteria, order, request, projection)


async def _merged_page(
    reader: Reader, criteria: DeliveryCriteria, request: PageRequest, projection: Projection
) -> Page:
    rows: list[AnyRow] = []
    larger = replace(request, size=request.size + 1)
    for webhook in await all_webhooks(reader):
        of_webhook = replace(criteria, webhook_id=webhook.id)
        page = await _read_page(reader, of_webhook, _NEWEST_FIRST, larger, projection)
        rows += page.rows
    rows.sort(key=lambda row: (row.event_seq, row.id), reverse=True)
    return page_of_rows(rows, request)


async def _read_page(
    reader: Reader,
    criteria: DeliveryCriteria,
    order: Order,
    request: PageRequest,
    projection: Projection,
) -> Page:
    values = filter_params(replace(criteria, status=None))
    statuses = None if criteria.status is None else frozenset(criteria.status)
    build_statement = partial(_select_page, projection, tuple(values), statuses, order)
    return await read_page(reader, build_statement, values, order, request)


_NEWEST_FIRST = Order(WebhookDelivery.event_seq, WebhookDelivery.id, Direction.DESC)
_NEWEST_OF_WEBHOOK = Order(WebhookDelivery.event_seq, WebhookDelivery.event_seq, Direction.DESC)
"""The same order for one webhook, which has at most one delivery of an event: its indexes serve it."""


@cached_statement()
def _select_page(
    projection: Projection,
    filters: tuple[str, ...],
    statuses: frozenset[DeliveryStatus] | None,
    order: Order,
    page_slice: PageSlice,
) -> Statement:
    conditions = [_CONDITIONS[name] for name in filters]
    if statuses is not None:
        conditions.append(or_(false(), *map(_STATUS_CONDITIONS.__getitem__, sorted(statuses))))
    columns = projected_columns(_DELIVERY_COLUMNS, projection, "id", "event_seq")
    statement = select(*columns).join(Webhook, _HAS_WEBHOOK).where(*conditions)
    return slice_statement(statement, order, page_slice)


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "webhook_id": WebhookDelivery.webhook_id == bindparam("webhook_id"),
    "post_id": WebhookDelivery.post_id == bindparam("post_id"),
    **filter_conditions(event_type=WebhookDelivery.event_type),
    **time_range_conditions(created=WebhookDelivery.created_at),
}
"""Condition of each filter, under the name of its parameter."""

_WAITS = WebhookDelivery.next_attempt_at.is_not(None)
_STATUS_CONDITIONS: Mapping[DeliveryStatus, ColumnElement[bool]] = {
    DeliveryStatus.PENDING: and_(_WAITS, WebhookDelivery.round_attempts == 0),
    DeliveryStatus.RETRYING: and_(_WAITS, WebhookDelivery.round_attempts > 0),
    DeliveryStatus.DELIVERED: WebhookDelivery.delivered_at.is_not(None),
    DeliveryStatus.GIVEN_UP: WebhookDelivery.given_up_at.is_not(None),
}
"""Conditions of `DeliveryState.status`."""


async def attempts_by_delivery_id(
    reader: Reader, delivery_ids: Sequence[DeliveryId]
) -> Sequence[AnyRow]:
    """Return the newest MAX_ATTEMPTS attempts of each delivery, newest first. Served by the primary keys."""
    return await reader.rows(_ATTEMPTS, delivery_ids=delivery_ids)


async def last_attempts_by_delivery_id(
    reader: Reader, delivery_ids: Sequence[DeliveryId]
) -> Sequence[AnyRow]:
    """Return status code and error of the last attempt of each delivery. Served by the primary keys."""
    return await reader.rows(_LAST_ATTEMPTS, delivery_ids=delivery_ids)


_OF_DELIVERY = WebhookDeliveryAttempt.delivery_id == WebhookDelivery.id
_ATTEMPTS = Statement(
    select(*columns_except(WebhookDeliveryAttempt))
    .join(WebhookDelivery, _OF_DELIVERY)
    .where(
        any_of(WebhookDelivery.id, "delivery_ids"),
        WebhookDeliveryAttempt.number > WebhookDelivery.attempts - MAX_ATTEMPTS,
    )
    .order_by(WebhookDeliveryAttempt.delivery_id, WebhookDeliveryAttempt.number.desc())
)
_LAST_ATTEMPTS = Statement(
    select(
        WebhookDeliveryAttempt.delivery_id,
        WebhookDeliveryAttempt.status_code,
        WebhookDeliveryAttempt.error,
    )
    .join(WebhookDelivery, _OF_DELIVERY)
    .where(
        any_of(WebhookDelivery.id, "delivery_ids"),
        WebhookDeliveryAttempt.number == WebhookDelivery.attempts,
    )
)
