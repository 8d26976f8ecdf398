"""Plans of redeliveries: they cover what a dry run found, and no more."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.db.repositories.webhook_deliveries import FailureRange
from app.domain.errors import Conflict
from app.domain.ids import WebhookId
from app.domain.webhooks.deliveries import DeliveryState
from app.services.bulk_plans import PLAN_LIFETIME, BulkPlan
from app.services.webhooks import Redelivery, RedeliveryPlan
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_workspace
from tests.services.webhook_calls import (
    SECOND,
    DeliveryProcess,
    TenantWithoutServer,
    client_key,
    webhook_context,
    webhook_service,
)
from tests.webhook_events import add_deliveries, stored_deliveries
from tests.webhook_rows import add_webhook

GIVEN_UP = DeliveryState(next_attempt_at=None, attempts=9, round_attempts=9, given_up_at=NOW)
PENDING = DeliveryState(next_attempt_at=NOW)
RETRYING = DeliveryState(next_attempt_at=NOW + SECOND, attempts=1, round_attempts=1)


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database))


async def add_failed(
    acme: TenantWithoutServer, webhook_id: WebhookId, number: int, *, first_seq: int
) -> None:
    await add_deliveries(
        acme.database, acme.workspace, webhook_id, [GIVEN_UP] * number, first_seq=first_seq
    )


async def make_plan(
    acme: TenantWithoutServer, webhook_id: WebhookId, limit: int = 10_001
) -> RedeliveryPlan | None:
    service = webhook_service(acme.database)
    return await service.plan_redelivery(acme.workspace, webhook_id, NOW, limit=limit)


async def run_plan(
    acme: TenantWithoutServer,
    webhook_id: WebhookId,
    plan: RedeliveryPlan | None,
    *,
    key: str | None = None,
    after: timedelta = SECOND,
) -> Redelivery:
    assert plan is not None
    context = webhook_context(acme.workspace, "redeliverWebhook", NOW + after)
    idempotency_key = None if key is None else client_key(key)
    service = webhook_service(acme.database)
    return await service.redeliver_plan(context, webhook_id, plan, idempotency_key)


async def expect_conflict(
    acme: TenantWithoutServer,
    webhook_id: WebhookId,
    plan: RedeliveryPlan | None,
    after: timedelta = SECOND,
) -> str:
    """The message of a plan that is refused and changes nothing."""
    before = await all_rows(acme.database)
    with pytest.raises(Conflict) as caught:
        await run_plan(acme, webhook_id, plan, after=after)
    assert await all_rows(acme.database) == before
    assert caught.value.argument == "plan"
    return caught.value.message


def planned_range(*, after_seq: int, until_seq: int) -> FailureRange:
    """The range of `make_plan`."""
    return FailureRange(
        since=NOW, after_seq=after_seq, until_seq=until_seq, last_attempt_before=NOW
    )


async def test_plan_excludes_later_events(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_failed(acme, webhook_id, 2, first_seq=1)
    plan = await make_plan(acme, webhook_id)
    await add_failed(acme, webhook_id, 1, first_seq=3)

    failures = planned_range(after_seq=0, until_seq=2)
    assert plan == BulkPlan(criteria=failures, created_at=NOW, remaining_count=2)
    assert await run_plan(acme, webhook_id, plan) == Redelivery(2, has_more=False, plan=None)
    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    again = DeliveryState(next_attempt_at=NOW + SECOND, attempts=9)
    assert [each.state for each in deliveries] == [again, again, GIVEN_UP]


async def test_plan_includes_deliveries_whose_lease_has_expired(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    states = [RETRYING.leased(uuid4(), NOW), RETRYING.leased(uuid4(), NOW + SECOND)]
    await add_deliveries(acme.database, acme.workspace, webhook_id, states)

    failures = planned_range(after_seq=0, until_seq=1)
    plan = BulkPlan(criteria=failures, created_at=NOW, remaining_count=1)
    assert await make_plan(acme, webhook_id) == plan


async def test_plan_is_refused_if_more_has_failed(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_failed(acme, webhook_id, 1, first_seq=2)
    await add_failed(acme, webhook_id, 1, first_seq=5)
    plan = await make_plan(acme, webhook_id)
    failures = planned_range(after_seq=1, until_seq=5)
    assert plan == BulkPlan(criteria=failures, created_at=NOW, remaining_count=2)
    # Their attempts had started before.
    await add_failed(acme, webhook_id, 2, first_seq=3)

    assert await expect_conflict(acme, webhook_id, plan) == (
        "The plan has 2 left, but more can be changed now. Nothing was changed: repeat the dry run and pass"
        " its plan."
    )


async def test_plan_excludes_what_fails_again(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    process = DeliveryProcess(acme.database, acme.workspace, webhook_id)
    await add_deliveries(acme.database, acme.workspace, webhook_id, [PENDING] * 2)
    just_before = NOW - timedelta(milliseconds=1)
    await process.respond(await process.lease(), 500, just_before)
    plan = await make_plan(acme, webhook_id)
    failures = planned_range(after_seq=0, until_seq=2)
    assert plan == BulkPlan(criteria=failures, created_at=NOW, remaining_count=2)

    assert await run_plan(acme, webhook_id, plan) == Redelivery(2, has_more=False)
    await process.respond(await process.lease(NOW + SECOND), 500, NOW + SECOND)

    assert await run_plan(acme, webhook_id, plan, after=2 * SECOND) == Redelivery(0, False)
    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    retrying = DeliveryState(next_attempt_at=NOW + 6 * SECOND, attempts=2, round_attempts=1)
    assert [each.state for each in deliveries] == [retrying] * 2


async def test_plan_expires(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_failed(acme, webhook_id, 1, first_seq=1)
    plan = await make_plan(acme, webhook_id)

    message = "The plan has expired: repeat the dry run and pass its plan."
    assert await expect_conflict(acme, webhook_id, plan, after=PLAN_LIFETIME) == message
    just_before = PLAN_LIFETIME - timedelta(milliseconds=1)
    assert await run_plan(acme, webhook_id, plan, after=just_before) == Redelivery(1, False)


async def test_plan_of_many_continues_after_those_of_each_call(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_failed(acme, webhook_id, 504, first_seq=1)
    plan = await make_plan(acme, webhook_id, limit=503)
    assert plan is not None

    first = await run_plan(acme, webhook_id, plan, key="a")
    failures = planned_range(after_seq=500, until_seq=503)
    rest = BulkPlan(criteria=failures, created_at=NOW, remaining_count=3)
    assert first == Redelivery(500, has_more=True, plan=rest)
    assert await run_plan(acme, webhook_id, plan, key="a") == first
    assert await run_plan(acme, webhook_id, first.plan) == Redelivery(3, False)


async def test_nothing_is_planned_if_nothing_has_failed(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_deliveries(acme.database, acme.workspace, webhook_id, [PENDING])
    await add_deliveries(
        acme.database,
        acme.workspace,
        webhook_id,
        [GIVEN_UP],
        first_seq=2,
        created_at=NOW - SECOND,
    )

    assert await make_plan(acme, webhook_id) is None
