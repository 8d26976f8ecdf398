"""POST /posts: the documented response, and every body that is refused."""

import pytest

from app.domain.api_keys import Scope
from app.rest.operations import JsonObject
from tests.clients import Tenant
from tests.domain.errors import ACCOUNT_ID_MESSAGE, TIME_MESSAGE
from tests.factories import NOW, add_account, add_api_key, add_workspace
from tests.rest.envelope import failure_error, ordered_json, result_data, success_data
from tests.rest.write_requests import (
    EMPTY_POST_MESSAGE,
    LATER,
    NOT_FUTURE_MESSAGE,
    PAST,
    SOON,
    TOO_LONG_WARNING,
    create_post,
    expect_write_refusal,
    field_error,
    member_errors,
    uncached_data,
)

CREATED_AT = "2026-04-15T15:00:00.000Z"


async def test_created_post_is_returned_with_results(acme: Tenant, account: int) -> None:
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

    data = await create_post(acme, body)

    first, second = (destination["id"] for destination in data["destinations"])
    results = [result_data(account, first), result_data(other, second, platform="x")]
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
            "reference": "spring",
            "accounts_count": 2,
            "message": f"The post will be published at {LATER}.",
            "results": results,
            "post_group_id": post_id,
        }
    )
    listed = success_data(await acme.client.get("/v1/posts?reference=spring"))["posts"]
    assert ordered_json(listed) == ordered_json([{key: data[key] for key in listed[0]}])


