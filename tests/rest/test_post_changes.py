"""PATCH, DELETE and schedule: their effects, and every refusal, which changes nothing."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.domain.destinations import DestinationState
from app.domain.ids import AccountId
from app.rest.operations import JsonObject
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.domain.test_media import DESCRIPTION, URL
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    draft,
    queued,
)
from tests.rest.envelope import ordered_json, success_data
from tests.rest.write_requests import (
    EMPTY_POST_MESSAGE,
    LATER,
    NOT_FUTURE_MESSAGE,
    PAST,
    SOON,
    TOO_LONG_WARNING,
    create_post,
    expect_success,
    expect_write_refusal,
    field_error,
    member_errors,
    non_retryable_error,
)

LATER_TIME = NOW + timedelta(hours=18)
NOT_FOUND = non_retryable_error(
    "not_found", None, "The post was not found: this workspace has none with that id."
)
STALE_VERSION = field_error(
    "stale_version",
    "expected_version",
    "The post is at version 1, not 2: it was changed in the meantime.",
)


@pytest.fixture
async def draft_path(acme: Tenant, account: AccountId) -> str:
    """Path of a draft on an account, without a time."""
    return await add_post_path(acme, draft(), is_draft=True)


@pytest.fixture
async def scheduled_path(acme: Tenant, account: AccountId) -> str:
    """Path of a post that is scheduled for LATER."""
    post = await add_post(
        acme.database, acme.workspace, {account: queued(LATER_TIME)}, scheduled_for=LATER_TIME
    )
    return f"/v1/posts/{post.id}"


async def add_post_path(acme: Tenant, state: DestinationState, **post: Any) -> str:
    destinations = {await add_account(acme.database, acme.workspace): state}
    added = await add_post(acme.database, acme.workspace, destinations, **post)
    return f"/v1/posts/{added.id}"


async def current_version(acme: Tenant, path: str) -> int:
    document = "query($id: UUID!) { post(postId: $id) { version } }"
    data = await acme.client.query(document, id=path.rpartition("/")[2])
    return int(data["post"]["version"])


async def test_patch_changes_given_fields_and_returns_post(
    acme: Tenant, draft_path: str, account: AccountId
) -> None:
    before = success_data(await acme.client.get(draft_path))
    changes = {
        "content": "Bigger sale",
        "account_ids": [account],
        "scheduled_for": LATER,
        "timezone": "Asia/Tokyo",
        "media_ids": ["m-1"],
        "platform_content": {"x": {"content": "Sale!"}},
    }

    data = await expect_success(acme, "PATCH", draft_path, changes)

    (destination,) = data["destinations"]
    assert (destination["account_id"], destination["scheduled_for"]) == (account, None)
    assert ordered_json(data) == ordered_json(
        {**before, **changes, "destinations": [destination], "updated_at": data["updated_at"]}
    )
    assert ordered_json(data) == ordered_json(success_data(await acme.client.get(draft_path)))
    assert await current_version(acme, draft_path) == 2


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"content": None, "media_ids": ["m"]}, "content", ""),
        ({"media_ids": None}, "media_ids", []),
        ({"platform_content": None}, "platform_content", {}),
        ({"timezone": None}, "timezone", "UTC"),
        ({"scheduled_at": SOON}, "scheduled_for", SOON),
        ({"account_ids": []}, "account_ids", []),
    ],
)
async def test_null_clears_field(
    acme: Tenant, account: AccountId, changes: JsonObject, key: str, value: object
) -> None:
    post = await add_post(
        acme.database,
        acme.workspace,
        {account: draft()},
        is_draft=True,
        scheduled_for=NOW,
        timezone="Asia/Tokyo",
        media_ids=["m-1"],
        platform_content={"x": {"content": "Sale!"}},
    )

    data = await expect_success(acme, "PATCH", f"/v1/posts/{post.id}", changes)

    assert data[key] == value
    assert await current_version(acme, f"/v1/posts/{post.id}") == 2


@pytest.mark.parametrize("name", ["scheduled_for", "scheduled_at", "account_ids", "publish_now"])
async def test_null_keeps_schedule_and_accounts(
    acme: Tenant, account: AccountId, scheduled_path: str, name: str
) -> None:
    data = await expect_success(acme, "PATCH", scheduled_path, {name: None})

    assert (data["status"], data["scheduled_for"]) == ("scheduled", LATER)
    assert data["account_ids"] == [account]


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_too_many_accounts_are_refused_before_query(
    acme: Tenant, scheduled_path: str, method: str
) -> None:
    many = {"content": "Sale", "account_ids": [*range(1, 40_001)]}
    path = scheduled_path if method == "PATCH" else "/v1/posts"

    error = await expect_write_refusal(acme, method, path, many, status=400)

    message = "There are 40000 accounts; at most 500 are allowed."
    assert error == field_error("validation_error", "account_ids", message)


async def test_scheduled_post_can_be_published_now(acme: Tenant, scheduled_path: str) -> None:
    changes = {"publish_now": True, "scheduled_for": None}

    data = await expect_success(acme, "PATCH", scheduled_path, changes)

    assert (data["status"], data["scheduled_for"]) == ("publishing", None)
    assert data["destinations"][0]["scheduled_for"] == "2026-04-15T15:00:00.000Z"


@pytest.mark.parametrize(
    "body", [None, {}, {"status": "published", "post_status": "failed", "destinations": []}]
)
async def test_patch_without_fields_changes_nothing(
    acme: Tenant, scheduled_path: str, body: JsonObject | None
) -> None:
    before = await all_rows(acme.database)
    assert await expect_success(acme, "PATCH", scheduled_path, body) == success_data(
        await acme.client.get(scheduled_path)
    )
    assert await all_rows(acme.database) == before


INVALID_CHANGES = [
    *member_errors(
        "validation_error",
        {
            "content": {"content must be a string.": [5], EMPTY_POST_MESSAGE: [""]},
            "account_ids": {
                "A post that is not a draft needs at least one account.": [[]],
                "There is no account 99 in this workspace.": [[99]],
            },
            "expected_version": {
                "expected_version must be a whole number.": ["1"],
                "expected_version must be a whole number from 1 to 2147483647.": [2**31],
            },
        },
    ),
    *member_errors("past_schedule_time", {"scheduled_for": {NOT_FUTURE_MESSAGE: [PAST]}}),
    *member_errors(
        "invalid_field_name",
        {
            "media": {"media is not a field of a post; use media_ids, a list of ids.": [[]]},
            "draft": {
                "draft cannot be changed by PATCH; POST /v1/posts/{post_id}/schedule submits a"
                " draft.": [False]
            },
        },
    ),
    (
        {"post_id": "x", "media_id": "m"},
        field_error(
            "invalid_field_name",
            "media_id",
            "media_id is not a field of a post; use media_ids, a list of ids.",
        ),
    ),
]


@pytest.mark.parametrize(("changes", "refusal"), INVALID_CHANGES, ids=lambda value: str(value)[:40])
async def test_invalid_patch_is_refused_by_name(
    acme: Tenant, scheduled_path: str, changes: JsonObject, refusal: JsonObject
) -> None:
    error = await expect_write_refusal(acme, "PATCH", scheduled_path, changes, status=400)
    assert ordered_json(error) == ordered_json(refusal)


CHANGES: list[tuple[str, str, JsonObject]] = [
    ("PATCH", "", {"content": "Other"}),
    ("DELETE", "", {}),
    ("POST", "/schedule", {"publish_now": True}),
]


@pytest.mark.parametrize(("method", "sub", "body"), CHANGES)
async def test_stale_version_is_refused(
    acme: Tenant, draft_path: str, method: str, sub: str, body: JsonObject
) -> None:
    body = {**body, "expected_version": 2}
    error = await expect_write_refusal(acme, method, draft_path + sub, body, status=409)
    assert error == STALE_VERSION


async def test_unpublished_post_is_deleted(acme: Tenant, scheduled_path: str) -> None:
    post_id = scheduled_path.rpartition("/")[2]

    data = await expect_success(acme, "DELETE", scheduled_path, {"expected_version": 1})

    assert ordered_json(data) == ordered_json(
        {
            "post_id": post_id,
            "id": post_id,
            "deleted": True,
            "message": "The post was deleted and will not be published from here.",
        }
    )
    for method, sub in (("GET", ""), ("GET", "/results"), ("DELETE", ""), ("PATCH", "")):
        assert (
            await expect_write_refusal(acme, method, scheduled_path + sub, status=404) == NOT_FOUND
        )
    assert success_data(await acme.client.get("/v1/posts"))["total"] == 0


@pytest.mark.parametrize(
    ("schedule", "status", "scheduled_for"),
    [
        ({"scheduled_for": LATER}, "scheduled", LATER),
        ({"scheduled_at": LATER, "publish_now": False}, "scheduled", LATER),
        ({"publish_now": True}, "publishing", None),
    ],
)
async def test_draft_is_scheduled_or_published_now(
    acme: Tenant, draft_path: str, schedule: JsonObject, status: str, scheduled_for: str | None
) -> None:
    data = await expect_success(acme, "POST", f"{draft_path}/schedule", schedule)

    post = success_data(await acme.client.get(draft_path))
    message = (
        f"The post will be published at {LATER}."
        if scheduled_for
        else "The post is being published now."
    )
    assert (post["status"], post["scheduled_for"]) == (status, scheduled_for)
    assert ordered_json(data) == ordered_json(
        {**post, "publish_now": scheduled_for is None, "message": message}
    )


async def test_update_and_schedule_warn_of_account_that_cannot_post(
    acme: Tenant, draft_path: str
) -> None:
    expired = await add_account(acme.database, acme.workspace, token_expires_at=NOW)
    warnings = [
        {
            "account_id": expired,
            "reason": "token_expired",
            "message": "The account's access has expired. Reconnect the account to post.",
        }
    ]

    changed = await expect_success(acme, "PATCH", draft_path, {"account_ids": [expired]})
    scheduled = await expect_success(
        acme, "POST", f"{draft_path}/schedule", {"scheduled_for": LATER}
    )

    assert changed["warnings"] == scheduled["warnings"] == warnings


async def test_update_and_schedule_warn_of_text_over_limit_of_platform(
    acme: Tenant, draft_path: str
) -> None:
    account = await add_account(acme.database, acme.workspace, platform="bluesky")
    body = {"content": "a" * 301, "account_ids": [account]}
    warnings = [TOO_LONG_WARNING | {"account_id": account}]

    changed = await expect_success(acme, "PATCH", draft_path, body)
    scheduled = await expect_success(
        acme, "POST", f"{draft_path}/schedule", {"scheduled_for": LATER}
    )

    assert changed["content_warnings"] == scheduled["content_warnings"] == warnings


async def test_image_is_described_and_survives_a_round_trip(acme: Tenant) -> None:
    post = await add_post(acme.database, acme.workspace, is_draft=True, media=[{"url": URL}])
    path = f"/v1/posts/{post.id}"
    data = success_data(await acme.client.get(path))
    assert data["media"] == [{"data": DESCRIPTION}]

    changed = await expect_success(acme, "PATCH", path, data | {"content": "Else"})

    assert (changed["content"], changed["media"]) == ("Else", [{"data": DESCRIPTION}])
    listed = success_data(await acme.client.get("/v1/posts"))["posts"]
    assert [each["media"] for each in listed] == [[{"data": DESCRIPTION}]]
    assert URL in str((await all_rows(acme.database))["post"])


async def test_schedule_keeps_time_of_draft_and_replaces_accounts(
    acme: Tenant, account: AccountId
) -> None:
    other = await add_account(acme.database, acme.workspace)
    body = {"content": "Sale", "draft": True, "scheduled_for": SOON, "account_ids": [account]}
    post = await create_post(acme, body)
    path = f"/v1/posts/{post['id']}/schedule"

    data = await expect_success(acme, "POST", path, {"account_ids": [other], "expected_version": 1})

    assert (data["status"], data["scheduled_for"]) == ("scheduled", SOON)
    assert data["account_ids"] == [other]
    assert await expect_write_refusal(
        acme, "POST", path, {"publish_now": True}, status=409
    ) == non_retryable_error(
        "conflict", None, "Only a draft can be scheduled; this post is scheduled."
    )


INVALID_SCHEDULES: list[tuple[JsonObject | None, JsonObject]] = [
    (
        None,
        field_error(
            "validation_error",
            "scheduled_for",
            "The draft has no time yet: pass scheduled_for or publish_now.",
        ),
    ),
    (
        {"publish_now": True, "account_ids": [99]},
        field_error("validation_error", "account_ids", "There is no account 99 in this workspace."),
    ),
    *member_errors("past_schedule_time", {"scheduled_for": {NOT_FUTURE_MESSAGE: [PAST]}}),
    *member_errors(
        "validation_error", {"publish_now": {"publish_now must be true or false.": ["now"]}}
    ),
]


@pytest.mark.parametrize(("body", "refusal"), INVALID_SCHEDULES, ids=lambda value: str(value)[:40])
async def test_invalid_schedule_is_refused_by_name(
    acme: Tenant, draft_path: str, body: JsonObject | None, refusal: JsonObject
) -> None:
    error = await expect_write_refusal(acme, "POST", f"{draft_path}/schedule", body, status=400)
    assert ordered_json(error) == ordered_json(refusal)


@pytest.mark.parametrize(("method", "sub", "body"), [*CHANGES, ("POST", "/retry", {})])
async def test_foreign_post_looks_missing(
    acme: Tenant, method: str, sub: str, body: JsonObject
) -> None:
    workspace = await add_workspace(acme.database)
    foreign = await add_post(acme.database, workspace, is_draft=True)
    errors = [
        await expect_write_refusal(acme, method, f"/v1/posts/{post_id}{sub}", body, status=404)
        for post_id in (foreign.id, uuid4())
    ]
    assert errors == [NOT_FOUND, NOT_FOUND]
