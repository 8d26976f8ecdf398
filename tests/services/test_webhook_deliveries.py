"""Deliveries of webhooks: leased to one process, settled with the results of attempts, and pruned."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.models import WebhookDeliveryAttempt
from app.domain.events import (
    EventKind,
)
from app.domain.webhooks.deliveries import DeliveryState, DeliveryStatus
from app.domain.webhooks.endpoints import DISABLE_AFTER, MIN_FAILURES, DisabledReason
from app.domain.webhooks.event_types import WebhookEventType
from app.services.expirations import prune_deliveries
from app.services.secret_cipher import SecretCipher, new_secrets_key
from app.services.webhook_deliveries import (
    LEASE_DURATION,
    DeliveryBatch,
    DueWebhook,
    SettledDelivery,
)
from app.services.webhook_requests import ATTEMPT_TIMEOUT
from tests.factories import NOW, add_account, add_workspace
from tests.services.webhook_calls import (
    SCHEDULE,
    SECOND,
    DeliveryProcess,
    TenantWithoutServer,
    add_similar_tenants,
    attempt_at,
    delivery_service,
    store_all,
    webhook_context,
    webhook_service,
)
from tests.webhook_events import (
    add_deliveries,
    add_events,
    connected,
    delivery_states,
    stored_deliveries,
    stored_events,
    stored_webhook,
)
from tests.webhook_rows import SECRET, URL, add_webhook

PENDING = DeliveryState(next_attempt_at=NOW)
DISABLED = WebhookEventType.WEBHOOK_DISABLED


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database))


# Leases.


@pytest.fixture
async def process(acme: TenantWithoutServer) -> DeliveryProcess:
    """A process that delivers to the only endpoint, which accepted the last delivery."""
    webhook_id = await add_webhook(acme.database, acme.workspace, last_success_at=NOW)
    return DeliveryProcess(acme.database, acme.workspace, webhook_id)


async def add_pending(process: DeliveryProcess, count: int = 1) -> None:
    await add_deliveries(process.database, process.workspace, process.webhook_id, [PENDING] * count)


async def states_of(process: DeliveryProcess) -> list[DeliveryState]:
    """States of the deliveries in the order of their events."""
    deliveries = await stored_deliveries(process.database, process.workspace, process.webhook_id)
    return [each.state for each in deliveries]


def numbers_of(batch: DeliveryBatch | None) -> list[int]:
    """Numbers in the bodies of leased deliveries."""
    return [] if batch is None else [orjson.loads(each.body)["number"] for each in batch.deliveries]


async def test_lease_has_what_an_attempt_needs(process: DeliveryProcess) -> None:
    await add_pending(process)
    (stored,) = await stored_deliveries(process.database, process.workspace, process.webhook_id)

    batch = await process.lease()

    assert batch is not None
    (leased,) = batch.deliveries
    assert batch == DeliveryBatch(
        url=f"{URL}/{process.webhook_id}",
        secrets=[SECRET],
        lease_expires_at=NOW + LEASE_DURATION,
        deliveries=[leased],
    )
    assert (leased.id, leased.event_id, leased.body) == (stored.id, stored.event_id, stored.body)
    assert await states_of(process) == [leased.state]
    assert leased.state.lease_token is not None
    assert leased.state == PENDING.leased(leased.state.lease_token, NOW + LEASE_DURATION)
    assert 3 * ATTEMPT_TIMEOUT < LEASE_DURATION


async def test_longest_due_deliveries_are_leased_first(process: DeliveryProcess) -> None:
    due = [NOW - SECOND, NOW, NOW - 2 * SECOND, NOW + SECOND, NOW - SECOND]
    await add_deliveries(
        process.database,
        process.workspace,
        process.webhook_id,
        [DeliveryState(next_attempt_at=time) for time in due],
    )
    assert numbers_of(await process.lease()) == [3, 1, 5, 2]
    assert await process.lease() is None


async def test_concurrent_processes_never_lease_the_same_delivery(process: DeliveryProcess) -> None:
    await add_pending(process, 220)

    batches = await asyncio.gather(*(process.lease() for _ in range(8)))

    assert sorted(number for batch in batches for number in numbers_of(batch)) == [*range(1, 221)]
    assert [len(numbers_of(batch)) for batch in batches if batch].count(50) == 4


async def test_failing_endpoint_gets_small_batches(process: DeliveryProcess) -> None:
    await add_pending(process, 60)
    await process.respond(await process.lease(), 500)
    assert len(numbers_of(await process.lease())) == 4


async def test_expired_lease_is_taken_over_and_its_late_result_ignored(
    process: DeliveryProcess,
) -> None:
    await add_pending(process)
    first = await process.lease()
    almost, expired = NOW + LEASE_DURATION - SECOND, NOW + LEASE_DURATION
    assert await process.lease(almost) is None

    second = await process.lease(expired)
    assert first is not None
    assert second is not None
    assert second.deliveries == [replace(first.deliveries[0], state=second.deliveries[0].state)]
    await process.respond(first, 200, expired)
    assert [state.attempts for state in await states_of(process)] == [0]
    await process.respond(second, 204, expired)
    await process.respond(second, 500, expired + SECOND)

    assert await states_of(process) == [
        DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=expired)
    ]
    endpoint = (
        await stored_webhook(process.database, process.workspace, process.webhook_id)
    ).endpoint
    assert (endpoint.last_success_at, endpoint.last_failure_at) == (expired, None)
    assert [row.status_code for row in await attempt_rows(process)] == [204]


async def test_unattempted_delivery_is_released(process: DeliveryProcess) -> None:
    await add_pending(process)
    batch = await process.lease()
    assert batch is not None
    await process.settle([SettledDelivery(each, None) for each in batch.deliveries], NOW + SECOND)

    assert await states_of(process) == [DeliveryState(next_attempt_at=NOW + SECOND)]
    assert await attempt_rows(process) == []
    webhook = await stored_webhook(process.database, process.workspace, process.webhook_id)
    assert webhook.endpoint.last_delivery_at is None


async def test_secrets_of_a_rotation_sign_until_the_old_one_expires(
    acme: TenantWithoutServer,
) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    process = DeliveryProcess(acme.database, acme.workspace, webhook_id)
    context = webhook_context(acme.workspace, "rotateWebhookSecret")
    rotated = await webhook_service(acme.database).rotate_secret(context, webhook_id, None)
    day = timedelta(hours=24)
    await add_pending(process)

    secrets = []
    for now in (NOW, NOW + day - LEASE_DURATION, NOW + day):
        batch = await process.lease(now)
        assert batch is not None
        secrets.append(batch.secrets)
    assert secrets == [[rotated.secret, SECRET], [rotated.secret, SECRET], [rotated.secret]]


async def test_rotated_secret_signs_although_the_old_one_cannot_be_decrypted(
    acme: TenantWithoutServer,
) -> None:
    lost = SecretCipher([new_secrets_key()])
    webhook_id = await add_webhook(acme.database, acme.workspace, cipher=lost)
    process = DeliveryProcess(acme.database, acme.workspace, webhook_id)
    await add_pending(process)
    unreadable = await process.lease()
    assert unreadable is not None
    assert (unreadable.secrets, unreadable.deliveries) == ([], [])

    context = webhook_context(acme.workspace, "rotateWebhookSecret")
    rotated = await webhook_service(acme.database).rotate_secret(context, webhook_id, None)

    batch = await process.lease()
    assert batch is not None
    assert batch.secrets == [rotated.secret]


async def test_process_of_another_workspace_leases_and_settles_nothing(database: Database) -> None:
    (own, webhook_id, _), (other, other_webhook, _) = await add_similar_tenants(database)
    (delivery_id,) = await add_deliveries(database, own, webhook_id, [PENDING])
    batch = await DeliveryProcess(database, own, webhook_id).lease()

    for intruder in (
        DeliveryProcess(database, other, webhook_id),
        DeliveryProcess(database, other, other_webhook),
    ):
        assert await intruder.lease(NOW + LEASE_DURATION) is None
        await intruder.respond(batch, 200)

    state = (await delivery_states(database, own, [delivery_id]))[delivery_id]
    assert (state.lease_token is not None, state.attempts) == (True, 0)
    assert (await stored_webhook(database, other, other_webhook)).endpoint.last_delivery_at is None


# Results.


async def attempt_rows(process: DeliveryProcess) -> Sequence[Any]:
    """Stored attempts of the workspace, of each delivery in order."""
    statement = (
        select(WebhookDeliveryAttempt)
        .where(WebhookDeliveryAttempt.workspace_id == process.workspace)
        .order_by(WebhookDeliveryAttempt.delivery_id, WebhookDeliveryAttempt.number)
    )
    async with process.database.read_connection() as connection:
        return (await connection.execute(statement)).all()


async def test_attempts_are_stored_until_the_delivery_is_given_up(process: DeliveryProcess) -> None:
    await add_pending(process)
    now, states = NOW, []
    for status_code in (500, None, 503):
        await process.respond(await process.lease(now), status_code, now)
        (state,) = await states_of(process)
        states.append((state.status, state.next_attempt_at))
        now = state.next_attempt_at or now

    assert states == [
        (DeliveryStatus.RETRYING, NOW + SCHEDULE[0]),
        (DeliveryStatus.RETRYING, NOW + SCHEDULE[0] + SCHEDULE[1]),
        (DeliveryStatus.GIVEN_UP, None),
    ]
    assert await process.lease(now + timedelta(days=1)) is None
    assert [
        (row.number, row.started_at, row.duration_ms, row.status_code, row.error, row.response_body)
        for row in await attempt_rows(process)
    ] == [
        (1, NOW, 20, 500, "It failed.", "The body."),
        (2, NOW + SCHEDULE[0], 20, None, "It failed.", None),
        (3, now, 20, 503, "It failed.", "The body."),
    ]


async def test_results_of_two_processes_are_not_lost(process: DeliveryProcess) -> None:
    await add_pending(process, 60)
    first, second = await process.lease(), await process.lease()

    await asyncio.gather(process.respond(first, 500), process.respond(second, 500))

    webhook = await stored_webhook(process.database, process.workspace, process.webhook_id)
    assert webhook.endpoint.consecutive_failures == 60


async def test_results_and_new_events_do_not_overwrite_each_other(
    acme: TenantWithoutServer,
) -> None:
    """Both store the whole row of the endpoint."""
    account = await add_account(acme.database, acme.workspace)
    webhook_id = await add_webhook(acme.database, acme.workspace)
    process = DeliveryProcess(acme.database, acme.workspace, webhook_id)
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)
    for number in range(1, 11):
        await add_events(acme.database, acme.workspace, connected(account))
        await store_all(acme.database)
        batch = await process.lease()
        await add_events(acme.database, acme.workspace, connected(account))
        await asyncio.gather(
            delivery_service(acme.database).store_deliveries(),
            process.respond(batch, 500),
            service.update(
                context, webhook_id, {"name": f"v{number}"}, resume_after=None, idempotency_key=None
            ),
        )
        await store_all(acme.database)
        webhook = await stored_webhook(acme.database, acme.workspace, webhook_id)
        assert (webhook.feed_seq, webhook.endpoint.name) == (2 * number, f"v{number}")
    assert webhook.endpoint.consecutive_failures == 19
    assert await acme.event_seqs(webhook_id) == [*range(1, 21)]


async def test_gone_receiver_disables_its_endpoint_and_reports_it_to_others(
    acme: TenantWithoutServer,
) -> None:
    gone = await add_webhook(acme.database, acme.workspace, name="CRM")
    other = await add_webhook(
        acme.database, acme.workspace, event_types=[DISABLED], platforms=["x"]
    )
    process = DeliveryProcess(acme.database, acme.workspace, gone)
    await add_pending(process, 2)
    first = await process.lease()

    await process.respond(first, 410)
    await store_all(acme.database)

    endpoint = (await stored_webhook(acme.database, acme.workspace, gone)).endpoint
    assert (endpoint.is_active, endpoint.disabled_reason, endpoint.auto_disabled_at) == (
        False,
        DisabledReason.GONE,
        NOW,
    )
    (event,) = await stored_events(acme.database, acme.workspace)
    values = {"webhook_id": str(gone), "name": "CRM", "disabled_reason": "gone"}
    assert (event.kind, event.values, event.operation) == (
        EventKind.WEBHOOK_DISABLED,
        values,
        "deliverWebhooks",
    )
    (delivery,) = await stored_deliveries(acme.database, acme.workspace, other)
    assert orjson.loads(delivery.body)["data"].items() >= values.items()
    assert len(await states_of(process)) == 2
    assert await process.lease(NOW + timedelta(days=1)) is None
    assert await delivery_service(acme.database).due_webhooks() == [
        DueWebhook(acme.workspace, other, is_failing=False)
    ]


async def test_five_days_of_failures_disable_an_endpoint(process: DeliveryProcess) -> None:
    await add_pending(process, MIN_FAILURES)
    times = {NOW: MIN_FAILURES - 2, NOW + DISABLE_AFTER - SECOND: 1, NOW + DISABLE_AFTER: 1}
    for now, failures in times.items():
        batch = await process.lease(now)
        assert batch is not None
        await process.settle(
            [
                SettledDelivery(each, attempt_at(now, 500) if index < failures else None)
                for index, each in enumerate(batch.deliveries)
            ],
            now,
        )

    endpoint = (
        await stored_webhook(process.database, process.workspace, process.webhook_id)
    ).endpoint
    assert (endpoint.disabled_reason, endpoint.failing_since) == (DisabledReason.FAILING, NOW)
    events = await stored_events(process.database, process.workspace)
    assert [event.kind for event in events] == [EventKind.WEBHOOK_DISABLED]


async def test_endpoint_disabled_or_deleted_in_flight_gets_its_results_only(
    acme: TenantWithoutServer,
) -> None:
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)
    for delete in (True, False):
        webhook_id = await add_webhook(acme.database, acme.workspace)
        process = DeliveryProcess(acme.database, acme.workspace, webhook_id)
        await add_pending(process, 2)
        batch = await process.lease()
        await add_deliveries(acme.database, acme.workspace, webhook_id, [PENDING], first_seq=3)
        if delete:
            await service.delete(context, webhook_id, None)
        else:
            await service.update(
                context, webhook_id, {"is_active": False}, resume_after=None, idempotency_key=None
            )

        assert batch is not None
        results = [SettledDelivery(each, attempt_at(NOW, 200)) for each in batch.deliveries]
        assert await process.lease(settled=results) is None

        assert [state.status for state in await states_of(process)] == [
            DeliveryStatus.DELIVERED,
            DeliveryStatus.DELIVERED,
            DeliveryStatus.PENDING,
        ]
    assert await delivery_service(acme.database).due_webhooks() == []


# Due endpoints.


async def test_active_endpoints_with_due_deliveries_are_found(database: Database) -> None:
    due = []
    for is_active, failures, time in (
        (True, 0, NOW),
        (True, 2, NOW - SECOND),
        (True, 0, NOW + SECOND),
        (False, 0, NOW),
        (True, 0, None),
    ):
        workspace = await add_workspace(database)
        webhook_id = await add_webhook(
            database,
            workspace,
            is_active=is_active,
            consecutive_failures=failures,
            failing_since=NOW if failures else None,
        )
        state = DeliveryState(
            next_attempt_at=time, delivered_at=None if time else NOW, attempts=1, round_attempts=1
        )
        await add_deliveries(database, workspace, webhook_id, [state] * 3)
        due.append(DueWebhook(workspace, webhook_id, is_failing=failures > 0))

    found = await delivery_service(database).due_webhooks()

    assert {each.id: each for each in found} == {each.id: each for each in due[:2]}
    assert await delivery_service(database, NOW - timedelta(days=1)).due_webhooks() == []


async def test_poll_is_recorded(acme: TenantWithoutServer) -> None:
    await delivery_service(acme.database, NOW).record_poll()
    for seconds, expected in ((60, True), (61, False)):
        service = webhook_service(acme.database, NOW + seconds * SECOND)
        assert await service.is_delivering() is expected


# Retention.


async def test_old_deliveries_are_pruned_with_their_attempts(process: DeliveryProcess) -> None:
    day = timedelta(days=1)
    await add_pending(process, 3)
    await process.respond(await process.lease(), 500)
    delivered = DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=NOW)
    await add_deliveries(
        process.database,
        process.workspace,
        process.webhook_id,
        [PENDING, delivered],
        first_seq=4,
        created_at=NOW + SECOND,
    )

    for age, remaining in ((day, 5), (day + SECOND, 5), (day + 6 * SECOND, 0)):
        await prune_deliveries(process.database, NOW + age, retention=day)
        assert len(await states_of(process)) == remaining, age
    assert await attempt_rows(process) == []


async def test_delivery_of_an_old_event_is_not_pruned_before_it_was_due_for_long(
    acme: TenantWithoutServer,
) -> None:
    """As when an endpoint is enabled again and resumes from events older than the retention."""
    month = timedelta(days=30)
    account = await add_account(acme.database, acme.workspace)
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_events(acme.database, acme.workspace, connected(account), at=NOW - 2 * month)
    await store_all(acme.database)

    await prune_deliveries(acme.database, NOW + month, retention=month)
    assert await acme.event_seqs(webhook_id) == [1]
    await prune_deliveries(acme.database, NOW + month + SECOND, retention=month)
    assert await acme.event_seqs(webhook_id) == []
