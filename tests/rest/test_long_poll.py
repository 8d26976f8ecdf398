"""Long poll of results: waits for a change, with or without If-None-Match."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from app.db.core.database import Database
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId
from tests.clients import UNLIMITED_SETTINGS, Tenant, app_client, wait_for_startup_reads
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import add_api_key, add_post, add_workspace
from tests.graphql.live_tenant import wait_for_subscriptions
from tests.rest.envelope import failure_error, success_data

NONEXISTENT_ID = "00000000-0000-4000-8000-00000000dead"
PROMPT_SECONDS = 10.0
"""No request here takes this long unless it waits for a change that never happens."""


@pytest.fixture
async def post_id(acme: Tenant, account: AccountId) -> str:
    data = await acme.client.query(
        "mutation ($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }",
        input={"content": "hello", "accountIds": [account]},
    )
    new_id: str = data["createPost"]["post"]["postId"]
    return new_id


async def record_published(tenant: Tenant, post_id: str, account: AccountId) -> None:
    await tenant.client.query(
        "mutation ($input: RecordResultInput!) { recordResult(input: $input) { receipt } }",
        input={
            "postId": post_id,
            "accountId": account,
            "attemptKey": "first",
            "outcome": "PUBLISHED",
            "platformPostUrl": "https://x.example/1",
        },
    )


async def get_results(
    tenant: Tenant, post_id: str, wait: str = "30", etag: str | None = None
) -> httpx.Response:
    headers = {} if etag is None else {"If-None-Match": etag}
    async with asyncio.timeout(PROMPT_SECONDS):
        return await tenant.client.get(
            f"/v1/posts/{post_id}/results", params={"wait": wait}, headers=headers
        )


@pytest.mark.parametrize("has_etag", [False, True], ids=["without etag", "with etag"])
async def test_long_poll_returns_on_change(
    acme: Tenant, post_id: str, account: AccountId, has_etag: bool
) -> None:
    etag = (await get_results(acme, post_id, wait="0")).headers["etag"]
    waiting = asyncio.create_task(get_results(acme, post_id, etag=etag if has_etag else None))
    await wait_for_subscriptions(acme.client, 1)
    await record_published(acme, post_id, account)

    response = await waiting
    data = success_data(response)
    assert data["post_status"] == "published"
    assert data["results"][0]["platform_post_url"] == "https://x.example/1"
    assert response.headers["etag"] != etag


async def test_change_before_long_poll_returns_immediately(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    etag = (await get_results(acme, post_id, wait="0")).headers["etag"]
    await record_published(acme, post_id, account)

    response = await get_results(acme, post_id, etag=etag)
    assert success_data(response)["post_status"] == "published"


async def test_long_poll_returns_current_data_after_wait(acme: Tenant, post_id: str) -> None:
    response = await get_results(acme, post_id, wait="1")
    assert success_data(response)["post_status"] == "publishing"
    repeated = await get_results(acme, post_id, wait="1", etag=response.headers["etag"])
    assert (repeated.status_code, repeated.content) == (304, b"")
    assert repeated.headers["etag"] == response.headers["etag"]


async def test_change_outside_of_response_does_not_end_wait(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    etag = (await get_results(acme, post_id, wait="0")).headers["etag"]
    waiting = asyncio.create_task(get_results(acme, post_id, wait="1", etag=etag))
    await wait_for_subscriptions(acme.client, 1)
    await acme.client.query(
        "mutation ($input: UpdatePostInput!) { updatePost(input: $input) { post { version } } }",
        input={"postId": post_id, "content": "other"},
    )
    assert (await waiting).status_code == 304


async def test_post_deleted_during_wait_is_not_found(acme: Tenant, post_id: str) -> None:
    waiting = asyncio.create_task(get_results(acme, post_id))
    await wait_for_subscriptions(acme.client, 1)
    await acme.client.request("DELETE", f"/v1/posts/{post_id}")
    assert failure_error(await waiting, 404)["code"] == "not_found"


async def test_missing_post_is_refused_without_wait(acme: Tenant) -> None:
    assert failure_error(await get_results(acme, NONEXISTENT_ID), 404)["code"] == "not_found"
    assert failure_error(await get_results(acme, "x"), 400)["code"] == "invalid_id"


async def test_wait_must_be_0_to_60_seconds(acme: Tenant, post_id: str) -> None:
    error = failure_error(await get_results(acme, post_id, wait="61"), 400)
    assert (error["code"], error["message"]) == (
        "validation_error",
        "wait must be a whole number from 0 to 60; it is '61'.",
    )


async def test_wait_may_exceed_request_timeout(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    timeout = timedelta(seconds=1)
    settings = replace(UNLIMITED_SETTINGS, request_timeout=timeout)
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        tenant = replace(acme, client=client)
        waiting = asyncio.create_task(get_results(tenant, post_id))
        await asyncio.sleep(1.2 * timeout.total_seconds())
        await record_published(acme, post_id, account)
        assert success_data(await waiting)["post_status"] == "published"


async def test_long_polls_count_as_subscriptions(acme: Tenant, post_id: str) -> None:
    settings = replace(UNLIMITED_SETTINGS, max_subscriptions_per_key=1)
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        tenant = replace(acme, client=client)
        waiting = asyncio.create_task(get_results(tenant, post_id, wait="2"))
        await wait_for_subscriptions(tenant.client, 1)
        error = failure_error(await get_results(tenant, post_id), 429)
        assert error["message"] == (
            "The limit of 1 open subscriptions per API key is reached; close one of them first."
        )
        assert success_data(await waiting)["post_status"] == "publishing"


async def test_failed_feed_is_503_and_not_304(database_url: str) -> None:
    """A 304 means that `wait` has passed; clients would repeat the request without a pause."""
    driver = InterceptingDriver()
    failures = [ServiceUnavailable("away")]

    async def fail_when_unavailable() -> None:
        if failures:
            raise failures.pop()

    async with Database(database_url, wrap_driver=driver) as database:
        workspace = await add_workspace(database)
        key = await add_api_key(database, workspace)
        post_id = uuid4()
        await add_post(database, workspace, id=post_id)
        async with app_client(database, token=key.token) as client:
            await wait_for_startup_reads(database)
            driver.before_nth(1, fail_when_unavailable)  # after the API key was read
            response = await client.get(f"/v1/posts/{post_id}/results?wait=30")
    error = failure_error(response, 503)
    assert (error["code"], error["message"]) == (
        "service_unavailable",
        "Waiting for changes is not available now. Try again in 2 s.",
    )
    assert response.headers["Retry-After"] == "2"
