"""Mutations of webhooks: effects, refusals, real test requests, and redelivery."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.db.core.database import Database
from app.db.core.statements import Statement
from app.db.models import Webhook
from app.db.repositories.webhooks import record_poll
from app.domain.events import Event, EventKind
from app.domain.ids import WebhookId, WorkspaceId
from app.domain.signing import CursorCodec, KeysetPosition
from app.domain.times import format_instant
from app.domain.webhooks.endpoints import MAX_ENDPOINTS
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.db.repositories.event_rows import append_test_events, numbered_events
from tests.domain.errors import ACCOUNT_ID_MESSAGE
from tests.factories import NOW, add_account, add_workspace
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.webhook_receiver import ReceiverResponse, WebhookReceiver
from tests.webhook_rows import (
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
from tests.webhook_tenant import open_webhook_tenant

URL = "https://receiver.example/hook"
SECRET_WARNING = "Store the secret now: it is not displayed again."
NO_PROCESS_WARNING = (
    "No process of this installation has delivered or looked for deliveries of webhooks for a minute: start"
    " one with `post-results serve` or `post-results worker`, without the setting WEBHOOKS=no."
)
MISSING = str(UUID(int=0xDEAD))

WEBHOOK = """
fragment W on Webhook {
  webhookId url events platforms accountIds name description isActive consecutiveFailures
  disabledReason autoDisabledAt previousSecretExpiresAt createdAt updatedAt
}
"""


def document(name: str, fields: str) -> str:
    input_type = f"{name[0].upper()}{name[1:]}Input"
    return f"mutation ($input: {input_type}!) {{ payload: {name}(input: $input) {{ {fields} }} }}"


CREATE = document("createWebhook", "webhook { ...W } secret secretWarning warning") + WEBHOOK
UPDATE = document("updateWebhook", "webhook { ...W }") + WEBHOOK
DELETE = document("deleteWebhook", "webhookId")
ROTATE = (
    document("rotateWebhookSecret", "webhook { ...W } secret secretWarning previousSecretExpiresAt")
    + WEBHOOK
)
TEST = document("testWebhook", "ok statusCode durationMs headers { name value } body error message")
REDELIVER = document("redeliverWebhook", "webhook { webhookId } count hasMore plannedCount plan")

NEW = {"url": URL, "events": ["POST_PUBLISHED"]}
FEED_SEQ = Statement(select(Webhook.feed_seq))
WEBHOOK_MUTATIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "createWebhook": (CREATE, NEW),
    "updateWebhook": (UPDATE, {"webhookId": MISSING}),
    "deleteWebhook": (DELETE, {"webhookId": MISSING}),
    "rotateWebhookSecret": (ROTATE, {"webhookId": MISSING}),
    "testWebhook": (TEST, {"webhookId": MISSING}),
    "redeliverWebhook": (REDELIVER, {"webhookId": MISSING, "deliveryId": MISSING}),
}


async def add_to(tenant: Tenant, **columns: Any) -> WebhookId:
    return await add_webhook(tenant.database, tenant.workspace, **columns)


async def create(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    return await run_mutation(tenant, CREATE, **{**NEW, **fields})


async def test_create_returns_the_webhook_and_its_secret_once(webhook_tenant: Tenant) -> None:
    account = await add_account(webhook_tenant.database, webhook_tenant.workspace, platform="x")
    payload = await create(
        webhook_tenant,
        url="HTTPS://Receiver.example:443/hook",
        events=["POST_FAILED", "POST_PUBLISHED", "POST_FAILED"],
        platforms=["x"],
        accountIds=[account],
        name="CRM",
        description="Ask Ann.",
    )

    secret = payload.pop("secret")
    webhook_id = payload["webhook"]["webhookId"]
    assert secret.startswith("whsec_")
    assert payload == {
        "webhook": {
            "webhookId": webhook_id,
            "url": URL,
            "events": ["POST_FAILED", "POST_PUBLISHED"],
            "platforms": ["x"],
            "accountIds": [account],
            "name": "CRM",
            "description": "Ask Ann.",
            "isActive": True,
            "consecutiveFailures": 0,
            "disabledReason": None,
            "autoDisabledAt": None,
            "previousSecretExpiresAt": None,
            "createdAt": format_instant(NOW),
            "updatedAt": format_instant(NOW),
        },
        "secretWarning": SECRET_WARNING,
        "warning": NO_PROCESS_WARNING,
    }
    assert secret not in repr(await all_rows(webhook_tenant.database))


async def test_create_warns_unless_a_process_looked_for_deliveries(webhook_tenant: Tenant) -> None:
    database = webhook_tenant.database
    warnings = []
    for number, polled_at in enumerate((NOW - MINUTE, NOW - 2 * MINUTE)):
        await database.write_all_workspaces(partial(record_poll, now=polled_at))
        payload = await create(webhook_tenant, url=f"{URL}/{number}")
        warnings.append(payload["warning"])
    assert warnings == [None, NO_PROCESS_WARNING]


async def test_webhook_receives_events_after_its_creation_only(webhook_tenant: Tenant) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    await append_test_events(database, workspace, numbered_events(3))
    await create(webhook_tenant)
    ((feed_seq,),) = await database.reader(workspace).rows(FEED_SEQ)
    assert feed_seq == 3


async def test_without_secrets_key_a_secret_is_refused(database: Database) -> None:
    async with open_webhook_tenant(database, SECRETS_KEY="") as tenant:
        webhook = await add_to(tenant)
        for call, arguments in ((CREATE, NEW), (ROTATE, {"webhookId": str(webhook)})):
            assert await expect_refusal(tenant, call, **arguments) == (
                "CONFLICT",
                None,
                "This server cannot store secrets, because SECRETS_KEY is not set. The operator can create a"
                " key with `post-results secrets new-key`.",
            )


EVENT_TYPES = "Use one of POST_SCHEDULED, POST_PUBLISHING, "
BAD_SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"url": "http:/x"}, "url", "url must be a URL that starts with https://"),
    ({"url": "https://10.0.0.1/"}, "url", "url must have a public host; 10.0.0.1 is not public."),
    ({"url": "https://a:b@c.example/"}, "url", "url must not contain a user name or password"),
    ({"url": f"{URL}/taken"}, "url", "Another webhook of this workspace has this URL."),
    ({"events": []}, "events", "events must have at least one of post.scheduled, "),
    ({"events": ["POST_LIKED"]}, "events", EVENT_TYPES),
    ({"events": ["post.published"]}, "events", EVENT_TYPES),
    ({"events": None}, "events", "null"),
    ({"platforms": ["X!"]}, "platforms[0]", "platforms[0] must be a word of lower-case letters"),
    (
        {"platforms": ["x", "threads"]},
        "platforms",
        "platforms names threads, of which this workspace has no account.",
    ),
    ({"platforms": ["x"] * 101}, "platforms", "platforms has 101 values; at most 100 are allowed"),
    ({"accountIds": [1] * 101}, "accountIds", "accountIds has 101 values; at most 100 are allowed"),
    (
        {"accountIds": [7]},
        "accountIds",
        "accountIds names account 7, which this workspace does not",
    ),
    (
        {"accountIds": [1], "platforms": ["instagram"]},
        "accountIds",
        "accountIds names account 1, whose platform x is not in platforms.",
    ),
    ({"name": "a\nb"}, "name", "name must be printable and not empty."),
    ({"name": "n" * 501}, "name", "name is 501 characters long; at most 500 are allowed."),
    (
        {"description": "d" * 2001},
        "description",
        "description is 2001 characters long; at most 2000",
    ),
    ({"description": "\0"}, "description", "description must not contain a NUL character."),
    ({"idempotencyKey": ""}, "idempotencyKey", "idempotencyKey must be printable and not empty."),
]


@pytest.mark.parametrize(("arguments", "field", "message"), BAD_SETTINGS)
async def test_bad_setting_is_refused_by_name_and_changes_nothing(
    webhook_tenant: Tenant, arguments: dict[str, Any], field: str, message: str
) -> None:
    database = webhook_tenant.database
    other = await add_workspace(database)
    for platform in ("x", "instagram"):
        await add_account(database, webhook_tenant.workspace, platform=platform)
    await add_account(database, other, id=7, platform="threads")
    await add_to(webhook_tenant, url=f"{URL}/taken")
    webhook = await add_to(webhook_tenant)

    calls = [(CREATE, {**NEW, **arguments}), (UPDATE, {"webhookId": str(webhook), **arguments})]
    for call, input_fields in calls:
        code, path, text = await expect_refusal(webhook_tenant, call, **input_fields)
        assert (code, (path or "").removeprefix("input.")) == ("VALIDATION_ERROR", field), text
        assert message in text


async def test_account_number_out_of_range_is_an_invalid_id(webhook_tenant: Tenant) -> None:
    assert await expect_refusal(webhook_tenant, CREATE, **NEW, accountIds=[0]) == (
        "INVALID_ID",
        "input.accountIds[0]",
        ACCOUNT_ID_MESSAGE,
    )


async def test_only_25_webhooks_are_allowed_in_a_workspace(webhook_tenant: Tenant) -> None:
    for _ in range(MAX_ENDPOINTS):
        await add_to(webhook_tenant)
    assert await expect_refusal(webhook_tenant, CREATE, **NEW) == (
        "VALIDATION_ERROR",
        None,
        "This workspace has 25 webhooks; at most 25 are allowed. Delete one first.",
    )


async def test_update_changes_what_is_passed_and_null_clears(webhook_tenant: Tenant) -> None:
    await add_account(webhook_tenant.database, webhook_tenant.workspace, platform="x")
    created = (await create(webhook_tenant, name="CRM", description="d", platforms=["x"]))[
        "webhook"
    ]
    reference = {"webhookId": created["webhookId"]}
    unchanged = await run_mutation(webhook_tenant, UPDATE, **reference)
    assert unchanged["webhook"] == created

    changes = {"url": f"{URL}/2", "events": ["POST_DELETED"], "accountIds": [1], "isActive": False}
    cleared = {"name": None, "description": None, "platforms": None}
    updated = await run_mutation(webhook_tenant, UPDATE, **reference, **changes, **cleared)

    assert updated["webhook"] == {**created, **changes, **cleared, "platforms": []}


@pytest.mark.parametrize("argument", ["url", "events", "isActive"])
async def test_null_is_refused_where_it_clears_nothing(
    webhook_tenant: Tenant, argument: str
) -> None:
    webhook = await add_to(webhook_tenant)
    assert await expect_refusal(
        webhook_tenant, UPDATE, webhookId=str(webhook), **{argument: None}
    ) == (
        "VALIDATION_ERROR",
        f"input.{argument}",
        f"{argument} must not be null. Omit it to leave it unchanged.",
    )


FEED_POSITION = """
mutation ($input: UpdateWebhookInput!) { payload: updateWebhook(input: $input) {
  webhook { isActive consecutiveFailures failingSince disabledReason autoDisabledAt }
} }
"""


def feed_cursor(workspace: WorkspaceId, seq: int) -> str:
    codec = CursorCodec(bytes(32), workspace, "changes")
    return codec.encode(KeysetPosition(NOW, str(seq)))


@pytest.mark.parametrize(("resume_after", "feed_seq"), [(None, 1), (2, 2)])
async def test_enabled_webhook_resumes_from_a_chosen_change(
    webhook_tenant: Tenant, resume_after: int | None, feed_seq: int
) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    await append_test_events(database, workspace, numbered_events(3))
    webhook = await add_to(webhook_tenant, feed_seq=1, **disabled_webhook())

    payload = await run_mutation(
        webhook_tenant,
        FEED_POSITION,
        webhookId=str(webhook),
        isActive=True,
        resumeAfter=None
        if resume_after is None
        else feed_cursor(webhook_tenant.workspace, resume_after),
    )

    assert payload["webhook"] == {
        "isActive": True,
        "consecutiveFailures": 0,
        "failingSince": None,
        "disabledReason": None,
        "autoDisabledAt": None,
    }
    ((stored,),) = await database.reader(workspace).rows(FEED_SEQ)
    assert stored == feed_seq


async def test_change_to_resume_after_must_be_stored_and_needed(webhook_tenant: Tenant) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    other = await add_workspace(database)
    event = Event(kind=EventKind.ACCOUNT_CHANGED, values={})
    await append_test_events(database, workspace, [event])
    enable = {
        "webhookId": str(await add_to(webhook_tenant, **disabled_webhook())),
        "isActive": True,
    }
    active = {"webhookId": str(await add_to(webhook_tenant))}

    errors = [
        await expect_refusal(webhook_tenant, UPDATE, **arguments)
        for arguments in (
            {**enable, "resumeAfter": "x"},
            {**enable, "resumeAfter": feed_cursor(other, 1)},
            {**enable, "resumeAfter": feed_cursor(workspace, 9)},
            {**active, "isActive": True, "resumeAfter": feed_cursor(workspace, 1)},
        )
    ]

    assert [(code, field) for code, field, _ in errors] == [
        ("BAD_CURSOR", "input.resumeAfter"),
        ("BAD_CURSOR", "input.resumeAfter"),
        ("RESYNC_REQUIRED", "input.resumeAfter"),
        ("VALIDATION_ERROR", "input.resumeAfter"),
    ]


async def test_deleted_webhook_frees_its_url_and_is_not_found(webhook_tenant: Tenant) -> None:
    created = (await create(webhook_tenant))["webhook"]["webhookId"]

    assert await run_mutation(webhook_tenant, DELETE, webhookId=created) == {"webhookId": created}

    again = (await create(webhook_tenant))["webhook"]["webhookId"]
    assert again != created
    for name, (call, arguments) in WEBHOOK_MUTATIONS.items():
        if name != "createWebhook":
            code, field, message = await expect_refusal(
                webhook_tenant, call, **{**arguments, "webhookId": created}
            )
            assert (code, field) == ("NOT_FOUND", None)
            assert message == "The webhook was not found: this workspace has none with that id."


async def test_both_secrets_sign_after_a_rotation(webhook_tenant: Tenant) -> None:
    async with WebhookReceiver().running() as receiver:
        created = await create(webhook_tenant, url=receiver.url)
        reference = {"webhookId": created["webhook"]["webhookId"]}
        rotated = await run_mutation(webhook_tenant, ROTATE, **reference)
        await run_mutation(webhook_tenant, TEST, **reference)

    assert rotated["secret"] not in (created["secret"], "")
    assert rotated["secretWarning"] == SECRET_WARNING
    expires_at = format_instant(NOW + timedelta(hours=24))
    assert rotated["previousSecretExpiresAt"] == expires_at
    assert rotated["webhook"] == {**created["webhook"], "previousSecretExpiresAt": expires_at}
    (request,) = receiver.received
    assert [
        request.headers["x-posteverywhere-signature"],
        request.headers["x-posteverywhere-previous-signature"],
    ] == [
        "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        for secret in (rotated["secret"], created["secret"])
    ]
    assert len(request.headers["webhook-signature"].split()) == 2


async def test_test_returns_the_response_of_the_receiver(webhook_tenant: Tenant) -> None:
    headers = (
        "X-Trace: 17",
        "Set-Cookie: sid=4711; Path=/",
        "Set-Cookie: theme=dark",
        "X-Api-Key: 4711",
        "X-Empty: ",
    )
    async with WebhookReceiver(ReceiverResponse(202, "ok" * 2_000, headers)).running() as receiver:
        webhook = (await create(webhook_tenant, url=receiver.url))["webhook"]["webhookId"]
        before = await all_rows(webhook_tenant.database)
        payload = await run_mutation(webhook_tenant, TEST, webhookId=webhook)

    duration = payload.pop("durationMs")
    assert payload == {
        "ok": True,
        "statusCode": 202,
        "headers": [
            {"name": "content-length", "value": "4000"},
            {"name": "x-trace", "value": "17"},
            {"name": "set-cookie", "value": "[redacted]"},
            {"name": "set-cookie", "value": "[redacted]"},
            {"name": "x-api-key", "value": "[redacted]"},
            {"name": "x-empty", "value": ""},
        ],
        "body": "ok" * 1_024,
        "error": None,
        "message": f"The receiver accepted the test with 202 in {duration} ms.",
    }
    (request,) = receiver.received
    event = json.loads(request.body)
    assert (event["event"], event["event_id"]) == ("webhook.test", request.event_id)
    assert event["organization_id"] == str(webhook_tenant.workspace)
    assert await all_rows(webhook_tenant.database) == before


async def test_failed_test_says_why(webhook_tenant: Tenant) -> None:
    async with WebhookReceiver(500).running() as receiver:
        webhook = (await create(webhook_tenant, url=receiver.url))["webhook"]["webhookId"]
        refused = await run_mutation(webhook_tenant, TEST, webhookId=webhook)
    unreachable = await run_mutation(webhook_tenant, TEST, webhookId=webhook)

    for payload, status_code in ((refused, 500), (unreachable, None)):
        assert (payload["ok"], payload["statusCode"]) == (False, status_code)
        assert payload["message"] == f"The test failed. {payload['error']}"
    assert refused["error"] == (
        "The receiver answered 500 Internal Server Error; a delivery needs a status from 200 to 299."
    )
    assert (unreachable["headers"], unreachable["body"]) == ([], None)


async def test_one_delivery_is_attempted_again(webhook_tenant: Tenant) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    webhook, other = await add_to(webhook_tenant), await add_to(webhook_tenant)
    delivery = await add_delivery(database, workspace, webhook, delivered(), event_seq=1)
    leased = await add_delivery(database, workspace, webhook, being_attempted(), event_seq=2)
    reference = {"webhookId": str(webhook), "deliveryId": str(delivery)}
    before = await all_rows(database)

    planned = await run_mutation(webhook_tenant, REDELIVER, **reference, dryRun=True)
    assert await all_rows(database) == before
    payload = await run_mutation(webhook_tenant, REDELIVER, **reference)

    result = {"webhook": {"webhookId": str(webhook)}, "hasMore": False, "plan": None}
    assert planned == {**result, "count": 0, "plannedCount": 1}
    assert payload == {**result, "count": 1, "plannedCount": None}
    assert await statuses(webhook_tenant) == {str(delivery): "PENDING", str(leased): "PENDING"}
    for arguments, code in (
        ({**reference, "deliveryId": str(leased)}, "CONFLICT"),
        ({**reference, "deliveryId": str(uuid4())}, "NOT_FOUND"),
        ({**reference, "webhookId": str(other)}, "NOT_FOUND"),
        ({**reference, "webhookId": str(other), "dryRun": True}, "NOT_FOUND"),
    ):
        assert (await expect_refusal(webhook_tenant, REDELIVER, **arguments))[0] == code


async def statuses(tenant: Tenant) -> dict[str, str]:
    data = await tenant.client.query("{ webhookDeliveries { nodes { deliveryId status } } }")
    nodes = data["webhookDeliveries"]["nodes"]
    return {node["deliveryId"]: node["status"] for node in nodes}


async def test_everything_that_failed_since_a_time_is_attempted_again(
    webhook_tenant: Tenant,
) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    webhook, other = await add_to(webhook_tenant), await add_to(webhook_tenant)
    states = (given_up(), retrying(), delivered(), pending(), given_up())
    early = NOW - MINUTE
    ids = [
        await add_delivery(
            database,
            workspace,
            webhook,
            state,
            event_seq=seq,
            created_at=early if seq == 5 else NOW,
        )
        for seq, state in enumerate(states, 1)
    ]
    of_other = await add_delivery(database, workspace, other, given_up(), event_seq=1)
    call = {"webhookId": str(webhook), "failedSince": format_instant(NOW)}

    planned = await run_mutation(webhook_tenant, REDELIVER, **call, dryRun=True)
    payload = await run_mutation(webhook_tenant, REDELIVER, **call)

    assert (planned["plannedCount"], planned["count"], planned["hasMore"]) == (2, 0, False)
    assert (payload["plannedCount"], payload["count"], payload["hasMore"]) == (None, 2, False)
    expected = ("PENDING", "PENDING", "DELIVERED", "PENDING", "GIVEN_UP", "GIVEN_UP")
    assert await statuses(webhook_tenant) == {
        str(id_): status for id_, status in zip([*ids, of_other], expected, strict=True)
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"deliveryId": MISSING, "failedSince": "2026-04-15T00:00:00Z"},
        {"plan": "x", "failedSince": "2026-04-15T00:00:00Z"},
    ],
)
async def test_redelivery_needs_exactly_one_choice(
    webhook_tenant: Tenant, arguments: dict[str, Any]
) -> None:
    webhook = await add_to(webhook_tenant)
    assert await expect_refusal(webhook_tenant, REDELIVER, webhookId=str(webhook), **arguments) == (
        "VALIDATION_ERROR",
        "input.deliveryId",
        "Pass exactly one of deliveryId, failedSince and plan.",
    )


async def test_plan_is_valid_for_one_webhook_and_no_dry_run(webhook_tenant: Tenant) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    webhook, other = str(await add_to(webhook_tenant)), str(await add_to(webhook_tenant))
    for seq in (1, 2):
        await add_delivery(database, workspace, UUID(webhook), given_up(), event_seq=seq)
    since = {"failedSince": format_instant(NOW)}
    plan = (await run_mutation(webhook_tenant, REDELIVER, webhookId=webhook, **since, dryRun=True))[
        "plan"
    ]

    foreign = (
        "VALIDATION_ERROR",
        "input.plan",
        "plan is not valid for this operation in this workspace. Pass the plan of a dry run or of the call"
        " before, unchanged.",
    )
    for arguments, refusal in (
        ({"webhookId": other, "plan": plan}, foreign),
        ({"webhookId": webhook, "plan": "x"}, foreign),
        (
            {"webhookId": webhook, "plan": plan, "dryRun": True},
            ("VALIDATION_ERROR", "input.dryRun", "Pass plan without dryRun."),
        ),
    ):
        assert await expect_refusal(webhook_tenant, REDELIVER, **arguments) == refusal
    assert await run_mutation(webhook_tenant, REDELIVER, webhookId=webhook, plan=plan) == {
        "webhook": {"webhookId": webhook},
        "count": 2,
        "hasMore": False,
        "plannedCount": None,
        "plan": None,
    }


REPEATED: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "createWebhook": (CREATE, NEW, {"name": "Else"}),
    "updateWebhook": (UPDATE, {"name": "CRM"}, {"name": None}),
    "rotateWebhookSecret": (ROTATE, {}, {"webhookId": MISSING}),
    "deleteWebhook": (DELETE, {}, {"webhookId": MISSING}),
    "redeliverWebhook": (
        REDELIVER,
        {"failedSince": format_instant(NOW)},
        {"failedSince": format_instant(NOW - MINUTE)},
    ),
}
"""Mutation → document, arguments, and arguments that make another request."""


@pytest.mark.parametrize("name", REPEATED)
async def test_repeated_request_has_one_effect_and_the_same_response(
    webhook_tenant: Tenant, name: str
) -> None:
    database, workspace = webhook_tenant.database, webhook_tenant.workspace
    call, arguments, other = REPEATED[name]
    reference = {}
    if name != "createWebhook":
        reference = {
            "webhookId": (await create(webhook_tenant, url=f"{URL}/2"))["webhook"]["webhookId"]
        }
        await add_delivery(
            database, workspace, UUID(reference["webhookId"]), given_up(), event_seq=1
        )
    request = {**reference, **arguments, "idempotencyKey": "k1"}
    first = await run_mutation(webhook_tenant, call, **request)
    once = await all_rows(database)

    assert await run_mutation(webhook_tenant, call, **request) == first
    assert await all_rows(database) == once
    error = await expect_refusal(webhook_tenant, call, **{**request, **other})
    assert error[:2] == ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