async def test_reference_survives_a_round_trip(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    draft = {"content": "Sale", "account_ids": [account], "draft": True, "reference": "spring"}
    created = await create_post(acme, draft)
    read = success_data(await acme.client.get(f"/v1/posts/{created['post_id']}"))

    copy = await create_post(acme, read)

    assert copy["post_id"] != created["post_id"]
    assert (read["reference"], copy["reference"]) == ("spring", "spring")


@pytest.mark.parametrize("more", [{}, {"publish_now": True}, {"publish_now": False}])
async def test_post_without_time_is_published_now(
    acme: Tenant, account: int, more: JsonObject
) -> None:
    body = {"content": "Sale", "account_ids": [account], **more}

    data = await create_post(acme, body)

    assert (data["status"], data["scheduled_for"], data["timezone"]) == ("publishing", None, "UTC")
    assert data["message"] == "The post is being published now."
    assert [destination["scheduled_for"] for destination in data["destinations"]] == [CREATED_AT]
    assert "next_steps" not in data


async def test_draft_response_has_next_steps(acme: Tenant) -> None:
    data = await create_post(acme, {"content": "Idea", "draft": True})

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

    data = await create_post(acme, body)

    assert list(data)[-1] == "warnings"
    assert data["warnings"] == [
        {
            "account_id": expired,
            "reason": "token_expired",
            "message": "The account's access has expired. Reconnect the account to post.",
        }
    ]


async def test_text_over_limit_of_platform_is_a_warning(acme: Tenant, account: int) -> None:
    bluesky = await add_account(acme.database, acme.workspace, platform="bluesky")
    body = {"content": "a" * 301, "account_ids": [account, bluesky], "scheduled_for": SOON}

    data = await create_post(acme, body)

    assert list(data)[-1] == "content_warnings"
    assert data["content_warnings"] == [TOO_LONG_WARNING | {"account_id": bluesky}]
    short = await create_post(acme, body | {"content": "Sale"})
    assert {"warnings", "content_warnings"}.isdisjoint(short)


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

    data = await create_post(acme, body)

    assert (data["status"], data["scheduled_for"]) == ("scheduled", SOON)


INVALID_BODIES: list[tuple[JsonObject, JsonObject]] = [
    *member_errors(
        "validation_error",
        {
            "content": {"content must be a string.": [5, ["Sale"]], EMPTY_POST_MESSAGE: [None]},
            "account_ids": {
                "account_ids must be a list.": [2280],
                "A post that is not a draft needs at least one account.": [None, []],
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
            "media_ids": {"media_ids must be a list.": ["m-1"]},
            "platform_content": {"platform_content must be an object.": [[]]},
            "reference": {"reference must be a string.": [1], "reference must not be empty.": [""]},
        },
    ),
    *(
        (body, field_error("validation_error", field, message))
        for body, field, message in (
            ({"media_ids": ["m", 7]}, "media_ids[1]", "media_ids[1] must be a string."),
            (
                {"platform_content": {"x": {"settings": {"a": ["\0"]}}}},
                "platform_content.x.settings.a[0]",
                "platform_content.x.settings.a[0] must not contain a NUL character.",
            ),
            (
                {"scheduled_for": SOON, "scheduled_at": LATER},
                "scheduled_at",
                "scheduled_at is the old name of scheduled_for, and they differ; pass scheduled_for.",
            ),
            (
                {"scheduled_for": SOON, "publish_now": True},
                "publish_now",
                "Pass either publish_now or scheduled_for, not both.",
            ),
            (
                {"draft": True, "publish_now": True},
                "publish_now",
                "Pass either publish_now or draft, not both.",
            ),
        )
    ),
    *(
        ({"account_ids": ids}, field_error("invalid_id", field, ACCOUNT_ID_MESSAGE))
        for ids, field in (([2280, True], "account_ids[1]"), (["2280"], "account_ids[0]"))
    ),
    *(
        (body, field_error("past_schedule_time", "scheduled_for", NOT_FUTURE_MESSAGE))
        for body in ({"scheduled_for": PAST}, {"scheduled_at": CREATED_AT})
    ),
    *member_errors(
        "invalid_timezone", {"timezone": {"There is no such time zone.": ["Mars/Olympus"]}}
    ),
    *member_errors(
        "invalid_field_name",
        {
            name: {f"{name} is not a field of a post; use media_ids, a list of ids.": ["m"]}
            for name in ("media_id", "mediaId", "attachments", "media")
        },
    ),
]


@pytest.mark.parametrize(("body", "refusal"), INVALID_BODIES, ids=lambda value: str(value)[:40])
async def test_invalid_body_is_refused_by_name(
    acme: Tenant, account: int, body: JsonObject, refusal: JsonObject
) -> None:
    body = {"content": "Sale", "account_ids": [account], **body}

    error = await expect_write_refusal(acme, "POST", "/v1/posts", body, status=400)

    assert ordered_json(error) == ordered_json(refusal)


async def test_foreign_account_looks_missing(acme: Tenant) -> None:
    other = await add_workspace(acme.database)
    foreign = await add_account(acme.database, other, id=2285)
    errors = [
        await expect_write_refusal(
            acme, "POST", "/v1/posts", {"content": "Sale", "account_ids": [number]}, status=400
        )
        for number in (foreign, 2286)
    ]

    assert ordered_json(errors[0]).replace("2285", "2286") == ordered_json(errors[1])


JSON_HEADERS = {"Content-Type": "application/json"}
TEXT_HEADERS = {"Content-Type": "text/plain"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "validation_error"),
        (b"", TEXT_HEADERS, 400, "validation_error"),
        (b'{"draft": true}', {}, 415, "unsupported_media_type"),
        (b"{}", TEXT_HEADERS, 415, "unsupported_media_type"),
        (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        (b"{", JSON_HEADERS, 400, "invalid_json"),
        (b" " * 1_048_577, JSON_HEADERS, 413, "body_too_large"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_body_must_be_json_object(
    acme: Tenant, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = await acme.client.request("POST", "/v1/posts", content=body, headers=headers)

    error = failure_error(response, status)
    assert error["code"] == code
    assert (error["message"] == EMPTY_POST_MESSAGE) is (body == b"")
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

    await create_post(writer, {"content": "Sale", "draft": True})
