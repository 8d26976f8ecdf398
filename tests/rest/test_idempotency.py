"""Requests that come again: by the client's key, or by the body of one that sends no key."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.db.core.database import WriteSession
from app.db.repositories.idempotency_keys import lock_idempotency_key
from tests.clients import Tenant, app_client
from tests.db.all_tables import all_rows
from tests.db.core.test_database import only_on_postgresql
from tests.factories import NOW, add_account, add_api_key
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import (
    SOON,
    expect_error,
    expect_success,
    non_retryable_error,
    send_json,
)

BODY = {"content": "Idea", "draft": True}
BULK = {"posts": [BODY, {"content": 5}]}
REUSED_MESSAGE = "This idempotency key was used for another request."


async def count_posts(acme: Tenant) -> int:
    return int(success_data(await acme.client.get("/v1/posts"))["total"])


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/v1/posts", BODY, 201), ("/v1/posts/bulk", BULK, 207)]
)
async def test_a_key_creates_once_and_gives_the_same_answer(
    acme: Tenant, path: str, body: dict[str, Any], status: int
) -> None:
    first = await expect_success(acme, "POST", path, body, status=status, Idempotency_Key="k 1")
    in_other_words = dict(reversed({**body, "campaign_id": None}.items()))
    again = await expect_success(
        acme, "POST", path, in_other_words, status=status, Idempotency_Key="k 1"
    )
    assert ordered_json(again) == ordered_json(first)
    assert await count_posts(acme) == 1

    await expect_success(acme, "POST", path, body, status=status, Idempotency_Key="k 2")
    assert await count_posts(acme) == 2


@pytest.mark.parametrize(
    ("path", "body", "other", "status"),
    [
        ("/v1/posts", BODY, {**BODY, "content": "Else"}, 201),
        ("/v1/posts/bulk", BULK, {"posts": [BODY]}, 207),
        ("/v1/posts/bulk", BULK, {"posts": [BODY, {"content": "x"}]}, 207),
        ("/v1/posts/bulk", BULK, {"posts": [{"content": 5}, BODY]}, 207),
    ],
)
async def test_a_key_of_another_request_is_refused(
    acme: Tenant, path: str, body: dict[str, Any], other: dict[str, Any], status: int
) -> None:
    await expect_success(acme, "POST", path, body, status=status, Idempotency_Key="k1")
    error = await expect_error(acme, "POST", path, other, status=422, Idempotency_Key="k1")
    assert ordered_json(error) == ordered_json(
        non_retryable_error(
            "idempotency_key_reused",
            "Idempotency-Key",
            f"Idempotency-Key: {REUSED_MESSAGE}",
            REUSED_MESSAGE,
        )
    )


@only_on_postgresql
async def test_a_key_whose_request_is_running_is_refused_until_that_has_ended(acme: Tenant) -> None:
    async def repeat_while_running(session: WriteSession) -> dict[str, Any]:
        assert await lock_idempotency_key(
            session, acme.workspace, "createPost", "given:k1", wait=False
        )
        before = await all_rows(acme.database)
        response = await send_json(acme, "POST", "/v1/posts", BODY, Idempotency_Key="k1")
        assert response.headers["Retry-After"] == "1"
        assert await all_rows(acme.database) == before
        return failure_error(response, 409)

    error = await acme.database.write(repeat_while_running)

    message = "A request with this idempotency key is running just now."
    assert ordered_json(error) == ordered_json(
        non_retryable_error(
            "idempotency_in_progress", "Idempotency-Key", f"Idempotency-Key: {message}", message
        )
    )
    await expect_success(acme, "POST", "/v1/posts", BODY, status=201, Idempotency_Key="k1")


async def test_a_key_is_forgotten_after_a_day_and_is_that_of_its_operation(acme: Tenant) -> None:
    await expect_success(acme, "POST", "/v1/posts", BODY, status=201, Idempotency_Key="k1")
    await expect_success(acme, "POST", "/v1/posts/bulk", BULK, status=207, Idempotency_Key="k1")
    assert await count_posts(acme) == 2
    key = await add_api_key(acme.database, acme.workspace)
    for later, posts in ((timedelta(hours=23, minutes=59), 2), (timedelta(hours=24), 3)):
        async with app_client(acme.database, token=key.token, now=NOW + later) as client:
            response = await send_json(
                Tenant(acme.database, acme.workspace, client),
                "POST",
                "/v1/posts",
                BODY,
                Idempotency_Key="k1",
            )
        assert response.status_code == 201
        assert await count_posts(acme) == posts


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "a\tb", "\x7f"])
@pytest.mark.parametrize("path", ["/v1/posts", "/v1/posts/bulk"])
async def test_a_key_that_is_none_is_refused_by_the_name_of_its_header(
    acme: Tenant, path: str, key: str
) -> None:
    body = BODY if path == "/v1/posts" else BULK
    error = await expect_error(acme, "POST", path, body, status=400, Idempotency_Key=key)
    message = (
        "Idempotency-Key is 256 characters long; at most 255 are allowed."
        if len(key) > 255
        else "Idempotency-Key must be printable and not empty."
    )
    assert error == non_retryable_error("validation_error", "Idempotency-Key", message)


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/v1/posts", BODY, 201), ("/v1/posts/bulk", BULK, 207)]
)
async def test_the_same_body_within_ten_seconds_creates_once(
    acme: Tenant, path: str, body: dict[str, Any], status: int
) -> None:
    first = await expect_success(acme, "POST", path, body, status=status)
    assert ordered_json(
        await expect_success(acme, "POST", path, body, status=status)
    ) == ordered_json(first)
    assert ordered_json(
        await expect_success(acme, "POST", f"/api{path}", body, status=status)
    ) == ordered_json(first)
    assert await count_posts(acme) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"draft": True, "content": "Idea"}, {}),
        ({**BODY, "campaign_id": 1}, {}),
        (BODY, {"X_Allow_Duplicate": "1"}),
        (BODY, {"Idempotency_Key": "k1"}),
    ],
)
async def test_other_bytes_or_a_header_are_another_request(
    acme: Tenant, body: dict[str, Any], headers: dict[str, str]
) -> None:
    first = await expect_success(acme, "POST", "/v1/posts", BODY, status=201)
    second = await expect_success(acme, "POST", "/v1/posts", body, status=201, **headers)
    assert first["id"] != second["id"]
    assert await count_posts(acme) == 2


@pytest.mark.parametrize("value", ["0", "true", ""])
async def test_only_a_one_allows_duplicates(acme: Tenant, value: str) -> None:
    first = await expect_success(acme, "POST", "/v1/posts", BODY, status=201)
    again = await expect_success(
        acme, "POST", "/v1/posts", BODY, status=201, X_Allow_Duplicate=value
    )
    assert first["id"] == again["id"]


async def test_after_ten_seconds_the_same_body_is_another_post(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": SOON}
    key = await add_api_key(acme.database, acme.workspace)
    ids = []
    for seconds in (0, 9.999, 10, 19.999, 20):
        now = NOW + timedelta(seconds=seconds)
        async with app_client(acme.database, token=key.token, now=now) as client:
            response = await send_json(
                Tenant(acme.database, acme.workspace, client), "POST", "/v1/posts", body
            )
        assert response.status_code == 201
        ids.append(response.json()["data"]["id"])
    assert [ids.index(each) for each in ids] == [0, 0, 2, 2, 4]


async def test_the_same_body_of_another_key_is_another_request(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    other = Tenant(acme.database, acme.workspace, acme.client.with_token(key.token))
    first = await expect_success(acme, "POST", "/v1/posts", BODY, status=201)
    second = await expect_success(other, "POST", "/v1/posts", BODY, status=201)
    assert first["id"] != second["id"]


async def test_what_comes_at_the_same_time_is_created_once(acme: Tenant) -> None:
    answers = await asyncio.gather(*(send_json(acme, "POST", "/v1/posts", BODY) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert await count_posts(acme) == 1


async def test_a_refusal_is_not_remembered(acme: Tenant) -> None:
    body = {"content": "Sale", "account_ids": [7]}
    for headers in ({}, {"Idempotency_Key": "k1"}):
        await expect_error(acme, "POST", "/v1/posts", body, status=400, **headers)
    await add_account(acme.database, acme.workspace, id=7)
    await expect_success(acme, "POST", "/v1/posts", body, status=201, Idempotency_Key="k1")


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/v1/posts", BODY, 201), ("/v1/posts/bulk", BULK, 207)]
)
async def test_the_same_body_creates_anew_once_its_post_is_deleted(
    acme: Tenant, path: str, body: dict[str, Any], status: int
) -> None:
    for _ in range(2):
        first = await expect_success(acme, "POST", path, body, status=status)
        assert ordered_json(
            await expect_success(acme, "POST", path, body, status=status)
        ) == ordered_json(first)
        (post,) = success_data(await acme.client.get("/v1/posts"))["posts"]
        await expect_success(acme, "DELETE", f"/v1/posts/{post['id']}")
    assert await count_posts(acme) == 0


async def test_a_key_never_creates_again_what_was_deleted_since(acme: Tenant) -> None:
    post = await expect_success(acme, "POST", "/v1/posts", BODY, status=201, Idempotency_Key="k1")
    await expect_success(acme, "DELETE", f"/v1/posts/{post['id']}")

    error = await expect_error(acme, "POST", "/v1/posts", BODY, status=404, Idempotency_Key="k1")

    assert error == non_retryable_error(
        "not_found",
        None,
        "The post that this request created was deleted since, and is not found any more. To create"
        " another one, send another Idempotency-Key.",
    )


async def test_a_key_of_a_bulk_tells_what_was_created_without_what_was_deleted_since(
    acme: Tenant,
) -> None:
    first = await expect_success(
        acme, "POST", "/v1/posts/bulk", BULK, status=207, Idempotency_Key="k1"
    )
    await expect_success(acme, "DELETE", f"/v1/posts/{first['results'][0]['post']['id']}")

    again = await expect_success(
        acme, "POST", "/v1/posts/bulk", BULK, status=422, Idempotency_Key="k1"
    )

    assert again["summary"] == {"total": 2, "succeeded": 0, "failed": 2}
    assert again["results"][0] == {
        "index": 0,
        "ok": False,
        "error": {
            "code": "not_found",
            "message": "The post that this request created was not found: it was deleted since.",
            "details": None,
        },
    }
    assert again["results"][1] == first["results"][1]


async def test_a_patch_and_a_schedule_have_no_key(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    post = await expect_success(
        acme, "POST", "/v1/posts", {**BODY, "account_ids": [account]}, status=201
    )
    path = f"/v1/posts/{post['id']}"
    await expect_success(acme, "PATCH", path, {"content": "Else"}, Idempotency_Key="")
    await expect_success(
        acme, "POST", f"{path}/schedule", {"publish_now": True}, Idempotency_Key=""
    )
