"""POST /posts/bulk: each post has its own result, and an invalid post does not affect others."""

from typing import Any

import pytest

from tests.clients import Tenant
from tests.domain.errors import ACCOUNT_ID_MESSAGE
from tests.factories import NOW, add_account
from tests.graphql.tenant_objects import client_with_settings
from tests.rest.envelope import ordered_json, success_data
from tests.rest.write_requests import (
    NOT_FUTURE_MESSAGE,
    PAST,
    SOON,
    TOO_LONG_WARNING,
    create_post,
    expect_success,
    expect_write_refusal,
    field_error,
    non_retryable_error,
)

DRAFT = {"content": "Idea", "draft": True}


async def test_bulk_creates_all_valid_posts(acme: Tenant, account: int) -> None:
    posts = [
        {"content": "One", "account_ids": [account], "scheduled_for": SOON},
        {"content": "Two", "draft": True},
    ]

    data = await expect_success(acme, "POST", "/v1/posts/bulk", {"posts": posts}, status=201)

    assert list(data) == ["summary", "results"]
    assert ordered_json(data["summary"]) == ordered_json({"total": 2, "succeeded": 2, "failed": 0})
    assert [list(result) for result in data["results"]] == [["index", "ok", "post"]] * 2
    assert [(result["index"], result["ok"]) for result in data["results"]] == [(0, True), (1, True)]
    created = [result["post"] for result in data["results"]]
    assert [post["content"] for post in created] == ["One", "Two"]
    single = [await create_post(acme, post, X_Allow_Duplicate="1") for post in posts]
    assert [list(post) for post in created] == [list(post) for post in single]
    assert success_data(await acme.client.get("/v1/posts"))["total"] == 4


async def test_bulk_warns_of_text_over_limit_of_platform(acme: Tenant, account: int) -> None:
    bluesky = await add_account(acme.database, acme.workspace, platform="bluesky")
    posts = [{"content": "a" * 301, "account_ids": [each]} for each in (account, bluesky)]

    data = await expect_success(acme, "POST", "/v1/posts/bulk", {"posts": posts}, status=201)

    warnings = [result["post"].get("content_warnings") for result in data["results"]]
    assert warnings == [None, [TOO_LONG_WARNING | {"account_id": bluesky}]]


async def test_invalid_posts_of_bulk_are_refused_individually(acme: Tenant, account: int) -> None:
    expired = await add_account(acme.database, acme.workspace, id=2281, token_expires_at=NOW)
    posts: list[Any] = [
        5,
        {"content": "One", "account_ids": [account]},
        {"content": ["Two"], "account_ids": [account]},
        {"content": "Three", "account_ids": [account, "x"]},
        {"content": "Four", "account_ids": [99]},
        {"content": "Five", "draft": True},
        {"content": "Six", "account_ids": [account], "scheduled_for": PAST},
        {"content": "Seven", "draft": True, "media_id": "m"},
        {"content": "Eight", "account_ids": [expired]},
        None,
    ]

    data = await expect_success(acme, "POST", "/v1/posts/bulk", {"posts": posts}, status=207)

    assert data["summary"] == {"total": 10, "succeeded": 3, "failed": 7}
    results = data["results"]
    assert [result["index"] for result in results] == list(range(10))
    created = {result["index"]: result["post"]["content"] for result in results if result["ok"]}
    assert created == {1: "One", 5: "Five", 8: "Eight"}
    assert [warning["account_id"] for warning in results[8]["post"]["warnings"]] == [expired]
    not_an_object = non_retryable_error("validation_error", None, "A post must be an object.")
    refusals = {
        0: not_an_object,
        2: field_error("validation_error", "content", "content must be a string."),
        3: field_error("invalid_id", "account_ids[1]", ACCOUNT_ID_MESSAGE),
        4: field_error(
            "validation_error", "account_ids", "There is no account 99 in this workspace."
        ),
        6: field_error("past_schedule_time", "scheduled_for", NOT_FUTURE_MESSAGE),
        7: field_error(
            "invalid_field_name",
            "media_id",
            "media_id is not a field of a post; use media_ids, a list of ids.",
        ),
        9: not_an_object,
    }
    assert {result["index"]: result["error"] for result in results if not result["ok"]} == {
        index: {key: refusal[key] for key in ("code", "message", "details")}
        for index, refusal in refusals.items()
    }
    assert success_data(await acme.client.get("/v1/posts"))["total"] == 3


@pytest.mark.parametrize(
    "posts", [[{"content": ""}], [5], [{"content": 5}, {"content": "One", "account_ids": [99]}]]
)
async def test_bulk_without_valid_post_is_422(acme: Tenant, posts: list[Any]) -> None:
    data = await expect_success(acme, "POST", "/v1/posts/bulk", {"posts": posts}, status=422)

    assert data["summary"] == {"total": len(posts), "succeeded": 0, "failed": len(posts)}
    assert [result["ok"] for result in data["results"]] == [False] * len(posts)
    assert success_data(await acme.client.get("/v1/posts"))["total"] == 0


async def test_bulk_is_limited_to_50_posts(acme: Tenant) -> None:
    posts = [DRAFT] * 50
    data = await expect_success(acme, "POST", "/v1/posts/bulk", {"posts": posts}, status=201)
    assert data["summary"]["succeeded"] == 50

    for more in ([DRAFT] * 51, [5] * 2000):
        error = await expect_write_refusal(
            acme, "POST", "/v1/posts/bulk", {"posts": more}, status=400
        )
        assert error == non_retryable_error(
            "bulk_limit_exceeded", "posts", f"There are {len(more)} posts; at most 50 are allowed."
        )


@pytest.mark.parametrize("body", [None, {}, {"posts": []}, {"posts": None}, {"posts": DRAFT}])
async def test_bulk_without_list_of_posts_is_refused(
    acme: Tenant, body: dict[str, Any] | None
) -> None:
    assert await expect_write_refusal(
        acme, "POST", "/v1/posts/bulk", body, status=400
    ) == non_retryable_error("validation_error", "posts", "posts must be a list of 1 to 50 posts.")


async def test_bulk_is_answered_however_large_its_posts_are(acme: Tenant) -> None:
    posts = [{"content": f"{number}{'x' * 60_000}", "draft": True} for number in range(20)]
    settings = {"MAX_BODY_BYTES": "2000000", "GRAPHQL_MAX_RESPONSE_BYTES": "1000000"}
    async with client_with_settings(acme, **settings) as client:
        response = await client.request("POST", "/v1/posts/bulk", json={"posts": posts})

    assert response.status_code == 201
    assert [result["post"]["content"] for result in response.json()["data"]["results"]] == [
        post["content"] for post in posts
    ]
