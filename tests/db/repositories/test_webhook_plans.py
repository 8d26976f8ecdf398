"""Indexes that serve reads of webhooks and their deliveries, as reported by EXPLAIN on both engines."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.db.core.database import Database
from app.db.core.paging import PageRequest
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.models import Webhook, WebhookDelivery, WebhookDeliveryAttempt
from app.db.repositories import webhook_pages
from app.db.repositories.webhook_pages import DeliveryCriteria
from app.domain.ids import DeliveryId, PostId, WebhookId, WorkspaceId
from app.domain.signing import KeysetPosition
from app.domain.webhooks.deliveries import DeliveryStatus
from app.domain.webhooks.event_types import WebhookEventType
from tests.databases import DatabaseTemplates, cached_database
from tests.db.repositories.explain import OTHER_WORKSPACE, OWN_WORKSPACE, Query, explain_query
from tests.factories import NOW, add_workspace
from tests.raw_statements import insert_raw

TABLES = "webhook, webhook_delivery, webhook_delivery_attempt"
WEBHOOKS, EVENTS = 10, 300
WEBHOOK = WebhookId(UUID(int=1))
DELIVERIES = [DeliveryId(UUID(int=number)) for number in range(20)]
MIDDLE = KeysetPosition(EVENTS // 2, str(UUID(int=2**127)))

OF_WEBHOOK, OF_POST = "uq_webhook_delivery_event", "ix_webhook_delivery_post"
BY_ID = {"pk_webhook_delivery", "pk_webhook"}


async def fill(database: Database) -> None:
    for workspace in (OWN_WORKSPACE, OTHER_WORKSPACE):
        await add_workspace(database, id=workspace)
        await _add_webhooks(database, workspace)
    if not database.is_sqlite:  # which has no statistics by default
        async with database.write_engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql(f"VACUUM (ANALYZE) {TABLES}")


async def _add_webhooks(database: Database, workspace: WorkspaceId) -> None:
    """Add webhooks with a delivery of each event, of which one in 50 waits and one in 50 was given up."""

    async def work(session: AllWorkspacesWriteSession) -> None:
        for number in range(1, WEBHOOKS + 1):
            await insert_raw(session, Webhook, [_webhook(workspace, number)])
            deliveries = [_delivery(workspace, number, seq) for seq in range(1, EVENTS + 1)]
            await insert_raw(session, WebhookDelivery, deliveries)
            attempts = [_attempt(workspace, delivery["id"]) for delivery in deliveries]
            await insert_raw(session, WebhookDeliveryAttempt, attempts)

    await database.write_all_workspaces(work)


def _webhook(workspace: WorkspaceId, number: int) -> dict[str, Any]:
    return {
        "workspace_id": workspace,
        "id": UUID(int=number),
        "url": f"https://receiver.example/{number}",
        "event_types": ["post.published"],
        "platforms": [],
        "account_ids": [],
        "encrypted_secret": "e",
        "is_active": True,
        "feed_seq": EVENTS,
        "consecutive_failures": 0,
        "created_at": NOW,
        "updated_at": NOW,
    }


def _delivery(workspace: WorkspaceId, webhook: int, seq: int) -> dict[str, Any]:
    is_waiting, is_given_up = seq % 50 == 1, seq % 50 == 2
    return {
        "workspace_id": workspace,
        "id": UUID(int=webhook * 1_000 + seq),
        "webhook_id": UUID(int=webhook),
        "event_seq": seq,
        "event_type": WebhookEventType.POST_PUBLISHED,
        "event_id": UUID(int=seq),
        "post_id": UUID(int=seq // 3),
        "body": "{}" * 100,
        "attempts": 1,
        "round_attempts": 1,
        "next_attempt_at": NOW if is_waiting else None,
        "given_up_at": NOW if is_given_up else None,
        "delivered_at": None if is_waiting or is_given_up else NOW,
        "created_at": NOW - timedelta(minutes=EVENTS - seq),
    }


def _attempt(workspace: WorkspaceId, delivery: UUID) -> dict[str, Any]:
    return {
        "workspace_id": workspace,
        "delivery_id": delivery,
        "number": 1,
        "started_at": NOW,
        "duration_ms": 10,
        "status_code": 200,
    }


@pytest.fixture
def webhook_database_url(database_templates: DatabaseTemplates) -> Iterator[str]:
    with database_templates.copy(fill) as url:
        yield url


@pytest.fixture
async def webhook_database(
    anyio_backend: str, webhook_database_url: str
) -> AsyncIterator[Database]:
    """Database with two equal workspaces."""
    async with cached_database(webhook_database_url) as opened:
        yield opened


def page(*, after: KeysetPosition | None = None, **filters: Any) -> Query:
    criteria, request = DeliveryCriteria(**filters), PageRequest(size=5, after=after)
    return lambda reader: webhook_pages.deliveries_page(reader, criteria, request)


GIVEN_UP = [DeliveryStatus.GIVEN_UP]
QUERIES: dict[str, tuple[Query, set[str]]] = {
    "webhooks": (webhook_pages.all_webhooks, {"pk_webhook", "sort"}),
    "webhooks by id": (
        lambda reader: webhook_pages.webhooks_by_id(reader, [WEBHOOK]),
        {"pk_webhook"},
    ),
    "deliveries by id": (lambda reader: webhook_pages.deliveries_by_id(reader, DELIVERIES), BY_ID),
    "of a webhook": (page(webhook_id=WEBHOOK), {OF_WEBHOOK, "pk_webhook"}),
    "of a webhook, middle page": (
        page(webhook_id=WEBHOOK, after=MIDDLE),
        {OF_WEBHOOK, "pk_webhook"},
    ),
    "of a webhook, given up": (
        page(webhook_id=WEBHOOK, status=GIVEN_UP),
        {"ix_webhook_delivery_given_up", "pk_webhook"},
    ),
    "of a webhook, delivered": (
        page(webhook_id=WEBHOOK, status=[DeliveryStatus.DELIVERED]),
        {OF_WEBHOOK, "pk_webhook"},
    ),
    "of a webhook, created": (
        page(webhook_id=WEBHOOK, created_after=NOW - timedelta(hours=1)),
        {OF_WEBHOOK, "pk_webhook"},
    ),
    "of a post": (page(post_id=PostId(UUID(int=50))), {OF_POST, "pk_webhook"}),
    "of a post, middle page": (
        page(post_id=PostId(UUID(int=50)), after=MIDDLE),
        {OF_POST, "pk_webhook"},
    ),
    "of all": (page(), {OF_WEBHOOK, "pk_webhook"}),
    "of all, middle page": (page(after=MIDDLE), {OF_WEBHOOK, "pk_webhook"}),
    "attempts": (
        lambda reader: webhook_pages.attempts_by_delivery_id(reader, DELIVERIES),
        {"pk_webhook_delivery_attempt", "pk_webhook_delivery", "sort"},
    ),
    "last attempts": (
        lambda reader: webhook_pages.last_attempts_by_delivery_id(reader, DELIVERIES),
        {"pk_webhook_delivery_attempt", "pk_webhook_delivery"},
    ),
}


PLAN_ALTERNATIVES = {
    name: {"sort"}
    for name in ("of a post", "of a post, middle page", "of all", "of all, middle page")
}
"""Steps that an engine may add: it sorts the deliveries of one event by id."""


async def test_webhooks_and_deliveries_are_read_from_their_indexes(
    webhook_database: Database,
) -> None:
    plans = {
        name: await explain_query(webhook_database, query) - PLAN_ALTERNATIVES.get(name, set())
        for name, (query, _) in QUERIES.items()
    }
    assert plans == {name: indexes for name, (_, indexes) in QUERIES.items()}
