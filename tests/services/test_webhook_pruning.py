"""Pruning: deleted webhooks are removed after their deliveries, and undelivered ones are counted."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.models import Webhook
from app.domain.ids import WebhookId
from app.domain.webhooks.deliveries import DeliveryState
from app.services.expirations import prune_deliveries
from tests.factories import NOW, add_workspace
from tests.services.webhook_calls import (
    SECOND,
    TenantWithoutServer,
    webhook_context,
    webhook_service,
)
from tests.webhook_events import add_deliveries, stored_deliveries
from tests.webhook_rows import add_webhook

DAY = timedelta(days=1)
DELIVERED = DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=NOW)
WEBHOOKS = Statement(select(Webhook.id))


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database))


async def webhook_ids(acme: TenantWithoutServer) -> set[WebhookId]:
    """Ids of all webhooks, with those that are marked as deleted."""
    return {row.id for row in await acme.database.reader(acme.workspace).rows(WEBHOOKS)}


async def test_deleted_webhook_is_removed_after_its_last_delivery(
    acme: TenantWithoutServer,
) -> None:
    active, disabled, unused, used = [
        await add_webhook(acme.database, acme.workspace, is_active=is_active)
        for is_active in (True, False, True, True)
    ]
    await add_deliveries(acme.database, acme.workspace, used, [DELIVERED])
    await add_deliveries(
        acme.database, acme.workspace, used, [DELIVERED], first_seq=2, created_at=NOW + SECOND
    )
    service = webhook_service(acme.database)
    for webhook_id in (unused, used):
        await service.delete(webhook_context(acme.workspace), webhook_id, None)

    for age, deliveries, webhooks in (
        (DAY, 2, {active, disabled, used}),
        (DAY + SECOND, 1, {active, disabled, used}),
        (DAY + 2 * SECOND, 0, {active, disabled}),
    ):
        await prune_deliveries(acme.database, NOW + age, retention=DAY)
        assert len(await stored_deliveries(acme.database, acme.workspace, used)) == deliveries
        assert await webhook_ids(acme) == webhooks


async def test_deliveries_that_no_endpoint_received_are_counted_in_the_log(
    acme: TenantWithoutServer,
) -> None:
    pending = DeliveryState(next_attempt_at=NOW)
    retrying = DeliveryState(next_attempt_at=NOW, attempts=1, round_attempts=1)
    given_up = DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, given_up_at=NOW)
    disabled = await add_webhook(acme.database, acme.workspace, is_active=False)
    removed = await add_webhook(acme.database, acme.workspace)
    for webhook_id, states in {
        disabled: [pending, retrying, given_up, DELIVERED],
        removed: [pending],
    }.items():
        await add_deliveries(acme.database, acme.workspace, webhook_id, states)
    await webhook_service(acme.database).delete(webhook_context(acme.workspace), removed, None)

    with capture_logs() as logs:
        for age in (DAY, DAY + SECOND, DAY + 2 * SECOND):
            await prune_deliveries(acme.database, NOW + age, retention=DAY)

    event = "webhook deliveries pruned before delivery"
    assert logs == [{"event": event, "log_level": "warning", "count": 2}]
    assert await stored_deliveries(acme.database, acme.workspace, disabled) == []
