"""POST /posts: what is made of a body, byte for byte, and whatever is refused before anything is."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.api_keys import Scope
from app.rest.endpoints import PREFIXES
from tests.clients import Tenant, app_client
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import (
    LATER,
    PAST,
    SOON,
    expect_error,
    expect_success,
    non_retryable_error,
    send_json,
    uncached_data,
)

CREATED_AT = "2026-04-15T15:00:00.000Z"


@pytest.fixture
async def account(acme: Tenant) -> int:
    return await add_account(acme.database, acme.workspace, id=2280, account_name="@acme")


def result(post: dict[str, Any], account_id: int, platform: str) -> dict[str, Any]:
    """What there is of a destination that nobody has attempted."""
    (id_,) = (each["id"] for each in post["destinations"] if each["account_id"] == account_id)
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
async def test_a_post_is_created_and_shown_with_its_results(
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

    results = [result(data, account, "instagram"), result(data, other, "x")]
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
            "destinations": [{**each, "scheduled_for": LATER} for each in results],
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "accounts_count": 2,
            "message": f"The post goes out at {LATER}.",
            "results": results,
            "post_group_id": post_id,
        }
    )
    shown = success_data(await acme.client.get(f"{prefix}/posts?reference=spring"))["posts"]
    assert ordered_json(shown) == ordered_json([{key: data[key] for key in shown[0]}])


@pytest.mark.parametrize("more", [{}, {"publish_now": True}, {"publish_now": False}])
async def test_without_a_time_it_goes_out_at_once(
    acme: Tenant, account: int, more: dict[str, Any]
) -> None:
    body = {"content": "Sale", "account_ids": [account], **more}

    data = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    assert (data["status"], data["scheduled_for"], data["timezone"]) == ("publishing", None, "UTC")
    assert data["message"] == "The post goes out now."
    assert [each["scheduled_for"] for each in data["destinations"]] == [CREATED_AT]
    assert "next_steps" not in data


async def test_a_draft_says_what_comes_next(acme: Tenant) -> None:
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
    assert data["message"] == "The post is a draft; it waits until it is scheduled."
    assert data["next_steps"] == [
        f"Schedule it by POST /v1/posts/{data['id']}/schedule with scheduled_for or publish_now."
    ]


async def test_an_account_that_cannot_post_is_a_warning(acme: Tenant, account: int) -> None:
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
async def test_the_old_name_of_the_time_counts_and_what_is_unknown_does_not(
    acme: Tenant, account: int, body: dict[str, Any]
) -> None:
    body = {"content": "Sale", "account_ids": [account], **body}

    data = await expect_success(acme, "POST", "/v1/posts", body, status=201)

    assert (data["status"], data["scheduled_for"]) == ("scheduled", SOON)


@pytest.mark.parametrize(
    "body", [{"media_ids": ["m"]}, {"platform_content": {"x": {"content": "Sale"}}}]
)
async def test_media_or_a_platforms_own_text_are_content_enough(
    acme: Tenant, account: int, body: dict[str, Any]
) -> None:
    data = await expect_success(
        acme, "POST", "/v1/posts", {**body, "account_ids": [account]}, status=201
    )

    assert data["content"] == ""


EMPTY = "The post is empty: it needs content, media, or content for a platform."
TIME = (
    "The time must be an ISO 8601 date and time in the years 1900 to 9998, such as"
    " 2026-04-15T14:30:05.000Z; without an offset it is read as UTC."
)
ACCOUNT_ID = "An account id is a whole number from 1 to 2147483647."


def invalid(field: str, message: str, detail: str | None = None) -> dict[str, Any]:
    return non_retryable_error("validation_error", field, message, detail)


def named(code: str, field: str, message: str) -> dict[str, Any]:
    """An error whose sentence does not say the name of the member."""
    return non_retryable_error(code, field, f"{field}: {message}", message)


WRONG_BODIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"content": 5}, invalid("content", "content must be a string.")),
    ({"content": ["Sale"]}, invalid("content", "content must be a string.")),
    ({"content": None}, invalid("content", EMPTY)),
    ({"content": " \n"}, invalid("content", EMPTY)),
    ({"content": "a\0b"}, invalid("content", "content must not contain a NUL character.")),
    (
        {"content": "🎉" * 100_001},
        named(
            "content_too_long",
            "content",
            "The text has 100001 characters; at most 100000 are allowed.",
        ),
    ),
    (
        {"account_ids": None},
        named(
            "validation_error",
            "account_ids",
            "A post that is not a draft needs at least one account.",
        ),
    ),
    (
        {"account_ids": []},
        named(
            "validation_error",
            "account_ids",
            "A post that is not a draft needs at least one account.",
        ),
    ),
    ({"account_ids": 2280}, invalid("account_ids", "account_ids must be a list.")),
    ({"account_ids": ["2280"]}, named("invalid_id", "account_ids[0]", ACCOUNT_ID)),
    ({"account_ids": [2280, True]}, named("invalid_id", "account_ids[1]", ACCOUNT_ID)),
    ({"account_ids": [2280.0]}, named("invalid_id", "account_ids[0]", ACCOUNT_ID)),
    ({"account_ids": [0]}, named("invalid_id", "account_ids[0]", ACCOUNT_ID)),
    ({"account_ids": [2**31]}, named("invalid_id", "account_ids[0]", ACCOUNT_ID)),
    (
        {"account_ids": [2280, 2280]},
        named("validation_error", "account_ids", "Account 2280 is listed twice."),
    ),
    (
        {"account_ids": [2280, 99]},
        named("validation_error", "account_ids", "There is no account 99 in this workspace."),
    ),
    (
        {"account_ids": list(range(1, 502))},
        named(
            "validation_error", "account_ids", "There are 501 accounts; at most 500 are allowed."
        ),
    ),
    (
        {"scheduled_for": PAST},
        named("past_schedule_time", "scheduled_for", "The time is not in the future."),
    ),
    (
        {"scheduled_at": CREATED_AT},
        named("past_schedule_time", "scheduled_for", "The time is not in the future."),
    ),
    ({"scheduled_for": ""}, named("validation_error", "scheduled_for", TIME)),
    ({"scheduled_for": "tomorrow"}, named("validation_error", "scheduled_for", TIME)),
    ({"scheduled_at": "2026-02-30"}, named("validation_error", "scheduled_at", TIME)),
    ({"scheduled_for": 1776265200}, invalid("scheduled_for", "scheduled_for must be a string.")),
    (
        {"scheduled_for": SOON, "scheduled_at": LATER},
        invalid(
            "scheduled_at",
            "scheduled_at is the old name of scheduled_for, and they differ; pass scheduled_for.",
        ),
    ),
    (
        {"scheduled_for": SOON, "publish_now": True},
        invalid("publish_now", "Pass either publish_now or scheduled_for, not both."),
    ),
    (
        {"draft": True, "publish_now": True},
        invalid("publish_now", "Pass either publish_now or draft, not both."),
    ),
    ({"draft": "yes"}, invalid("draft", "draft must be true or false.")),
    ({"publish_now": 1}, invalid("publish_now", "publish_now must be true or false.")),
    (
        {"timezone": "Mars/Olympus"},
        named("invalid_timezone", "timezone", "There is no such time zone."),
    ),
    ({"timezone": ""}, named("invalid_timezone", "timezone", "There is no such time zone.")),
    ({"timezone": 2}, invalid("timezone", "timezone must be a string.")),
    ({"media_ids": "m-1"}, invalid("media_ids", "media_ids must be a list.")),
    ({"media_ids": ["m", 7]}, invalid("media_ids[1]", "media_ids[1] must be a string.")),
    (
        {"media_ids": ["m", "\0"]},
        invalid("media_ids[1]", "media_ids[1] must not contain a NUL character."),
    ),
    (
        {"media_ids": ["m"] * 101},
        named("validation_error", "media_ids", "There are 101 media; at most 100 are allowed."),
    ),
    ({"platform_content": []}, invalid("platform_content", "platform_content must be an object.")),
    (
        {"platform_content": {"x": "Sale"}},
        invalid("platform_content.x", "platform_content.x must be an object."),
    ),
    (
        {"platform_content": {"scheduledFor": {"content": 1}}},
        invalid(
            "platform_content.scheduledFor.content",
            "platform_content.scheduledFor.content must be a string.",
        ),
    ),
    (
        {"platform_content": {"x": {"content": "a" * 100_001}}},
        named(
            "content_too_long",
            "platform_content.x.content",
            "The text has 100001 characters; at most 100000 are allowed.",
        ),
    ),
    (
        {"platform_content": {"x": {"settings": {"a": ["\0"]}}}},
        invalid(
            "platform_content.x.settings.a[0]",
            "platform_content.x.settings.a[0] must not contain a NUL character.",
        ),
    ),
    ({"reference": 1}, invalid("reference", "reference must be a string.")),
    ({"reference": ""}, invalid("reference", "reference must not be empty.")),
    *(
        (
            {name: value},
            non_retryable_error(
                "invalid_field_name",
                name,
                f"{name} is not a field of a post; use media_ids, a list of ids.",
            ),
        )
        for name, value in {
            "media_id": "m",
            "mediaId": "m",
            "attachments": [],
            "media": [{"url": "https://example.com/1.png"}],
        }.items()
    ),
]


@pytest.mark.parametrize(("body", "error"), WRONG_BODIES, ids=lambda each: str(each)[:60])
async def test_a_body_that_is_wrong_is_refused_by_name(
    acme: Tenant, account: int, body: dict[str, Any], error: dict[str, Any]
) -> None:
    body = {"content": "Sale", "account_ids": [account], **body}

    assert ordered_json(
        await expect_error(acme, "POST", "/v1/posts", body, status=400)
    ) == ordered_json(error)


async def test_a_foreign_account_is_as_good_as_none(acme: Tenant) -> None:
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
        (b"", {}, 400, "validation_error", EMPTY),
        (b"", {"Content-Type": "text/plain"}, 400, "validation_error", EMPTY),
        (b" ", {}, 415, "unsupported_media_type", None),
        (b'{"draft": true}', {}, 415, "unsupported_media_type", None),
        (b"draft=true", {"Content-Type": "application/x-www-form-urlencoded"}, 415, None, None),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", None),
        (b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415, None, None),
        (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type", None),
        (b"{", {"Content-Type": "application/json"}, 400, "invalid_json", None),
        (b"null", {"Content-Type": "application/json"}, 400, "invalid_json", None),
        (b"[1]", {"Content-Type": "application/json"}, 400, "invalid_json", None),
        (b'{"content": "\xff"}', {"Content-Type": "application/json"}, 400, "invalid_json", None),
        (
            rb'{"content": "\ud800"}',
            {"Content-Type": "application/json"},
            400,
            "invalid_json",
            None,
        ),
        (
            b'{"account_ids": [99999999999999999999]}',
            {"Content-Type": "application/json"},
            400,
            "invalid_json",
            "The body has an integer that does not fit into 64 bits.",
        ),
        (b" " * 1_048_577, {"Content-Type": "application/json"}, 413, "body_too_large", None),
        (
            b"[" * 100_000,
            {"Content-Type": "application/json"},
            400,
            "invalid_json",
            None,
        ),
    ],
    ids=lambda each: str(each)[:40],
)
async def test_what_is_no_json_object_is_refused(
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
async def test_json_in_utf_8_is_taken(acme: Tenant, content_type: str) -> None:
    response = await acme.client.request(
        "POST",
        "/v1/posts",
        content='{"content": "Übermorgen", "draft": true}'.encode(),
        headers={"Content-Type": content_type},
    )

    assert uncached_data(response, 201)["content"] == "Übermorgen"


async def test_a_key_that_may_only_write_creates_posts(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace, scopes=[Scope.WRITE])
    writer = Tenant(acme.database, acme.workspace, acme.client.with_token(key.token))

    await expect_success(
        writer, "POST", "/v1/posts", {"content": "Sale", "draft": True}, status=201
    )


async def test_a_post_may_have_five_hundred_accounts(acme: Tenant) -> None:
    accounts = [await add_account(acme.database, acme.workspace) for _ in range(101)]

    data = await expect_success(
        acme, "POST", "/v1/posts", {"content": "Sale", "account_ids": accounts}, status=201
    )

    assert data["account_ids"] == accounts


async def test_a_time_is_in_the_future_by_the_clock_of_the_server(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    key = await add_api_key(acme.database, acme.workspace)
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": SOON}
    async with app_client(acme.database, token=key.token, now=NOW + timedelta(hours=1)) as client:
        response = await send_json(
            Tenant(acme.database, acme.workspace, client), "POST", "/v1/posts", body
        )

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "past_schedule_time"
