"""Repeated requests, recognized by Idempotency-Key, or by their body without a key."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.db.core.write_session import WriteSession
from app.db.repositories.idempotency_keys import lock_idempotency_key
from tests.clients import Tenant, app_client
from tests.db.all_tables import all_rows
from tests.db.core.test_database import only_on_postgresql
from tests.factories import NOW, add_account, add_api_key
from tests.rest.envelope import failure_error, ordered_json, success_data
from tests.rest.write_requests import (
    SOON,
    create_post,
    expect_success,
    expect_write_refusal,
    field_error,
    non_retryable_error,
    send_json,
)

BODY = {"content": "Idea", "draft": True}
BULK = {"posts": [BODY, {"content": 5}]}
each_creation = pytest.mark.parametrize(
    ("path", "body", "status"), [("/v1/posts", BODY, 201), ("/v1/posts/bulk", BULK, 207)]
)
REUSED_MESSAGE = "This idempotency key was used for another request."


async def stored_post_count(acme: Tenant) -> int:
    return int(success_data(await acme.client.get("/v1/posts"))["total"])


@each_creation
async def test_repeated_key_returns_first_response(
    acme: Tenant, path: str, body: dict[str, Any], status: int
) -> None:
    first = await expect_success(acme, "POST", path, body, status=status, Idempotency_Key="k 1")
    equivalent_body = dict(reversed({**body, "campaign_id": None}.items()))
    repeated = await expect_success(
        acme, "POST", path, equivalent_body, status=status, Idempotency_Key="k 1"
    )
    assert ordered_json(repeated) == ordered_json(first)
    assert await stored_post_count(acme) == 1

    await expect_success(acme, "POST", path, body, status=status, Idempotency_Key="k 2")
    assert await stored_post_count(acme) == 2


@pytest.mark.parametrize(
    ("path", "body", "other", "status"),
    [
        ("/v1/posts", BODY, {**BODY, "content": "Else"}, 201),
        ("/v1/posts/bulk", BULK, {"posts": [{"content": 5}, BODY]}, 207),
    ],
)
async def test_key_of_different_request_is_refused(
    acme: Tenant, path: str, body: dict[str, Any], other: dict[str, Any], status: int
) -> None:
    await expect_success(acme, "POST", path, body, status=status, Idempotency_Key="k1")
    error = await expect_write_refusal(acme, "POST", path, other, status=422, Idempotency_Key="k1")
    assert ordered_json(error) == ordered_json(
        field_error("idempotency_key_reused", "Idempotency-Key", REUSED_MESSAGE)
    )


@only_on_postgresql
async def test_key_of_running_request_is_refused(acme: Tenant) -> None:
    async def repeat_while_running(session: WriteSession) -> dict[str, Any]:
        assert await lock_idempotency_key(session, "createPost", "given:k1", wait=False)
        before = await all_rows(acme.database)
        response = await send_json(acme, "POST", "/v1/posts", BODY, Idempotency_Key="k1")
        assert response.headers["Retry-After"] == "1"
        assert await all_rows(acme.database) == before
        return failure_error(response, 409)

    error = await acme.database.write(acme.workspace, repeat_while_running)

    message = "A request with this idempotency key is running just now."
    assert ordered_json(error) == ordered_json(
        field_error("idempotency_in_progress", "Idempotency-Key", message)
    )
    await create_post(acme, BODY, Idempotency_Key="k1")


async def created_ids(
    acme: Tenant, times: Iterable[timedelta], body: dict[str, Any], **headers: str
) -> list[str]:
    """Ids of the posts that the same request returns at these times after NOW."""
    key = await add_api_key(acme.database, acme.workspace)
    ids = []
    for time in times:
        async with app_client(acme.database, token=key.token, now=NOW + time) as client:
            later = replace(acme, client=client)
            response = await send_json(later, "POST", "/v1/posts", body, **headers)
        assert response.status_code == 201
        ids.append(response.json()["data"]["id"])
    return ids


async def test_key_expires_after_24_hours_and_is_scoped_to_operation(acme: Tenant) -> None:
    await expect_success(acme, "POST", "/v1/posts/bulk", BULK, status=207, Idempotency_Key="k1")
    times = timedelta(0), timedelta(hours=23, minutes=59), timedelta(hours=24)
    ids = await created_ids(acme, times, BODY, Idempotency_Key="k1")
    assert ids[0] == ids[1] != ids[2]
    assert await stored_post_count(acme) == 3


@pytest.mark.parametrize(("path", "body"), [("/v1/posts", BODY), ("/v1/posts/bulk", BULK)])
async def test_malformed_key_is_refused_by_header_name(
    acme: Tenant, path: str, body: dict[str, Any]
) -> None:
    error = await expect_write_refusal(acme, "POST", path, body, status=400, Idempotency_Key=" ")
    message = "Idempotency-Key must be printable and not empty."
    assert error == non_retryable_error("validation_error", "Idempotency-Key", message)


@each_creation
async def test_same_body_within_10_seconds_creates_once(
    acme: Tenant, path: str, body: dict[str, Any], status: int
) -> None:
    first, *repeated = [
        await expect_success(acme, "POST", prefix + path, body, status=status)
        for prefix in ("", "", "/api")
    ]
    assert list(map(ordered_json, repeated)) == [ordered_json(first)] * 2
    assert await stored_post_count(acme) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"draft": True, "content": "Idea"}, {}),
        ({**BODY, "campaign_id": 1}, {}),
        (BODY, {"X_Allow_Duplicate": "1"}),
        (BODY, {"Idempotency_Key": "k1"}),
    ],
)
async def test_different_bytes_or_header_create_again(
    acme: Tenant, body: dict[str, Any], headers: dict[str, str]
) -> None:
    first = await create_post(acme, BODY)
    second = await create_post(acme, body, **headers)
    assert first["id"] != second["id"]
    assert await stored_post_count(acme) == 2


async def test_allow_duplicate_header_must_be_1(acme: Tenant) -> None:
    first = await create_post(acme, BODY)
    for value in ("0", "true", ""):
        repeated = await create_post(acme, BODY, X_Allow_Duplicate=value)
        assert repeated["id"] == first["id"]


async def test_same_body_after_10_seconds_creates_again(acme: Tenant) -> None:
    account = await add_account(acme.database, acme.workspace)
    body = {"content": "Sale", "account_ids": [account], "scheduled_for": SOON}
    times = [timedelta(seconds=seconds) for seconds in (0, 9.999, 10, 19.999, 20)]
    ids = await created_ids(acme, times, body)
    assert [ids.index(post_id) for post_id in ids] == [0, 0, 2, 2, 4]


async def test_same_body_of_another_api_key_creates_again(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    other = replace(acme, client=acme.client.with_token(key.token))
    first = await create_post(acme, BODY)
    second = await create_post(other, BODY)
    assert first["id"] != second["id"]


async def test_concurrent_identical_requests_create_once(acme: Tenant) -> None:
    responses = await asyncio.gather(
        *(send_json(acme, "POST", "/v1/posts", BODY) for _ in range(8))
    )
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["data"]["id"] for response in responses}) == 1
    assert await stored_post_count(acme) == 1


async def test_refused_request_is_not_stored(acme: Tenant) -> None:
    body = {"content": "Sale", "account_ids": [7]}
    for headers in ({}, {"Idempotency_Key": "k1"}):
        await expect_write_refusal(acme, "POST", "/v1/posts", body, status=400, **headers)
    await add_account(acme.database, acme.workspace, id=7)
    await create_post(acme, body, Idempotency_Key="k1")


@each_creation
async def test_same_body_creates_again_after_deletion(
    acme: Tenant, path: str, body: dict[str, Any], status: int
) -> None:
    for _ in range(2):
        await expect_success(acme, "POST", path, body, status=status)
        (post,) = success_data(await acme.client.get("/v1/posts"))["posts"]
        await expect_success(acme, "DELETE", f"/v1/posts/{post['id']}")
    assert await stored_post_count(acme) == 0


async def test_repeated_key_after_deletion_is_not_found(acme: Tenant) -> None:
    post = await create_post(acme, BODY, Idempotency_Key="k1")
    await expect_success(acme, "DELETE", f"/v1/posts/{post['id']}")

    error = await expect_write_refusal(
        acme, "POST", "/v1/posts", BODY, status=404, Idempotency_Key="k1"
    )

    assert error == non_retryable_error(
        "not_found",
        None,
        "The post created by this request has been deleted since. To create another post, send a"
        " different Idempotency-Key.",
    )


async def test_repeated_bulk_key_reports_deleted_posts_as_not_found(acme: Tenant) -> None:
    first = await expect_success(
        acme, "POST", "/v1/posts/bulk", BULK, status=207, Idempotency_Key="k1"
    )
    await expect_success(acme, "DELETE", f"/v1/posts/{first['results'][0]['post']['id']}")

    repeated = await expect_success(
        acme, "POST", "/v1/posts/bulk", BULK, status=422, Idempotency_Key="k1"
    )

    assert repeated["summary"] == {"total": 2, "succeeded": 0, "failed": 2}
    assert repeated["results"][0] == {
        "index": 0,
        "ok": False,
        "error": {
            "code": "not_found",
            "message": "The post that this request created was not found: it was deleted since.",
            "details": None,
        },
    }
    assert repeated["results"][1] == first["results"][1]


CHANGES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "change": ("PATCH", "", {"content": "Else"}, "stale_version"),
    "schedule": ("POST", "/schedule", {"publish_now": True}, "stale_version"),
    "delete": ("DELETE", "", {}, "not_found"),
}
"""Method, end of the path, body, and error of a repetition."""


@pytest.mark.parametrize("name", CHANGES)
async def test_change_is_repeated_only_by_its_key(acme: Tenant, name: str) -> None:
    method, path_end, members, code = CHANGES[name]
    account = await add_account(acme.database, acme.workspace)
    drafts = [{"content": text, "draft": True, "account_ids": [account]} for text in "ab"]
    without_key, with_key = [
        f"/v1/posts/{(await create_post(acme, draft))['id']}{path_end}" for draft in drafts
    ]
    body = {**members, "expected_version": 1}

    await expect_success(acme, method, without_key, body)
    repeated = await send_json(acme, method, without_key, body)
    assert repeated.json()["error"]["code"] == code

    first = await expect_success(acme, method, with_key, body, Idempotency_Key="k1")
    assert await expect_success(acme, method, with_key, body, Idempotency_Key="k1") == first
    error = await expect_write_refusal(
        acme, method, with_key, members, status=422, Idempotency_Key="k1"
    )
    assert error == field_error("idempotency_key_reused", "Idempotency-Key", REUSED_MESSAGE)
    error = await expect_write_refusal(acme, method, with_key, body, status=400, Idempotency_Key="")
    message = "Idempotency-Key must be printable and not empty."
    assert error == non_retryable_error("validation_error", "Idempotency-Key", message)
