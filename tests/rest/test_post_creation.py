"""POST /posts: the documented response, and every body that is refused."""

from datetime import timedelta

import pytest

from app.domain.api_keys import Scope
from app.rest.endpoints import PREFIXES
from app.rest.operations import JsonObject
from tests.clients import Tenant, app_client
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import (
    ACCOUNT_ID_MESSAGE,
    LATER,
    PAST,
    SOON,
    TIME_MESSAGE,
    error_cases,
    expect_error,
    expect_success,
    field_error,
    send_json,
    uncached_data,
)

CREATED_AT = "2026-04-15T15:00:00.000Z"


@pytest.fixture
async def account(acme: Tenant) -> int:
    return await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")


def queued_result(post: JsonObject, account_id: int, platform: str) -> JsonObject:
    """The result of a destination without attempts."""
    (id_,) = (
        destination["id"]
        for destination in post["destinations"]
        if destination["account_id"] == account_id
    )
    return {
        "account_id": account_id,
        "account_name": "@acme",
        "platform": platform,
        "status": "queued",
        "published_at": None,
        "platform_post_id": None,
        "platform_post_url": None,
        "error": None,
        "attempts": 0,
        "next_retry_at": None,
        "id": id_,
        "social_account_id": account_id,
        "last_error": None,
    }


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_created_post_is_returned_with_results(
    acme: Tenant, account: int, prefix: str
) -> None:
    other = await add_account(
        acme.database, acme.workspace, id=7, account_name="@acme", platform="x"
    )
    body = {
        "content": "Ünïcode — naïve 🎉",
        "account_ids": [account, other],
        "scheduled_for": "2026-04-16T11:00:00+02:00",
        "timezone": "Europe/Berlin",
        "media_ids": ["m-1", "m-2"],
        "platform_content": {"x": {"content": "kürzer", "settings": {"b": 1, "a": [2]}}},
        "reference": "spring",
    }

    data = await expect_success(acme, "POST", f"{prefix}/posts", body, status=201)

    results = [queued_result(data, account, "instagram"), queued_result(data, other, "x")]
    post_id = data["post_id"]
    assert ordered_json(data) == ordered_json(
        {
            "post_id": post_id,
            "id": post_id,
            "status": "scheduled",
            "post_status": "scheduled",
            "content": "Ünïcode — naïve 🎉",
            "account_ids": [2280, 7],
            "scheduled_for": LATER,
            "timezone": "Europe/Berlin",
            "media_ids": ["m-1", "m-2"],
            "media": [],
            "platform_content": {"x": {"content": "kürzer", "settings": {"b": 1, "a": [2]}}},
            "campaign_id": None,
            "destinations": [{**result, "scheduled_for": LATER} for result in results],
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "accounts_count": 2,
            "message": f"The post will be published at {LATER}.",
            "results": results,
            "post_group_id": post_id,
        }
    )
    listed = success_data(await acme.client.get(f"{prefix}/posts?reference=spring"))["posts"]
    assert ordered_json(listed) == ordered_json([{key: data[key] for key in listed[0]}])


@pytest.mark.parametrize("more", [{}, {"publish_now": True}, {"publish_now": False}])
async def test_post_without_time_is_published_now(
    acme: Tenant, account: int, more: JsonObject
) -> None:
    body = {"content": "Sale", "account_ids": [account], **more}

    data = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    assert (data["status"], data["scheduled_for"], data["timezone"]) == ("publishing", None, "UTC")
    assert data["message"] == "The post is being published now."
    assert [destination["scheduled_for"] for destination in data["destinations"]] == [CREATED_AT]
    assert "next_steps" not in data


async def test_draft_response_has_next_steps(acme: Tenant) -> None:
    data = await expect_success(
        acme, "POST", "/v1/posts", {"content": "Idea", "draft": True}, status=201
    )

    assert list(data)[-5:] == [
        "accounts_count",
        "message",
        "results",
        "post_group_id",
        "next_steps",
    ]
    assert (data["status"], data["account_ids"], data["results"]) == ("draft", [], [])
    assert (data["accounts_count"], data["destinations"]) == (0, [])
    assert data["message"] == "The post is a draft; schedule it to publish it."
    assert data["next_steps"] == [
        f"Schedule it by POST /v1/posts/{data['id']}/schedule with scheduled_for or publish_now."
    ]


