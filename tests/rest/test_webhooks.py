"""`/webhooks…`: documented objects, our own endpoints, refusals and repeated requests."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db.core.database import Database
from app.domain.times import format_instant
from app.domain.webhooks.commands import ALL_EVENT_TYPES
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.errors import UUID_MESSAGE
from tests.factories import NOW, add_account
from tests.rest.envelope import failure_error, success_data
from tests.rest.write_requests import (
    expect_success,
    expect_write_refusal,
    field_error,
    non_retryable_error,
    send_json,
)
from tests.webhook_receiver import WebhookReceiver
from tests.webhook_rows import (
    ERROR,
    MINUTE,
    add_delivery,
    add_webhook,
    delivered,
    disabled_webhook,
    given_up,
    retrying,
)
from tests.webhook_tenant import open_webhook_tenant

URL = "https://receiver.example/hook"
NEW = {"url": URL, "events": ["post.published", "media.uploaded"]}
NOW_TEXT = format_instant(NOW)
NOT_FOUND = non_retryable_error(
    "not_found", None, "The webhook was not found: this workspace has none with that id."
)
OBJECT = {
    "url": URL,
    "events": ["post.published", "media.uploaded"],
    "name": None,
    "description": None,
    "is_active": True,
    "consecutive_failures": 0,
    "auto_disabled_at": None,
    "last_delivery_at": None,
    "last_success_at": None,
    "last_failure_at": None,
    "created_at": NOW_TEXT,
    "updated_at": NOW_TEXT,
    "platforms": [],
    "account_ids": [],
    "disabled_reason": None,
}


async def create(tenant: Tenant, body: object = NEW, **headers: str) -> dict[str, Any]:
    data: dict[str, Any] = await expect_success(
        tenant, "POST", "/v1/webhooks", body, status=201, **headers
    )
    return data


async def add_to(tenant: Tenant, **columns: Any) -> UUID:
    return await add_webhook(tenant.database, tenant.workspace, **columns)


async def test_created_webhook_has_the_documented_members_and_its_secret(
    webhook_tenant: Tenant,
) -> None:
    created = await create(webhook_tenant)

    webhook_id, secret, warning = (created.pop(name) for name in ("id", "secret", "warning"))
    assert secret.startswith("whsec_")
    assert warning.startswith("No process of this installation has delivered")
    assert created == {
        "secret_warning": "Store the secret now: it is not displayed again.",
        **OBJECT,
    }
    path = f"/v1/webhooks/{webhook_id}"
    read = success_data(await webhook_tenant.client.get(path))
    assert list(read.items()) == list({"id": webhook_id, **OBJECT}.items())
    assert success_data(await webhook_tenant.client.get("/v1/webhooks")) == {"webhooks": [read]}


async def test_disabled_webhook_has_its_reason(webhook_tenant: Tenant) -> None:
    webhook = await add_to(webhook_tenant, **disabled_webhook())
    read = success_data(await webhook_tenant.client.get(f"/v1/webhooks/{webhook}"))
    assert (read["is_active"], read["disabled_reason"]) == (False, "failing")
    assert (read["consecutive_failures"], read["auto_disabled_at"]) == (7, NOW_TEXT)


async def test_body_that_is_sent_again_returns_the_first_secret(webhook_tenant: Tenant) -> None:
    first = await create(webhook_tenant)
    assert await create(webhook_tenant) == first
    path = f"/v1/webhooks/{first['id']}"
    await expect_success(webhook_tenant, "DELETE", path)
    assert (await create(webhook_tenant))["id"] != first["id"]
    error = await expect_write_refusal(
        webhook_tenant, "POST", "/v1/webhooks", NEW, status=400, x_allow_duplicate="1"
    )
    assert error == field_error(
        "validation_error",
        "url",
        "Another webhook of this workspace has this URL. Add the events to that one.",
    )


async def test_webhook_is_changed_by_the_members_that_are_sent(webhook_tenant: Tenant) -> None:
    account = await add_account(webhook_tenant.database, webhook_tenant.workspace, platform="x")
    created = await create(webhook_tenant, {**NEW, "name": "CRM", "is_active": False})
    path = f"/v1/webhooks/{created['id']}"
    changes = {
        "url": f"{URL}/2",
        "events": ["account.reconnect_needed"],
        "platforms": ["x"],
        "account_ids": [account],
        "name": None,
        "description": "Ask Ann.",
        "is_active": False,
    }

    changed = await expect_success(webhook_tenant, "PATCH", path, changes)

    assert (created["name"], created["is_active"]) == ("CRM", True)
    assert changed == {"id": created["id"], **OBJECT, **changes}
    # An object that was read may be sent back.
    assert await expect_success(webhook_tenant, "PATCH", path, changed) == changed


async def test_deleted_webhook_is_not_found(webhook_tenant: Tenant) -> None:
    webhook_id = (await create(webhook_tenant))["id"]
    path = f"/v1/webhooks/{webhook_id}"
    assert await expect_success(webhook_tenant, "DELETE", path) == {
        "id": webhook_id,
        "deleted": True,
    }

    for missing in (path, f"/v1/webhooks/{uuid4()}"):
        for read in (missing, f"{missing}/deliveries"):
            assert failure_error(await webhook_tenant.client.get(read), 404) == NOT_FOUND
        for method, write, body in (
            ("PATCH", missing, {"name": "CRM"}),
            ("DELETE", missing, None),
            ("POST", f"{missing}/test", None),
            ("POST", f"{missing}/rotate-secret", None),
            ("POST", f"{missing}/redeliver", {"failed_since": NOW_TEXT}),
        ):
            error = await expect_write_refusal(webhook_tenant, method, write, body, status=404)
            assert error == NOT_FOUND
    assert success_data(await webhook_tenant.client.get("/v1/webhooks")) == {"webhooks": []}


BAD_BODIES: list[tuple[dict[str, Any], str, str]] = [
    ({"url": None}, "url", "url is missing."),
    ({"url": 5}, "url", "url must be a string."),
    ({"events": None}, "events", "events is missing."),
    ({"events": "post.published"}, "events", "events must be a list."),
    ({"events": [5]}, "events[0]", "events[0] must be a string."),
    (
        {"events": ["post.published", "post.liked"]},
        "events[1]",
        f"events[1] must be one of {ALL_EVENT_TYPES}; it is 'post.liked'.",
    ),
    ({"events": []}, "events", f"events must have at least one of {ALL_EVENT_TYPES}."),
    ({"platforms": "x"}, "platforms", "platforms must be a list."),
    (
        {"account_ids": [7]},
        "account_ids",
        "account_ids names account 7, which this workspace does not have.",
    ),
    ({"name": 5}, "name", "name must be a string."),
]


@pytest.mark.parametrize(("members", "field", "message"), BAD_BODIES)
async def test_bad_member_is_refused_by_name(
    webhook_tenant: Tenant, members: dict[str, Any], field: str, message: str
) -> None:
    error = await expect_write_refusal(
        webhook_tenant, "POST", "/v1/webhooks", {**NEW, **members}, status=400
    )
    assert error == field_error("validation_error", field, message)


@pytest.mark.parametrize(
    ("members", "field", "message"),
    [
        ({"url": None}, "url", "url must not be null. Omit it to leave it unchanged."),
        (
            {"is_active": None},
            "is_active",
            "is_active must not be null. Omit it to leave it unchanged.",
        ),
        ({"is_active": "no"}, "is_active", "is_active must be true or false."),
        (
            {"resume_after": "x"},
            "resume_after",
            "resume_after is not a cursor of this list in this order. Pass one that an earlier page returned,"
            " unchanged, or leave it out.",
        ),
    ],
)
async def test_bad_change_is_refused_by_name(
    webhook_tenant: Tenant, members: dict[str, Any], field: str, message: str
) -> None:
    path = f"/v1/webhooks/{await add_to(webhook_tenant)}"
    error = await expect_write_refusal(webhook_tenant, "PATCH", path, members, status=400)
    code = "bad_cursor" if field == "resume_after" else "validation_error"
    assert error == field_error(code, field, message)


async def test_malformed_id_is_invalid(webhook_tenant: Tenant) -> None:
    error = failure_error(await webhook_tenant.client.get("/v1/webhooks/1"), 400)
    assert error == field_error("invalid_id", "webhook_id", UUID_MESSAGE)


async def test_without_secrets_key_no_webhook_is_created(database: Database) -> None:
    async with open_webhook_tenant(database, SECRETS_KEY="") as tenant:
        error = await expect_write_refusal(tenant, "POST", "/v1/webhooks", NEW, status=409)
    assert error == non_retryable_error(
        "conflict",
        None,
        "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a key with"
        " `post-results secrets new-key`.",
    )


async def test_secret_is_rotated(webhook_tenant: Tenant) -> None:
    created = await create(webhook_tenant)
    path = f"/v1/webhooks/{created['id']}/rotate-secret"
    rotated = await expect_success(webhook_tenant, "POST", path)
    secret = rotated.pop("secret")
    assert secret != created["secret"]
    assert rotated == {
        "id": created["id"],
        "secret_warning": created["secret_warning"],
        **OBJECT,
        "previous_secret_expires_at": "2026-04-16T15:00:00.000Z",
    }


async def test_rotation_that_is_repeated_soon_has_one_effect(webhook_tenant: Tenant) -> None:
    first, second = [
        f"/v1/webhooks/{(await create(webhook_tenant, {**NEW, 'url': url}))['id']}/rotate-secret"
        for url in (URL, f"{URL}/2")
    ]

    rotated = await expect_success(webhook_tenant, "POST", first)
    assert await expect_success(webhook_tenant, "POST", first) == rotated
    other = await expect_success(webhook_tenant, "POST", second)
    duplicate = await expect_success(webhook_tenant, "POST", first, x_allow_duplicate="1")
    with_key = await expect_success(webhook_tenant, "POST", first, idempotency_key="k1")
    assert await expect_success(webhook_tenant, "POST", first, idempotency_key="k1") == with_key
    assert len({each["secret"] for each in (rotated, other, duplicate, with_key)}) == 4


async def test_test_returns_the_status_of_the_receiver(webhook_tenant: Tenant) -> None:
    async with WebhookReceiver(200).running() as receiver:
        webhook_id = (await create(webhook_tenant, {**NEW, "url": receiver.url}))["id"]
        path = f"/v1/webhooks/{webhook_id}/test"
        accepted = await expect_success(webhook_tenant, "POST", path)
    refused = await expect_success(webhook_tenant, "POST", path)

    assert accepted == {
        "ok": True,
        "status": 200,
        "duration_ms": accepted["duration_ms"],
        "error": None,
        "message": f"The receiver accepted the test with 200 in {accepted['duration_ms']} ms.",
    }
    assert (refused["ok"], refused["status"]) == (False, 0)
    assert refused["message"] == f"The test failed. {refused['error']}"


async def test_deliveries_are_listed_and_filtered(webhook_tenant: Tenant) -> None:
    webhook = await add_to(webhook_tenant)
    path = f"/v1/webhooks/{webhook}/deliveries"
    ids = [
        str(
            await add_delivery(
                webhook_tenant.database, webhook_tenant.workspace, webhook, state, event_seq=seq
            )
        )
        for seq, state in enumerate((given_up(), delivered(), retrying()))
    ]

    first = success_data(await webhook_tenant.client.get(f"{path}?limit=2"))
    second = success_data(await webhook_tenant.client.get(f"{path}?after={first['cursor']}"))

    assert first["deliveries"][0] == {
        "id": ids[2],
        "event_id": str(UUID(int=2)),
        "event": "post.published",
        "status": "retrying",
        "post_id": None,
        "attempt_count": 1,
        "last_status": 500,
        "last_error": ERROR,
        "next_attempt_at": format_instant(NOW + 5 * MINUTE),
        "delivered_at": None,
        "given_up_at": None,
        "created_at": NOW_TEXT,
    }
    assert [delivery["id"] for delivery in first["deliveries"]] == [ids[2], ids[1]]
    assert ([delivery["id"] for delivery in second["deliveries"]], first["has_more"]) == (
        [ids[0]],
        True,
    )
    assert second["has_more"] is False
    for query, expected in (
        ("status=given_up,delivered", [ids[1], ids[0]]),
        ("event=post.published&status=retrying", [ids[2]]),
        ("event=post.failed", []),
    ):
        found = success_data(await webhook_tenant.client.get(f"{path}?{query}"))["deliveries"]
        assert [delivery["id"] for delivery in found] == expected
    error = failure_error(await webhook_tenant.client.get(f"{path}?status=done"), 400)
    assert error == field_error(
        "validation_error",
        "status",
        "status must be one of pending, retrying, delivered, given_up; it is 'done'.",
    )


async def test_failed_deliveries_are_attempted_again(webhook_tenant: Tenant) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    webhook = await add_to(webhook_tenant)
    delivery = await add_delivery(database, workspace, webhook, given_up(), event_seq=1)
    path = f"/v1/webhooks/{webhook}/redeliver"
    failed = {"failed_since": NOW_TEXT}
    before = await all_rows(database)

    planned = await expect_success(webhook_tenant, "POST", path, {**failed, "dry_run": True})
    assert await all_rows(database) == before
    redelivered = await expect_success(webhook_tenant, "POST", path, {"plan": planned.pop("plan")})
    again = await expect_success(webhook_tenant, "POST", path, {"delivery_id": str(delivery)})

    assert planned == {"count": 0, "has_more": False, "planned_count": 1}
    result = {"count": 1, "has_more": False, "planned_count": None, "plan": None}
    assert redelivered == again == result
    error = await expect_write_refusal(webhook_tenant, "POST", path, status=400)
    assert error == field_error(
        "validation_error",
        "delivery_id",
        "Pass exactly one of delivery_id, failed_since and plan.",
    )


async def test_idempotency_key_has_one_effect(webhook_tenant: Tenant) -> None:
    first = await create(webhook_tenant, idempotency_key="k1")
    assert await create(webhook_tenant, idempotency_key="k1") == first
    response = await send_json(
        webhook_tenant, "POST", "/v1/webhooks", {**NEW, "name": "CRM"}, idempotency_key="k1"
    )
    assert failure_error(response, 422)["code"] == "idempotency_key_reused"
