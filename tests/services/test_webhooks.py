"""Webhook use cases: create, change, delete, rotate, redeliver, on both engines."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.db.repositories.webhooks import list_webhooks
from app.domain.errors import Conflict, InvalidInput, NotFound, PostResultsError, ResyncRequired
from app.domain.events import FEED_START, FeedPosition
from app.domain.ids import WebhookId
from app.domain.webhooks.deliveries import DeliveryState, DeliveryStatus
from app.domain.webhooks.endpoints import MAX_ENDPOINTS, DisabledReason
from app.services.expirations import prune_events
from app.services.secret_cipher import SecretCipher
from app.services.webhooks import MAX_REDELIVERIES, Redelivery, WebhookSecret
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_account, add_workspace
from tests.services.webhook_calls import (
    SECOND,
    DeliveryProcess,
    TenantWithoutServer,
    client_key,
    new_settings,
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
    stored_webhook,
)
from tests.webhook_rows import SECRET, add_webhook

DAY = timedelta(days=1)
PENDING = DeliveryState(next_attempt_at=NOW)
LEASED = PENDING.leased(uuid4(), NOW + SECOND)
RETRYING = DeliveryState(next_attempt_at=NOW + DAY, attempts=2, round_attempts=1)
DELIVERED = DeliveryState(next_attempt_at=None, attempts=1, round_attempts=1, delivered_at=NOW)
GIVEN_UP = DeliveryState(next_attempt_at=None, attempts=9, round_attempts=9, given_up_at=NOW)


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database))


async def create(
    acme: TenantWithoutServer, key: str | None = None, url: str = "https://example.com/hook"
) -> WebhookSecret:
    context = webhook_context(acme.workspace, "createWebhook")
    idempotency_key = None if key is None else client_key(key)
    return await webhook_service(acme.database).create(context, new_settings(url), idempotency_key)


async def update(
    acme: TenantWithoutServer,
    webhook_id: WebhookId,
    resume_after: FeedPosition | None = None,
    key: str | None = None,
    **changes: Any,
) -> None:
    await webhook_service(acme.database).update(
        webhook_context(acme.workspace, now=NOW + SECOND),
        webhook_id,
        changes,  # type: ignore[arg-type]
        resume_after=resume_after,
        idempotency_key=None if key is None else client_key(key),
    )


async def expect_refusal(
    acme: TenantWithoutServer, error_type: type[PostResultsError], call: Awaitable[object]
) -> tuple[str | None, str]:
    """Argument and message of the error of a call, which changes nothing."""
    before = await all_rows(acme.database)
    with pytest.raises(error_type) as caught:
        await call
    assert await all_rows(acme.database) == before
    return caught.value.argument, caught.value.message


# Create.


async def test_new_webhook_gets_the_events_from_now_on(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_events(acme.database, acme.workspace, *[connected(account)] * 3)
    created = await create(acme)
    await add_events(acme.database, acme.workspace, connected(account))
    await store_all(acme.database)

    stored = await stored_webhook(acme.database, acme.workspace, created.webhook_id)
    assert stored.feed_seq == 4
    assert created.secret.startswith("whsec_")
    assert created.secret not in str(await all_rows(acme.database))
    deliveries = await stored_deliveries(acme.database, acme.workspace, created.webhook_id)
    assert [each.event_seq for each in deliveries] == [4]


async def test_webhook_created_among_events_misses_none_after_it(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    writers = [
        asyncio.create_task(add_events(acme.database, acme.workspace, connected(account)))
        for _ in range(20)
    ]
    created = await create(acme)
    await asyncio.gather(*writers)
    start = (await stored_webhook(acme.database, acme.workspace, created.webhook_id)).feed_seq
    await store_all(acme.database)

    deliveries = await stored_deliveries(acme.database, acme.workspace, created.webhook_id)
    assert [each.event_seq for each in deliveries] == [*range(start + 1, 21)]


async def test_no_webhook_is_created_without_a_key(acme: TenantWithoutServer) -> None:
    service = webhook_service(acme.database, cipher=SecretCipher([]))
    context = webhook_context(acme.workspace, "createWebhook")
    _, message = await expect_refusal(acme, Conflict, service.create(context, new_settings(), None))
    assert message.startswith("This server cannot store secrets, because SECRETS_KEY is not set.")


async def test_25_webhooks_are_created_concurrently_and_no_more(acme: TenantWithoutServer) -> None:
    results = await asyncio.gather(
        *(create(acme, url=f"https://{number}.example.com/") for number in range(30)),
        return_exceptions=True,
    )
    created = [each for each in results if isinstance(each, WebhookSecret)]
    refused = [each for each in results if isinstance(each, InvalidInput)]
    assert (len(created), len(refused)) == (MAX_ENDPOINTS, 5)
    stored = await list_webhooks(acme.database.reader(acme.workspace))
    assert {each.endpoint.id for each in stored} == {each.webhook_id for each in created}

    await webhook_service(acme.database).delete(
        webhook_context(acme.workspace), created[0].webhook_id, None
    )
    await create(acme, url="https://30.example.com/")


async def test_one_of_concurrent_webhooks_with_the_same_url_is_created(
    acme: TenantWithoutServer,
) -> None:
    results = await asyncio.gather(*(create(acme) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in results].count(WebhookSecret) == 1
    assert [type(each) for each in results].count(InvalidInput) == 4


async def test_account_of_another_workspace_is_refused(acme: TenantWithoutServer) -> None:
    other = await add_workspace(acme.database)
    account = await add_account(acme.database, other)
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)
    webhook_id = await add_webhook(acme.database, acme.workspace)
    expected = (
        "accountIds",
        f"accountIds names account {account}, which this workspace does not have.",
    )
    settings: Any = {**new_settings(), "account_ids": [account]}
    assert await expect_refusal(acme, InvalidInput, service.create(context, settings, None)) == (
        expected
    )
    assert (
        await expect_refusal(acme, InvalidInput, update(acme, webhook_id, account_ids=[account]))
        == expected
    )


# Idempotency.


async def test_repeated_creation_returns_the_same_secret(acme: TenantWithoutServer) -> None:
    first = await create(acme, "k")
    assert await create(acme, "k") == first
    assert len(await list_webhooks(acme.database.reader(acme.workspace))) == 1


async def test_repetition_after_the_deletion_finds_no_webhook(acme: TenantWithoutServer) -> None:
    created = await create(acme, "k")
    await webhook_service(acme.database).delete(
        webhook_context(acme.workspace, "deleteWebhook"), created.webhook_id, None
    )
    with pytest.raises(NotFound):
        await create(acme, "k")


async def test_each_mutation_has_one_effect_for_its_key(acme: TenantWithoutServer) -> None:
    service, key = webhook_service(acme.database), client_key()
    webhook_id = await add_webhook(acme.database, acme.workspace, is_active=False)
    (delivery,) = await add_deliveries(acme.database, acme.workspace, webhook_id, [GIVEN_UP])
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "updateWebhook": lambda: update(
            acme, webhook_id, FEED_START, "k", is_active=True, name="CRM"
        ),
        "rotateWebhookSecret": lambda: service.rotate_secret(
            webhook_context(acme.workspace, "rotateWebhookSecret"), webhook_id, key
        ),
        "redeliverWebhook": lambda: service.redeliver(
            webhook_context(acme.workspace, "redeliverWebhook"), webhook_id, delivery, key
        ),
        "redeliverFailed": lambda: service.redeliver_failed(
            webhook_context(acme.workspace, "redeliverFailed"), webhook_id, NOW, key
        ),
        "deleteWebhook": lambda: service.delete(
            webhook_context(acme.workspace, "deleteWebhook"), webhook_id, key
        ),
    }
    for call in calls.values():
        first = await call()
        rows = await all_rows(acme.database)
        assert await call() == first
        assert await all_rows(acme.database) == rows


# Update.


async def test_update_changes_the_stored_endpoint(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    webhook_id = await add_webhook(acme.database, acme.workspace)
    before = await stored_webhook(acme.database, acme.workspace, webhook_id)
    url = "https://example.com/new"

    await update(acme, webhook_id, url=url, name="CRM", account_ids=(account,))

    after = await stored_webhook(acme.database, acme.workspace, webhook_id)
    endpoint = after.endpoint
    assert (endpoint.url, endpoint.name, endpoint.account_ids) == (url, "CRM", [account])
    assert endpoint.updated_at == NOW + SECOND
    assert replace(after, endpoint=before.endpoint) == before


async def test_url_of_another_webhook_is_refused(acme: TenantWithoutServer) -> None:
    await add_webhook(acme.database, acme.workspace, url="https://example.com/hook")
    webhook_id = await add_webhook(acme.database, acme.workspace)
    argument, _ = await expect_refusal(
        acme, InvalidInput, update(acme, webhook_id, url="https://example.com/hook")
    )
    assert argument == "url"
    other = TenantWithoutServer(acme.database, await add_workspace(acme.database))
    await create(other)


async def test_concurrent_updates_are_not_lost(acme: TenantWithoutServer) -> None:
    await add_account(acme.database, acme.workspace, platform="x")
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await asyncio.gather(
        update(acme, webhook_id, name="CRM"),
        update(acme, webhook_id, description="Sales"),
        update(acme, webhook_id, platforms=["x"]),
        update(acme, webhook_id, url="https://example.com/new"),
    )
    endpoint = (await stored_webhook(acme.database, acme.workspace, webhook_id)).endpoint
    assert (endpoint.name, endpoint.description, endpoint.url) == (
        "CRM",
        "Sales",
        "https://example.com/new",
    )
    assert [*endpoint.platforms] == ["x"]


# Enable.


async def add_disabled_after_3_events(acme: TenantWithoutServer) -> WebhookId:
    """A disabled endpoint that has seen 3 of 6 events, of one second each."""
    account = await add_account(acme.database, acme.workspace)
    for number in range(6):
        await add_events(
            acme.database, acme.workspace, connected(account), at=NOW + number * SECOND
        )
    return await add_webhook(
        acme.database,
        acme.workspace,
        is_active=False,
        disabled_reason=DisabledReason.FAILING,
        auto_disabled_at=NOW,
        consecutive_failures=7,
        failing_since=NOW - DAY,
        feed_seq=3,
    )


@pytest.mark.parametrize(
    ("resume_after", "expected"),
    [
        (None, [4, 5, 6]),
        (FEED_START, [1, 2, 3, 4, 5, 6]),
        (FeedPosition(1, NOW), [2, 3, 4, 5, 6]),
        (FeedPosition(5, NOW + 4 * SECOND), [6]),
        (FeedPosition(6, NOW + 5 * SECOND), []),
    ],
    ids=str,
)
async def test_enabled_webhook_resumes_after_a_position(
    acme: TenantWithoutServer, resume_after: FeedPosition | None, expected: list[int]
) -> None:
    webhook_id = await add_disabled_after_3_events(acme)
    await store_all(acme.database)
    assert await stored_deliveries(acme.database, acme.workspace, webhook_id) == []

    await update(acme, webhook_id, resume_after, is_active=True)
    await store_all(acme.database)

    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    assert [each.event_seq for each in deliveries] == expected
    endpoint = (await stored_webhook(acme.database, acme.workspace, webhook_id)).endpoint
    assert (endpoint.is_active, endpoint.disabled_reason, endpoint.auto_disabled_at) == (
        True,
        None,
        None,
    )
    assert (endpoint.consecutive_failures, endpoint.failing_since) == (0, None)


async def test_enabled_webhook_gets_again_what_was_not_delivered(acme: TenantWithoutServer) -> None:
    webhook_id = await add_disabled_after_3_events(acme)
    await add_deliveries(acme.database, acme.workspace, webhook_id, [DELIVERED, GIVEN_UP, RETRYING])
    await update(acme, webhook_id, is_active=True)
    await store_all(acme.database)

    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    assert [each.state for each in deliveries] == [
        DELIVERED,
        DeliveryState(next_attempt_at=NOW + SECOND, attempts=GIVEN_UP.attempts),
        DeliveryState(next_attempt_at=NOW + SECOND, attempts=RETRYING.attempts),
        *[PENDING] * 3,
    ]


async def test_enabled_webhook_gets_nothing_from_before_the_position(
    acme: TenantWithoutServer,
) -> None:
    webhook_id = await add_disabled_after_3_events(acme)
    await add_deliveries(acme.database, acme.workspace, webhook_id, [GIVEN_UP, RETRYING, RETRYING])
    await update(acme, webhook_id, FeedPosition(2, NOW + SECOND), is_active=True)

    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    assert [each.state for each in deliveries] == [
        GIVEN_UP,
        replace(RETRYING, next_attempt_at=None, given_up_at=NOW + SECOND),
        DeliveryState(next_attempt_at=NOW + SECOND, attempts=RETRYING.attempts),
    ]


async def test_enabled_webhook_resumes_deliveries_whose_lease_has_expired(
    acme: TenantWithoutServer,
) -> None:
    webhook_id = await add_disabled_after_3_events(acme)
    attempted = replace(LEASED, next_attempt_at=NOW + DAY)
    states = [LEASED, attempted, LEASED, attempted]
    await add_deliveries(acme.database, acme.workspace, webhook_id, states)
    await update(acme, webhook_id, FeedPosition(2, NOW + SECOND), is_active=True)

    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    assert [each.state for each in deliveries] == [
        DeliveryState(next_attempt_at=None, given_up_at=NOW + SECOND),
        attempted,
        DeliveryState(next_attempt_at=NOW + SECOND),
        attempted,
    ]


@pytest.mark.parametrize(
    "resume_after",
    [
        FEED_START,
        FeedPosition(1, NOW),
        FeedPosition(6, NOW),
        FeedPosition(7, NOW + 6 * SECOND),
        None,
    ],
    ids=str,
)
async def test_position_whose_events_are_not_stored_needs_a_resync(
    acme: TenantWithoutServer, resume_after: FeedPosition | None
) -> None:
    """Pruned, assigned again after a restored backup, or of the future."""
    webhook_id = await add_disabled_after_3_events(acme)
    await prune_events(acme.database, NOW + DAY + 5 * SECOND, retention=DAY)
    argument, message = await expect_refusal(
        acme, ResyncRequired, update(acme, webhook_id, resume_after, is_active=True)
    )
    assert argument == "resumeAfter"
    assert message.startswith(
        "The events since the webhook was disabled are no longer all stored."
        if resume_after is None
        else "The changes after this cursor are no longer stored."
    )


@pytest.mark.parametrize(
    ("is_active", "changes"),
    [(True, {"is_active": True}), (True, {"name": "CRM"}), (False, {"is_active": False})],
)
async def test_position_needs_a_webhook_that_is_enabled(
    acme: TenantWithoutServer, is_active: bool, changes: dict[str, Any]
) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace, is_active=is_active)
    assert await expect_refusal(
        acme, InvalidInput, update(acme, webhook_id, FEED_START, **changes)
    ) == (
        "resumeAfter",
        "resumeAfter needs isActive: true, and a webhook that is not active.",
    )


# Rotate and delete.


async def test_rotation_keeps_the_old_secret_for_a_day(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    before = await stored_webhook(acme.database, acme.workspace, webhook_id)
    context = webhook_context(acme.workspace, "rotateWebhookSecret")
    rotated = await webhook_service(acme.database).rotate_secret(context, webhook_id, None)

    after = await stored_webhook(acme.database, acme.workspace, webhook_id)
    assert rotated.secret not in (SECRET, after.encrypted_secret)
    assert after.encrypted_previous_secret == before.encrypted_secret
    assert after.previous_secret_expires_at == NOW + DAY


async def test_deletion_erases_the_secrets(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    encrypted = (await stored_webhook(acme.database, acme.workspace, webhook_id)).encrypted_secret
    context = webhook_context(acme.workspace, "deleteWebhook")
    await webhook_service(acme.database).delete(context, webhook_id, None)

    assert encrypted not in str(await all_rows(acme.database))
    assert await list_webhooks(acme.database.reader(acme.workspace)) == []


async def test_foreign_deleted_and_missing_webhooks_are_not_found(
    acme: TenantWithoutServer,
) -> None:
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)
    other = await add_workspace(acme.database)
    foreign, deleted = (
        await add_webhook(acme.database, other),
        await add_webhook(acme.database, acme.workspace),
    )
    deliveries = [
        (await add_deliveries(acme.database, workspace, webhook_id, [GIVEN_UP]))[0]
        for workspace, webhook_id in ((other, foreign), (acme.workspace, deleted))
    ]
    await service.delete(context, deleted, None)
    messages = set()
    for webhook_id in (foreign, deleted, WebhookId(uuid4())):
        for call in (
            update(acme, webhook_id, name="x"),
            service.delete(context, webhook_id, None),
            service.rotate_secret(context, webhook_id, None),
            service.send_test(acme.workspace, webhook_id),
            service.redeliver_failed(context, webhook_id, NOW, None),
            service.plan_redelivery(acme.workspace, webhook_id, NOW, limit=10),
        ):
            messages.add(await expect_refusal(acme, NotFound, call))
    for webhook_id, delivery_id in zip((foreign, deleted), deliveries, strict=True):
        call = service.redeliver(context, webhook_id, delivery_id, None)
        messages.add(await expect_refusal(acme, NotFound, call))
    assert len(messages) == 1


# Redeliver.


@pytest.mark.parametrize("state", [PENDING, RETRYING, DELIVERED, GIVEN_UP], ids=str)
async def test_delivery_is_redelivered_by_the_whole_schedule(
    acme: TenantWithoutServer, state: DeliveryState
) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    ids = await add_deliveries(acme.database, acme.workspace, webhook_id, [state, DELIVERED])
    context = webhook_context(acme.workspace, "redeliverWebhook", NOW + SECOND)
    await webhook_service(acme.database).redeliver(context, webhook_id, ids[0], None)

    assert await delivery_states(acme.database, acme.workspace, ids) == {
        ids[0]: DeliveryState(next_attempt_at=NOW + SECOND, attempts=state.attempts),
        ids[1]: DELIVERED,
    }


async def test_delivery_that_is_attempted_is_not_redelivered(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    (delivery,) = await add_deliveries(acme.database, acme.workspace, webhook_id, [LEASED])
    context = webhook_context(acme.workspace)
    call = webhook_service(acme.database).redeliver(context, webhook_id, delivery, None)
    _, message = await expect_refusal(acme, Conflict, call)
    assert message == "The delivery is being attempted right now. Try again in a minute."


async def test_delivery_whose_lease_has_expired_is_redelivered(acme: TenantWithoutServer) -> None:
    """As after a crash, for an endpoint that is not active, whose deliveries no process leases again."""
    webhook_id = await add_webhook(acme.database, acme.workspace, is_active=False)
    (delivery,) = await add_deliveries(acme.database, acme.workspace, webhook_id, [LEASED])
    service, just_before = webhook_service(acme.database), NOW + SECOND - timedelta(milliseconds=1)

    context = webhook_context(acme.workspace, "redeliverWebhook", just_before)
    await expect_refusal(acme, Conflict, service.redeliver(context, webhook_id, delivery, None))
    context = webhook_context(acme.workspace, "redeliverWebhook", NOW + SECOND)
    await service.redeliver(context, webhook_id, delivery, None)

    assert await delivery_states(acme.database, acme.workspace, [delivery]) == {
        delivery: DeliveryState(next_attempt_at=NOW + SECOND)
    }


async def test_what_failed_since_a_time_is_redelivered(acme: TenantWithoutServer) -> None:
    webhook_id, other = [await add_webhook(acme.database, acme.workspace) for _ in range(2)]
    attempted = replace(RETRYING, lease_token=uuid4())
    lease_expired = replace(attempted, next_attempt_at=NOW)
    states = [GIVEN_UP, RETRYING, lease_expired, PENDING, DELIVERED, attempted]
    old = await add_deliveries(
        acme.database, acme.workspace, webhook_id, [GIVEN_UP], created_at=NOW - SECOND
    )
    new = await add_deliveries(acme.database, acme.workspace, webhook_id, states, first_seq=2)
    others = await add_deliveries(acme.database, acme.workspace, other, [GIVEN_UP])
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)

    assert await service.redeliver_failed(context, webhook_id, NOW, None) == Redelivery(3, False)

    stored = await delivery_states(acme.database, acme.workspace, [*old, *new, *others])
    assert [stored[each] for each in (*old, *new, *others)] == [
        GIVEN_UP,
        DeliveryState(next_attempt_at=NOW, attempts=9),
        *[DeliveryState(next_attempt_at=NOW, attempts=2)] * 2,
        *states[3:],
        GIVEN_UP,
    ]


async def test_redelivery_of_many_is_limited(acme: TenantWithoutServer) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_deliveries(
        acme.database, acme.workspace, webhook_id, [GIVEN_UP] * (MAX_REDELIVERIES + 1)
    )
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)
    results = [await service.redeliver_failed(context, webhook_id, NOW, None) for _ in range(3)]
    assert results == [Redelivery(500, True), Redelivery(1, False), Redelivery(0, False)]


async def test_redelivery_and_results_do_not_overwrite_each_other(
    acme: TenantWithoutServer,
) -> None:
    webhook_id = await add_webhook(acme.database, acme.workspace, last_success_at=NOW)
    process = DeliveryProcess(acme.database, acme.workspace, webhook_id)
    service, context = webhook_service(acme.database), webhook_context(acme.workspace)
    await add_deliveries(
        acme.database, acme.workspace, webhook_id, [PENDING] * 20 + [GIVEN_UP] * 20
    )
    batch = await process.lease()

    await asyncio.gather(
        process.respond(batch, 200), service.redeliver_failed(context, webhook_id, NOW, None)
    )

    deliveries = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    assert [each.state.status for each in deliveries] == [DeliveryStatus.DELIVERED] * 20 + [
        DeliveryStatus.PENDING
    ] * 20