async def test_account_that_cannot_post_is_a_warning(acme: Tenant, account: int) -> None:
    expired = await add_account(acme.database, acme.workspace, token_expires_at=NOW)
    body = {"content": "Sale", "account_ids": [account, expired], "scheduled_for": SOON}

    data = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    assert list(data)[-1] == "warnings"
    assert data["warnings"] == [
        {
            "account_id": expired,
            "reason": "token_expired",
            "message": "The account's access has expired. Reconnect the account to post.",
        }
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"scheduled_at": SOON},
        {"scheduled_for": SOON, "scheduled_at": "2026-04-15T18:00:00+02:00"},
        {"scheduled_for": None, "scheduled_at": SOON},
        {"scheduled_for": "2026-04-15T16:00", "status": "published", "destinations": [5]},
        {"scheduled_for": SOON, "id": 7, "campaign_id": 1, "unknown": {"a": "\0"}},
        {"scheduled_for": SOON, "draft": None, "timezone": None, "media": None, "media_id": None},
        {"scheduled_for": SOON, "media_ids": None, "platform_content": None, "reference": None},
    ],
)
async def test_legacy_time_name_counts_and_unknown_members_do_not(
    acme: Tenant, account: int, body: JsonObject
) -> None:
    body = {"content": "Sale", "account_ids": [account], **body}

    data = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    assert (data["status"], data["scheduled_for"]) == ("scheduled", SOON)


@pytest.mark.parametrize(
    "body", [{"media_ids": ["m"]}, {"platform_content": {"x": {"content": "Sale"}}}]
)
async def test_media_or_platform_content_suffice_as_content(
    acme: Tenant, account: int, body: JsonObject
) -> None:
    data = await expect_success(
        acme, "POST", "/v1/posts", {**body, "account_ids": [account]}, status=201
    )

    assert data["content"] == ""


EMPTY_POST_MESSAGE = "The post is empty: it needs content, media, or content for a platform."


INVALID_VALUES: dict[str, dict[str, list[object]]] = {
    "content": {
        "content must be a string.": [5, ["Sale"]],
        "content must not contain a NUL character.": ["a\0b"],
        EMPTY_POST_MESSAGE: [None, " \n"],
    },
    "account_ids": {
        "account_ids must be a list.": [2280],
        "A post that is not a draft needs at least one account.": [None, []],
        "Account 2280 is listed twice.": [[2280, 2280]],
        "There is no account 99 in this workspace.": [[2280, 99]],
    },
    "scheduled_for": {
        "scheduled_for must be a string.": [1776265200],
        TIME_MESSAGE: ["", "tomorrow"],
    },
    "scheduled_at": {TIME_MESSAGE: ["2026-02-30"]},
    "draft": {"draft must be true or false.": ["yes"]},
    "publish_now": {"publish_now must be true or false.": [1]},
    "timezone": {"timezone must be a string.": [2]},
    "media_ids": {
        "media_ids must be a list.": ["m-1"],
        "There are 101 media; at most 100 are allowed.": [["m"] * 101],
    },
    "platform_content": {"platform_content must be an object.": [[]]},
    "reference": {
        "reference must be a string.": [1],
        "reference must not be empty.": [""],
    },
}
"""Member of the body → message of the validation error → invalid values."""

INVALID_BODIES: list[tuple[str, str, str, list[JsonObject]]] = [
    *(
        ("validation_error", member, message, [{member: value} for value in values])
        for member, messages in INVALID_VALUES.items()
        for message, values in messages.items()
    ),
    *(
        ("validation_error", field, message, [body])
        for field, message, body in (
            ("media_ids[1]", "media_ids[1] must be a string.", {"media_ids": ["m", 7]}),
            (
                "platform_content.x",
                "platform_content.x must be an object.",
                {"platform_content": {"x": "Sale"}},
            ),
            (
                "platform_content.scheduledFor.content",
                "platform_content.scheduledFor.content must be a string.",
                {"platform_content": {"scheduledFor": {"content": 1}}},
            ),
            (
                "platform_content.x.settings.a[0]",
                "platform_content.x.settings.a[0] must not contain a NUL character.",
                {"platform_content": {"x": {"settings": {"a": ["\0"]}}}},
            ),
            (
                "scheduled_at",
                "scheduled_at is the old name of scheduled_for, and they differ; pass scheduled_for.",
                {"scheduled_for": SOON, "scheduled_at": LATER},
            ),
            (
                "publish_now",
                "Pass either publish_now or scheduled_for, not both.",
                {"scheduled_for": SOON, "publish_now": True},
            ),
            (
                "publish_now",
                "Pass either publish_now or draft, not both.",
                {"draft": True, "publish_now": True},
            ),
        )
    ),
    *(
        (
            "content_too_long",
            field,
            "The text has 100001 characters; at most 100000 are allowed.",
            [body],
        )
        for field, body in (
            ("content", {"content": "🎉" * 100_001}),
            (
                "platform_content.x.content",
                {"platform_content": {"x": {"content": "a" * 100_001}}},
            ),
        )
    ),
    ("invalid_id", "account_ids[1]", ACCOUNT_ID_MESSAGE, [{"account_ids": [2280, True]}]),
    (
        "invalid_id",
        "account_ids[0]",
        ACCOUNT_ID_MESSAGE,
        [{"account_ids": [value]} for value in ("2280", 2280.0, 0, 2**31)],
    ),
    (
        "past_schedule_time",
        "scheduled_for",
        "The time is not in the future.",
        [{"scheduled_for": PAST}, {"scheduled_at": CREATED_AT}],
    ),
    (
        "invalid_timezone",
        "timezone",
        "There is no such time zone.",
        [{"timezone": "Mars/Olympus"}, {"timezone": ""}],
    ),
    *(
        (
            "invalid_field_name",
            name,
            f"{name} is not a field of a post; use media_ids, a list of ids.",
            [{name: "m"}],
        )
        for name in ("media_id", "mediaId", "attachments", "media")
    ),
]
"""Code, field and message of an error, and bodies that cause it."""


