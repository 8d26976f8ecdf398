"""Deliveries of webhooks: stored with their events, leased, and updated after each attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import Insert, and_, bindparam, delete, exists, func, or_, select, true, update

from app.db.core.conditions import any_of, sort_key
from app.db.core.database import AllWorkspacesReader, Reader
from app.db.core.statements import AllWorkspacesStatement, Record, Statement, decoded_values
from app.db.core.types import UtcDateTime
from app.db.core.write_session import AllWorkspacesWriteSession, WriteSession
from app.db.core.writes import insert_rows, insert_with_on_conflict, update_rows
from app.db.models import Webhook, WebhookDelivery, WebhookDeliveryAttempt
from app.domain.ids import DeliveryId, PostId, WebhookId, WorkspaceId
from app.domain.webhooks.deliveries import DeliveryAttempt, DeliveryState
from app.domain.webhooks.event_types import WebhookEventType


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """Delivery of an event to one endpoint."""

    id: DeliveryId
    webhook_id: WebhookId
    event_seq: int
    event_type: WebhookEventType
    event_id: UUID
    post_id: PostId | None
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery as a process reads it to attempt it."""

    id: DeliveryId
    event_id: UUID
    post_id: PostId | None
    body: str
    state: DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRange:
    """Range of failed deliveries of an endpoint, by their events and by the start of the last attempt."""

    since: datetime
    """Earliest time of an event."""
    after_seq: int = 0
    until_seq: int = 2**63 - 1
    last_attempt_before: datetime | None = None
    """None for any time."""


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A delivery whose last attempt failed."""

    id: DeliveryId
    event_seq: int
    state: DeliveryState


_NEW_FIELDS = tuple(field.name for field in fields(NewDelivery))
_STATE_FIELDS = tuple(field.name for field in fields(DeliveryState))
_OTHER_FIELDS = ("id", "event_id", "post_id", "body")
_SELECT = select(*(getattr(WebhookDelivery, name) for name in (*_OTHER_FIELDS, *_STATE_FIELDS)))
_SELECT_STATE = select(
    WebhookDelivery.id, *(getattr(WebhookDelivery, name) for name in _STATE_FIELDS)
)


async def insert_deliveries(
    session: WriteSession,
    deliveries: Sequence[NewDelivery],
    now: datetime,
) -> None:
    """Store new deliveries, which are due immediately; those of events that have one are ignored."""
    if deliveries:
        state = _values(DeliveryState(next_attempt_at=now), _STATE_FIELDS)
        await session.execute_many(
            _insert_new(is_sqlite=session.is_sqlite),
            [{**_values(each, _NEW_FIELDS), **state} for each in deliveries],
        )


@cache
def _insert_new(*, is_sqlite: bool) -> Insert:
    insert = insert_with_on_conflict(WebhookDelivery, is_sqlite=is_sqlite)
    return insert.on_conflict_do_nothing(index_elements=_KEY_OF_EVENT)


_KEY_OF_EVENT = ("workspace_id", "webhook_id", "event_seq")


async def lock_due_deliveries(
    reader: Reader, webhook_id: WebhookId, now: datetime, *, limit: int
) -> list[StoredDelivery]:
    """Lock deliveries of an endpoint that are due, the longest due first, until the transaction ends.

    Skips those that another transaction has locked. Served by ix_webhook_delivery_due.
    """
    rows = await reader.rows(_DUE, webhook_id=webhook_id, now=now, limit=limit)
    return [_stored_delivery(row) for row in rows]


_DUE = Statement(
    _SELECT.where(
        WebhookDelivery.webhook_id == bindparam("webhook_id"),
        WebhookDelivery.next_attempt_at <= bindparam("now"),
    )
    .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.event_seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)


async def store_leases(
    session: WriteSession,
    ids: Sequence[DeliveryId],
    token: UUID,
    expires_at: datetime,
) -> None:
    """Store the lease of deliveries that were locked before, by one statement for all."""
    await session.rows(_LEASE, ids=ids, lease_token=token, next_attempt_at=expires_at)


_LEASE = (
    update(WebhookDelivery)
    .where(any_of(WebhookDelivery.id, "ids"))
    .values(lease_token=bindparam("lease_token"), next_attempt_at=bindparam("next_attempt_at"))
)


async def settle_deliveries(
    session: WriteSession,
    results: Sequence[tuple[StoredDelivery, DeliveryState]],
) -> set[DeliveryId]:
    """Store new states of leased deliveries.

    Returns the ids of those that were stored: others have lost their lease to another process, or are
    deleted.
    """
    rows = [
        {
            "delivery": delivery.id,
            "token": delivery.state.lease_token,
            **_values(state, _STATE_FIELDS),
        }
        # The same order in each transaction, so that they do not wait for each other's locks.
        for delivery, state in sorted(results, key=lambda each: each[0].id)
    ]
    return {row.id for row in await session.execute_many(_SETTLE, rows)} if rows else set()


_SETTLE = (
    update(WebhookDelivery)
    .where(
        WebhookDelivery.id == bindparam("delivery"),
        WebhookDelivery.lease_token == bindparam("token"),
    )
    .returning(WebhookDelivery.id)
)


async def load_deliveries_for_update(
    reader: Reader, ids: Sequence[DeliveryId]
) -> dict[DeliveryId, DeliveryState]:
    """Lock deliveries until the transaction ends, and return their states."""
    rows = await reader.rows(_FOR_UPDATE, ids=ids)
    return {row.id: DeliveryState(**decoded_values(row, _STATE_FIELDS)) for row in rows}


_FOR_UPDATE = Statement(
    _SELECT_STATE.where(any_of(WebhookDelivery.id, "ids"))
    .order_by(WebhookDelivery.id)
    .with_for_update()
)


async def lock_failed_deliveries(
    reader: Reader, webhook_id: WebhookId, failures: FailureRange, now: datetime, *, limit: int
) -> list[FailedDelivery]:
    """Lock deliveries that failed and are not being attempted, in the order of their events."""
    values = {"webhook_id": webhook_id, **asdict(failures), "now": now, "limit": limit}
    rows = await reader.rows(_FAILED, **values)
    return [
        FailedDelivery(row.id, row.event_seq, DeliveryState(**decoded_values(row, _STATE_FIELDS)))
        for row in rows
    ]


async def count_failed_deliveries(
    reader: Reader, webhook_id: WebhookId, failures: FailureRange, now: datetime, *, limit: int
) -> tuple[int, FailureRange]:
    """Count what `lock_failed_deliveries` would lock; return also the range without other events."""
    values = {"webhook_id": webhook_id, **asdict(failures), "now": now, "limit": limit}
    row = await reader.first(_FAILED_COUNT, **values)
    assert row is not None  # noqa: S101 - an aggregate has one row
    if not row.number:
        return 0, failures
    return row.number, replace(failures, after_seq=row.first_seq - 1, until_seq=row.last_seq)


_IS_NOT_LEASED = or_(
    WebhookDelivery.lease_token.is_(None),
    WebhookDelivery.next_attempt_at <= bindparam("now"),
)
"""The rule of `DeliveryState.is_leased`: an expired lease is that of a process that ended."""
_LAST_ATTEMPT_AT = (
    select(WebhookDeliveryAttempt.started_at)
    .where(
        WebhookDeliveryAttempt.workspace_id == WebhookDelivery.workspace_id,
        WebhookDeliveryAttempt.delivery_id == WebhookDelivery.id,
        WebhookDeliveryAttempt.number == WebhookDelivery.attempts,
    )
    .correlate(WebhookDelivery)
    .scalar_subquery()
)
"""Served by pk_webhook_delivery_attempt."""
_SELECT_FAILED = (
    _SELECT_STATE.add_columns(WebhookDelivery.event_seq)
    .where(
        WebhookDelivery.webhook_id == bindparam("webhook_id"),
        WebhookDelivery.event_seq > bindparam("after_seq"),
        WebhookDelivery.event_seq <= bindparam("until_seq"),
        WebhookDelivery.delivered_at.is_(None),
        WebhookDelivery.round_attempts > 0,
        _IS_NOT_LEASED,
        sort_key(WebhookDelivery.created_at) >= bindparam("since", type_=UtcDateTime()),
        (bindparam("last_attempt_before", type_=UtcDateTime()) <= _LAST_ATTEMPT_AT).is_not(true()),
    )
    .order_by(WebhookDelivery.event_seq)
    .limit(bindparam("limit"))
)
"""Served by uq_webhook_delivery_event, and never by the index of all times of creation."""
_FAILED = Statement(_SELECT_FAILED.with_for_update())
_COUNTED = _SELECT_FAILED.subquery()
_FAILED_COUNT = Statement(
    select(
        func.count().label("number"),
        func.min(_COUNTED.c.event_seq).label("first_seq"),
        func.max(_COUNTED.c.event_seq).label("last_seq"),
    ).select_from(_COUNTED)
)


async def resume_deliveries(
    session: WriteSession,
    webhook_id: WebhookId,
    after: int,
    now: datetime,
) -> None:
    """Make deliveries of events after a number due that have not succeeded, and give up those before.

    Those that are being attempted stay unchanged.
    """
    values = {"webhook": webhook_id, "after": after, "now": now}
    await session.rows(_MAKE_DUE, **values)
    await session.rows(_GIVE_UP, **values)


_IS_UNFINISHED = (
    WebhookDelivery.webhook_id == bindparam("webhook"),
    WebhookDelivery.delivered_at.is_(None),
    _IS_NOT_LEASED,
)
_MAKE_DUE = (
    update(WebhookDelivery)
    .where(*_IS_UNFINISHED, WebhookDelivery.event_seq > bindparam("after"))
    .values(next_attempt_at=bindparam("now"), lease_token=None, given_up_at=None, round_attempts=0)
)
_GIVE_UP = (
    update(WebhookDelivery)
    .where(
        *_IS_UNFINISHED,
        WebhookDelivery.event_seq <= bindparam("after"),
        WebhookDelivery.given_up_at.is_(None),
    )
    .values(next_attempt_at=None, lease_token=None, given_up_at=bindparam("now"))
)


async def update_deliveries(
    session: WriteSession, states: Mapping[DeliveryId, DeliveryState]
) -> None:
    """Store the states of deliveries that were locked and loaded before."""
    await update_rows(
        session,
        WebhookDelivery,
        [{"id": id_, **_values(state, _STATE_FIELDS)} for id_, state in states.items()],
    )


async def insert_attempts(
    session: WriteSession,
    attempts: Sequence[tuple[DeliveryId, int, DeliveryAttempt]],
) -> None:
    """Store attempts of deliveries, each with its number."""
    await insert_rows(
        session,
        WebhookDeliveryAttempt,
        [
            {
                "delivery_id": id_,
                "number": number,
                "started_at": attempt.started_at,
                "duration_ms": round(attempt.duration.total_seconds() * 1_000),
                "status_code": attempt.status_code,
                "error": attempt.error,
                "response_body": attempt.response_body,
            }
            for id_, number, attempt in attempts
        ],
    )


async def old_deliveries(
    reader: AllWorkspacesReader, before: datetime, *, limit: int
) -> list[tuple[WorkspaceId, DeliveryId]]:
    """Return deliveries of all workspaces, of events before a time, oldest first.

    Without those that have been due since that time only, because their endpoint was enabled again and gets
    older events. Served by ix_webhook_delivery_created_at.
    """
    rows = await reader.rows(_OLD, before=before, limit=limit)
    return [(row.workspace_id, row.id) for row in rows]


_IS_NOT_DUE = or_(
    WebhookDelivery.next_attempt_at.is_(None),
    WebhookDelivery.next_attempt_at < bindparam("before"),
)
_SELECT_KEYS = select(WebhookDelivery.workspace_id, WebhookDelivery.id)
_OLD = AllWorkspacesStatement(
    _SELECT_KEYS.where(WebhookDelivery.created_at < bindparam("before"), _IS_NOT_DUE)
    .order_by(WebhookDelivery.created_at)
    .limit(bindparam("limit")),
    reason="maintenance of all workspaces",
)


async def delete_deliveries(
    session: AllWorkspacesWriteSession,
    deliveries: Sequence[tuple[WorkspaceId, DeliveryId]],
    before: datetime,
) -> int:
    """Delete deliveries that `old_deliveries` returned, with their attempts, unless one is due again.

    Return the number of those that an endpoint never received, without those of deleted endpoints.
    """
    keys = [(workspace_id, {"delivery": id_, "before": before}) for workspace_id, id_ in deliveries]
    locked = await session.execute_many(_LOCK, keys)
    old = [(row.workspace_id, {"delivery": row.id}) for row in locked]
    if old:
        await session.execute_many(_DELETE_ATTEMPTS, old)
        await session.execute_many(_DELETE, old)
    return sum(row.is_lost for row in locked)


_IS_DELIVERY = WebhookDelivery.id == bindparam("delivery")
_IS_LOST = and_(
    WebhookDelivery.next_attempt_at.is_not(None),
    exists()
    .where(
        Webhook.workspace_id == WebhookDelivery.workspace_id,
        Webhook.id == WebhookDelivery.webhook_id,
        Webhook.deleted_at.is_(None),
    )
    .correlate(WebhookDelivery),
)
_LOCK = (
    _SELECT_KEYS.add_columns(_IS_LOST.label("is_lost"))
    .where(_IS_DELIVERY, _IS_NOT_DUE)
    .with_for_update()
)
"""Keeps a process from storing an attempt after the others are deleted."""
_DELETE_ATTEMPTS = delete(WebhookDeliveryAttempt).where(
    WebhookDeliveryAttempt.delivery_id == bindparam("delivery")
)
_DELETE = delete(WebhookDelivery).where(_IS_DELIVERY)


def _stored_delivery(row: Record) -> StoredDelivery:
    return StoredDelivery(
        **decoded_values(row, _OTHER_FIELDS),
        state=DeliveryState(**decoded_values(row, _STATE_FIELDS)),
    )


def _values(record: NewDelivery | DeliveryState, names: Sequence[str]) -> dict[str, object]:
    """Return fields by name. `asdict` copies each value, which takes longer than storing it (measured)."""
    return {name: getattr(record, name) for name in names}
