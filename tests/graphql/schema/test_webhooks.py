"""Queries of webhooks and their deliveries: fields, pages, filters and permissions."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from app.db.models import Webhook
from app.domain.api_keys import Scope
from app.domain.ids import PostId, WebhookId
from app.domain.times import format_instant
from app.domain.webhooks.event_types import WebhookEventType
from tests.clients import Tenant
from tests.factories import NOW, add_account, add_api_key, add_post, published
from tests.graphql.tenant_objects import BAD_CURSOR_MESSAGE, client_with_settings, node_id
from tests.raw_statements import run_raw
from tests.recording_driver import record_statements
from tests.webhook_rows import (
    ERROR,
    MINUTE,
    add_delivery,
    add_webhook,
    being_attempted,
    delivered,
    disabled_webhook,
    given_up,
    pending,
    retrying,
)

NOW_TEXT = format_instant(NOW)

WEBHOOK = """
query ($id: UUID!) {
  webhook(webhookId: $id) {
    id webhookId url events platforms accountIds name description isActive consecutiveFailures
    failingSince disabledReason autoDisabledAt lastDeliveryAt lastSuccessAt lastFailureAt
    previousSecretExpiresAt createdAt updatedAt
  }
}
"""
DELIVERIES = """
query ($id: UUID!, $filter: WebhookDeliveryFilter, $first: Int, $after: String) {
  webhook(webhookId: $id) {
    deliveries(filter: $filter, first: $first, after: $after) {
      nodes { deliveryId } pageInfo { hasNextPage hasPreviousPage endCursor } edges { cursor }
    }
  }
}
"""
ALL_DELIVERIES = """
query ($filter: WebhookDeliveryFilter, $first: Int, $after: String) {
  webhookDeliveries(filter: $filter, first: $first, after: $after) {
    nodes { deliveryId } pageInfo { hasNextPage endCursor }
  }
}
"""


async def add_to(tenant: Tenant, **columns: Any) -> WebhookId:
    return await add_webhook(tenant.database, tenant.workspace, **columns)


async def deliver(tenant: Tenant, webhook: UUID, state: Any, seq: int, **values: Any) -> str:
    """Add a delivery of the event with this number, and return its id."""
    delivery = await add_delivery(
        tenant.database, tenant.workspace, webhook, state, event_seq=seq, **values
    )
    return str(delivery)


async def post_of(tenant: Tenant) -> PostId:
    account = await add_account(tenant.database, tenant.workspace)
    return (await add_post(tenant.database, tenant.workspace, {account: published()})).id


async def delivery_ids(tenant: Tenant, webhook: UUID, **filters: Any) -> list[str]:
    data = await tenant.client.query(DELIVERIES, id=str(webhook), filter=filters)
    return [node["deliveryId"] for node in data["webhook"]["deliveries"]["nodes"]]


async def test_webhook_returns_all_fields(webhook_tenant: Tenant) -> None:
    columns: dict[str, Any] = {
        "url": "https://receiver.example/hook?token=1",
        "event_types": ["post.failed", "media.uploaded"],
        "platforms": ["x"],
        "account_ids": [7],
        "name": "CRM",
        "description": "Ask Ann.",
        "last_success_at": NOW - 2 * MINUTE,
        "encrypted_previous_secret": "e",
        "previous_secret_expires_at": NOW + MINUTE,
        "created_at": NOW - 3 * MINUTE,
        **disabled_webhook(),
    }
    webhook = await add_to(webhook_tenant, **columns)

    assert await webhook_tenant.client.query(WEBHOOK, id=str(webhook)) == {
        "webhook": {
            "id": node_id("Webhook", webhook),
            "webhookId": str(webhook),
            "url": "https://receiver.example/hook?token=1",
            "events": ["POST_FAILED", "MEDIA_UPLOADED"],
            "platforms": ["x"],
            "accountIds": [7],
            "name": "CRM",
            "description": "Ask Ann.",
            "isActive": False,
            "consecutiveFailures": 7,
            "failingSince": "2026-04-10T15:00:00.000Z",
            "disabledReason": "FAILING",
            "autoDisabledAt": NOW_TEXT,
            "lastDeliveryAt": NOW_TEXT,
            "lastSuccessAt": "2026-04-15T14:58:00.000Z",
            "lastFailureAt": NOW_TEXT,
            "previousSecretExpiresAt": "2026-04-15T15:01:00.000Z",
            "createdAt": "2026-04-15T14:57:00.000Z",
            "updatedAt": NOW_TEXT,
        }
    }


async def test_replaced_secret_no_longer_signs_once_it_has_expired(webhook_tenant: Tenant) -> None:
    webhook = await add_to(
        webhook_tenant, encrypted_previous_secret="e", previous_secret_expires_at=NOW
    )
    data = await webhook_tenant.client.query(WEBHOOK, id=str(webhook))
    assert data["webhook"]["previousSecretExpiresAt"] is None


async def test_webhooks_are_listed_oldest_first_without_deleted_ones(
    webhook_tenant: Tenant,
) -> None:
    newer = await add_to(webhook_tenant)
    older = await add_to(webhook_tenant, created_at=NOW - MINUTE)
    await add_to(webhook_tenant, deleted_at=NOW, is_active=False)

    data = await webhook_tenant.client.query("{ webhooks { webhookId } }")

    assert data == {"webhooks": [{"webhookId": str(older)}, {"webhookId": str(newer)}]}


DELIVERY = """
query ($id: ID!) {
  node(id: $id) {
    ... on WebhookDelivery {
      id deliveryId eventId event status postId attemptCount nextAttemptAt deliveredAt givenUpAt
      createdAt payload lastError lastStatusCode webhook { webhookId }
      attempts { number startedAt durationMs statusCode error responseBody }
    }
  }
}
"""


async def test_delivery_returns_all_fields_and_its_attempts_newest_first(
    webhook_tenant: Tenant,
) -> None:
    webhook, post = await add_to(webhook_tenant), await post_of(webhook_tenant)
    body = '{"event": "post.failed"}'
    delivery = await deliver(
        webhook_tenant,
        webhook,
        given_up(attempts=2),
        5,
        event_type=WebhookEventType.POST_FAILED,
        post_id=post,
        body=body,
        created_at=NOW - MINUTE,
    )

    data = await webhook_tenant.client.query(DELIVERY, id=node_id("WebhookDelivery", delivery))

    attempt = {"statusCode": 500, "error": ERROR}
    assert data["node"] == {
        "id": node_id("WebhookDelivery", delivery),
        "deliveryId": delivery,
        "eventId": str(UUID(int=5)),
        "event": "POST_FAILED",
        "status": "GIVEN_UP",
        "postId": str(post),
        "attemptCount": 2,
        "nextAttemptAt": None,
        "deliveredAt": None,
        "givenUpAt": NOW_TEXT,
        "createdAt": "2026-04-15T14:59:00.000Z",
        "payload": body,
        "lastError": ERROR,
        "lastStatusCode": 500,
        "webhook": {"webhookId": str(webhook)},
        "attempts": [
            {
                "number": number,
                "startedAt": f"2026-04-15T14:0{number}:00.000Z",
                "durationMs": 10 * number,
                "responseBody": f"failure {number}",
                **attempt,
            }
            for number in (2, 1)
        ],
    }


@pytest.mark.parametrize(
    ("state", "status", "next_attempt_at", "last_error", "last_status_code"),
    [
        (pending(), "PENDING", NOW_TEXT, None, None),
        (being_attempted(), "PENDING", "2026-04-15T15:01:00.000Z", None, None),
        (retrying(), "RETRYING", "2026-04-15T15:05:00.000Z", ERROR, 500),
        (delivered(attempts=2), "DELIVERED", None, None, 204),
        (retrying().redelivered(NOW), "PENDING", NOW_TEXT, ERROR, 500),
    ],
)
async def test_delivery_has_a_status_and_the_result_of_its_last_attempt(
    webhook_tenant: Tenant,
    state: Any,
    status: str,
    next_attempt_at: str | None,
    last_error: str | None,
    last_status_code: int | None,
) -> None:
    webhook = await add_to(webhook_tenant)
    delivery = await deliver(webhook_tenant, webhook, state, 1)
    fields = "status nextAttemptAt lastError lastStatusCode"
    data = await webhook_tenant.client.query(
        f"query ($id: ID!) {{ node(id: $id) {{ ... on WebhookDelivery {{ {fields} }} }} }}",
        id=node_id("WebhookDelivery", delivery),
    )
    values = (status, next_attempt_at, last_error, last_status_code)
    assert data["node"] == dict(zip(fields.split(), values, strict=True))


async def test_only_the_newest_fifty_attempts_are_returned(webhook_tenant: Tenant) -> None:
    webhook = await add_to(webhook_tenant)
    delivery = await deliver(webhook_tenant, webhook, given_up(attempts=53), 1)
    data = await webhook_tenant.client.query(
        "query ($id: ID!) { node(id: $id) { ... on WebhookDelivery { attempts { number } } } }",
        id=node_id("WebhookDelivery", delivery),
    )
    numbers = [attempt["number"] for attempt in data["node"]["attempts"]]
    assert numbers == list(range(53, 3, -1))


async def test_deliveries_come_in_pages_from_the_newest_event_on(webhook_tenant: Tenant) -> None:
    webhook, other = await add_to(webhook_tenant), await add_to(webhook_tenant)
    ids = [await deliver(webhook_tenant, webhook, pending(), seq) for seq in (1, 3, 2)]
    await deliver(webhook_tenant, other, pending(), 4)

    pages, after = [], None
    for _ in range(2):
        data = await webhook_tenant.client.query(DELIVERIES, id=str(webhook), first=2, after=after)
        page = data["webhook"]["deliveries"]
        after = page["pageInfo"]["endCursor"]
        assert after == page["edges"][-1]["cursor"]
        pages.append(([node["deliveryId"] for node in page["nodes"]], page["pageInfo"]))

    assert [page for page, _ in pages] == [[ids[1], ids[2]], [ids[0]]]
    assert [(info["hasNextPage"], info["hasPreviousPage"]) for _, info in pages] == [
        (True, False),
        (False, True),
    ]
    for query, variables in ((DELIVERIES, {"id": str(other)}), (ALL_DELIVERIES, {})):
        (error,) = (await webhook_tenant.client.execute(query, after=after, **variables))["errors"]
        assert error["extensions"] == {"code": "BAD_CURSOR", "field": "after"}
        assert error["message"] == BAD_CURSOR_MESSAGE


async def test_deliveries_are_filtered(webhook_tenant: Tenant) -> None:
    webhook, post = await add_to(webhook_tenant), await post_of(webhook_tenant)
    failed = WebhookEventType.POST_FAILED
    first = await deliver(webhook_tenant, webhook, pending(), 1, created_at=NOW - MINUTE)
    second = await deliver(webhook_tenant, webhook, retrying(), 2, event_type=failed)
    third = await deliver(webhook_tenant, webhook, delivered(), 3, post_id=post)
    fourth = await deliver(webhook_tenant, webhook, given_up(), 4, created_at=NOW + MINUTE)

    expected: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [fourth, third, second, first]),
        ({"status": ["PENDING"]}, [first]),
        ({"status": ["RETRYING"]}, [second]),
        ({"status": ["DELIVERED"]}, [third]),
        ({"status": ["GIVEN_UP"]}, [fourth]),
        ({"status": ["GIVEN_UP", "PENDING"]}, [fourth, first]),
        ({"status": []}, []),
        ({"event": ["POST_FAILED"]}, [second]),
        ({"event": ["POST_FAILED", "POST_PUBLISHED"]}, [fourth, third, second, first]),
        ({"event": []}, []),
        ({"postId": str(post)}, [third]),
        ({"postId": str(uuid4())}, []),
        ({"createdAfter": NOW_TEXT}, [fourth, third, second]),
        ({"createdBefore": NOW_TEXT}, [first]),
        ({"createdAfter": NOW_TEXT, "status": ["DELIVERED"]}, [third]),
    ]
    for filters, ids in expected:
        assert await delivery_ids(webhook_tenant, webhook, **filters) == ids, filters
        data = await webhook_tenant.client.query(ALL_DELIVERIES, filter=filters)
        found = [node["deliveryId"] for node in data["webhookDeliveries"]["nodes"]]
        assert found == ids, filters


@pytest.mark.parametrize("has_post", [False, True])
async def test_pages_of_all_webhooks_merge_their_deliveries(
    webhook_tenant: Tenant, has_post: bool
) -> None:
    post = await post_of(webhook_tenant)
    webhooks = [await add_to(webhook_tenant) for _ in range(3)]
    deleted = await add_to(webhook_tenant, deleted_at=NOW, is_active=False)
    added: list[tuple[int, str]] = []
    for number, webhook in enumerate(webhooks):
        for seq in range(1, 9, number + 1):
            id_ = await deliver(webhook_tenant, webhook, pending(), seq, post_id=post)
            added.append((seq, id_))
    await deliver(webhook_tenant, deleted, pending(), 5, post_id=post)

    found: list[str] = []
    page: dict[str, Any] = {"pageInfo": {"hasNextPage": True, "endCursor": None}}
    while page["pageInfo"]["hasNextPage"]:
        data = await webhook_tenant.client.query(
            ALL_DELIVERIES,
            filter={"postId": str(post)} if has_post else None,
            first=3,
            after=page["pageInfo"]["endCursor"],
        )
        page = data["webhookDeliveries"]
        found += [node["deliveryId"] for node in page["nodes"]]

    assert found == [id_ for _, id_ in sorted(added, reverse=True)]


async def test_attempts_of_many_deliveries_are_read_by_one_statement(
    webhook_tenant: Tenant,
) -> None:
    webhook = await add_to(webhook_tenant)
    for seq in range(1, 6):
        await deliver(webhook_tenant, webhook, given_up(), seq)
    fields = "attempts { number } lastError lastStatusCode webhook { name }"

    with record_statements(webhook_tenant.database) as statements:
        await webhook_tenant.client.query(f"{{ webhookDeliveries {{ nodes {{ {fields} }} }} }}")

    tables = [
        table
        for statement in statements
        if (table := statement.text.partition("FROM ")[2].split()[0]).startswith("webhook")
    ]
    assert sorted(tables) == [
        *("webhook", "webhook"),
        "webhook_delivery",
        *("webhook_delivery_attempt", "webhook_delivery_attempt"),
    ]


async def test_deleted_webhook_and_its_deliveries_do_not_exist(webhook_tenant: Tenant) -> None:
    webhook = await add_to(webhook_tenant)
    delivery = await deliver(webhook_tenant, webhook, delivered(), 1)
    ids = [node_id("Webhook", webhook), node_id("WebhookDelivery", delivery)]
    query = (
        "query ($ids: [ID!]!, $id: UUID!) { nodes(ids: $ids) { id } webhook(webhookId: $id) { id }"
        " webhooks { id } webhookDeliveries { nodes { id } } }"
    )
    before = await webhook_tenant.client.query(query, ids=ids, id=str(webhook))
    assert before == {
        "nodes": [{"id": id_} for id_ in ids],
        "webhook": {"id": ids[0]},
        "webhooks": [{"id": ids[0]}],
        "webhookDeliveries": {"nodes": [{"id": ids[1]}]},
    }

    delete = update(Webhook).values(deleted_at=NOW, is_active=False)
    await webhook_tenant.database.write_all_workspaces(lambda session: run_raw(session, delete))

    assert await webhook_tenant.client.query(query, ids=ids, id=str(webhook)) == {
        "nodes": [None, None],
        "webhook": None,
        "webhooks": [],
        "webhookDeliveries": {"nodes": []},
    }


async def test_webhooks_need_the_scope_admin(acme: Tenant) -> None:
    scopes = [scope for scope in Scope if scope is not Scope.ADMIN]
    key = await add_api_key(acme.database, acme.workspace, scopes=scopes)
    client = acme.client.with_token(key.token)
    webhook = await add_to(acme)
    delivery = await deliver(acme, webhook, delivered(), 1)
    for field in (
        "webhooks { id }",
        f'webhook(webhookId: "{webhook}") {{ id }}',
        "webhookDeliveries { nodes { id } }",
        f'node(id: "{node_id("Webhook", webhook)}") {{ id }}',
        f'nodes(ids: ["{node_id("WebhookDelivery", delivery)}"]) {{ id }}',
    ):
        assert await client.expect_error(f"{{ {field} }}") == (
            "INSUFFICIENT_SCOPE",
            None,
            "This needs an API key with the scope admin.",
        ), field


async def test_deliveries_count_for_the_limits_of_a_response(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace, scopes=[Scope.READ, Scope.ADMIN])
    webhook = await add_to(acme)
    await deliver(acme, webhook, given_up(attempts=6), 1)
    async with client_with_settings(
        acme, GRAPHQL_MAX_LIST_ENTRIES="5", GRAPHQL_MAX_NODES="100"
    ) as unprivileged:
        client = unprivileged.with_token(key.token)
        of_attempts = await client.expect_error(
            "{ webhookDeliveries { nodes { attempts { number } } } }"
        )
        of_nodes = await client.expect_error(
            "{ webhookDeliveries(first: 100) { nodes { webhook { deliveries { nodes { id } } } } } }"
        )
    assert of_attempts[0] == of_nodes[0] == "LIMIT_EXCEEDED"
    assert of_nodes[2] == "The document asks for 2100 nodes; at most 100 are allowed."