@pytest.mark.parametrize(
    ("body", "code", "field", "message"),
    error_cases(INVALID_BODIES),
    ids=lambda value: str(value)[:40],
)
async def test_invalid_body_is_refused_by_name(
    acme: Tenant, account: int, body: JsonObject, code: str, field: str, message: str
) -> None:
    body = {"content": "Sale", "account_ids": [account], **body}

    error = await expect_error(acme, "POST", "/v1/posts", body, status=400)

    assert ordered_json(error) == ordered_json(field_error(code, field, message))


async def test_foreign_account_looks_missing(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    foreign = await add_account(acme.database, other, id=2285)
    errors = [
        await expect_error(
            acme, "POST", "/v1/posts", {"content": "Sale", "account_ids": [number]}, status=400
        )
        for number in (foreign, 2286)
    ]

    assert ordered_json(errors[0]).replace("2285", "2286") == ordered_json(errors[1])


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "message"),
    [
        (b"", {}, 400, "validation_error", EMPTY_POST_MESSAGE),
        (b"", {"Content-Type": "text/plain"}, 400, "validation_error", EMPTY_POST_MESSAGE),
        (b'{"draft": true}', {}, 415, "unsupported_media_type", None),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", None),
        (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type", None),
        (b"{", {"Content-Type": "application/json"}, 400, "invalid_json", None),
        (b"[1]", {"Content-Type": "application/json"}, 400, "invalid_json", None),
        (
            b'{"account_ids": [99999999999999999999]}',
            {"Content-Type": "application/json"},
            400,
            "invalid_json",
            "The body has an integer that does not fit into 64 bits.",
        ),
        (b" " * 1_048_577, {"Content-Type": "application/json"}, 413, "body_too_large", None),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_body_must_be_json_object(
    acme: Tenant,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str | None,
    message: str | None,
) -> None:
    response = await acme.client.request("POST", "/v1/posts", content=body, headers=headers)

    error = failure_error(response, status)
    assert error["code"] == (code or "unsupported_media_type")
    assert message in (None, error["message"])
    assert success_data(await acme.client.get("/v1/posts"))["total"] == 0


@pytest.mark.parametrize("content_type", ["application/json", 'Application/JSON; charset="UTF-8"'])
async def test_json_in_utf_8_is_accepted(acme: Tenant, content_type: str) -> None:
    response = await acme.client.request(
        "POST",
        "/v1/posts",
        content='{"content": "Übermorgen", "draft": true}'.encode(),
        headers={"Content-Type": content_type},
    )

    assert uncached_data(response, 201)["content"] == "Übermorgen"


async def test_write_scope_alone_creates_posts(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace, scopes=[Scope.WRITE])
    writer = Tenant(acme.database, acme.workspace, acme.client.with_token(key.token))

    await expect_success(
        writer, "POST", "/v1/posts", {"content": "Sale", "draft": True}, status=201
    )


async def test_post_may_have_500_accounts(acme: Tenant) -> None:
    accounts = [await add_account(acme.database, acme.workspace) for _ in range(101)]

    data = await expect_success(
        acme, "POST", "/v1/posts", {"content": "Sale", "account_ids": accounts}, status=201
    )

    assert data["account_ids"] == accounts


async def test_future_is_judged_by_server_clock(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    key = await add_api_key(acme.database, acme.workspace)
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": SOON}
    async with app_client(acme.database, token=key.token, now=NOW + timedelta(hours=1)) as client:
        response = await send_json(
            Tenant(acme.database, acme.workspace, client), "POST", "/v1/posts", body
        )

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "past_schedule_time"
