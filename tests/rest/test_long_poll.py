"""Results that are waited for: until something is new, or the time is up; with the tag of what one has."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from app.db.core.database import Database
from app.domain.errors import ServiceUnavailable
from app.domain.ids import AccountId
from tests.clients import UNLIMITED_SETTINGS, Tenant, app_client
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import add_account, add_api_key, add_post, add_workspace
from tests.graphql.live_tenant import wait_for_subscriptions
from tests.rest.envelope import failure_error, success_data

NONEXISTENT_ID = "00000000-0000-4000-8000-00000000dead"
PROMPT_SECONDS = 10.0
"""Seconds; nothing here takes so long unless it waits for what never comes."""


@pytest.fixture
async def account(acme: Tenant) -> AccountId:
    return await add_account(acme.database, acme.workspace)


@pytest.fixture
async def post_id(acme: Tenant, account: AccountId) -> str:
    data = await acme.client.query(
        "mutation ($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }",
        input={"content": "hello", "accountIds": [account]},
    )
    created: str = data["createPost"]["post"]["postId"]
    return created


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


async def test_it_answers_when_something_is_new(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    waiting = asyncio.create_task(get_results(acme, post_id))
    await wait_for_subscriptions(acme.client, 1)
    await record_published(acme, post_id, account)

    data = success_data(await waiting)
    assert data["post_status"] == "published"
    assert data["results"][0]["platform_post_url"] == "https://x.example/1"


async def test_whoever_shows_the_tag_of_what_it_has_waits_for_something_else(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    etag = (await get_results(acme, post_id, wait="0")).headers["etag"]
    waiting = asyncio.create_task(get_results(acme, post_id, etag=etag))
    await wait_for_subscriptions(acme.client, 1)
    await record_published(acme, post_id, account)

    response = await waiting
    assert response.status_code == 200
    assert response.headers["etag"] != etag
    assert success_data(response)["post_status"] == "published"


async def test_what_became_new_before_it_asked_is_answered_at_once(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    etag = (await get_results(acme, post_id, wait="0")).headers["etag"]
    await record_published(acme, post_id, account)

    response = await get_results(acme, post_id, etag=etag)
    assert success_data(response)["post_status"] == "published"


async def test_when_the_time_is_up_it_says_what_is_there(acme: Tenant, post_id: str) -> None:
    response = await get_results(acme, post_id, wait="1")
    assert success_data(response)["post_status"] == "publishing"
    again = await get_results(acme, post_id, wait="1", etag=response.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]


async def test_what_is_not_shown_does_not_end_the_wait(
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


async def test_a_post_that_is_deleted_meanwhile_is_not_found(acme: Tenant, post_id: str) -> None:
    waiting = asyncio.create_task(get_results(acme, post_id))
    await wait_for_subscriptions(acme.client, 1)
    await acme.client.request("DELETE", f"/v1/posts/{post_id}")
    assert failure_error(await waiting, 404)["code"] == "not_found"


async def test_nobody_waits_for_a_post_that_there_is_not(acme: Tenant) -> None:
    assert failure_error(await get_results(acme, NONEXISTENT_ID), 404)["code"] == "not_found"
    assert failure_error(await get_results(acme, "x"), 400)["code"] == "invalid_id"


@pytest.mark.parametrize("wait", ["61", "-1", "1.5", "x", "10000000000"])
async def test_it_waits_a_minute_at_most(acme: Tenant, post_id: str, wait: str) -> None:
    error = failure_error(await get_results(acme, post_id, wait=wait), 400)
    assert (error["code"], error["message"]) == (
        "validation_error",
        f"wait must be a whole number from 0 to 60; it is {wait!r}.",
    )


async def test_it_may_take_longer_than_other_requests(
    acme: Tenant, post_id: str, account: AccountId
) -> None:
    deadline = timedelta(seconds=1)
    settings = replace(UNLIMITED_SETTINGS, request_timeout=deadline)
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        brief = replace(acme, client=client)
        waiting = asyncio.create_task(get_results(brief, post_id))
        await asyncio.sleep(1.2 * deadline.total_seconds())
        await record_published(acme, post_id, account)
        assert success_data(await waiting)["post_status"] == "published"


async def test_so_many_may_wait_as_may_follow(acme: Tenant, post_id: str) -> None:
    settings = replace(UNLIMITED_SETTINGS, max_subscriptions_per_key=1)
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        narrow = replace(acme, client=client)
        waiting = asyncio.create_task(get_results(narrow, post_id, wait="2"))
        await wait_for_subscriptions(narrow.client, 1)
        error = failure_error(await get_results(narrow, post_id), 429)
        assert error["message"] == (
            "One API key may have 1 subscriptions open at a time; end one of them first."
        )
        assert success_data(await waiting)["post_status"] == "publishing"


async def test_whoever_cannot_wait_now_is_told_to_try_again(database_url: str) -> None:
    """304 says that the time was up; for a failure it would make clients ask without a pause."""
    between = InterceptingDriver()
    failures = [ServiceUnavailable("away")]

    async def fail_when_unavailable() -> None:
        if failures:
            raise failures.pop()

    async with Database(database_url, wrap_driver=between) as database:
        workspace = await add_workspace(database)
        key = await add_api_key(database, workspace)
        post_id = uuid4()
        await add_post(database, workspace, id=post_id)
        async with app_client(database, token=key.token) as client:
            between.before_nth(1, fail_when_unavailable)  # after the look-up of the key
            answer = await client.get(f"/v1/posts/{post_id}/results?wait=30")
    error = failure_error(answer, 503)
    assert (error["code"], error["message"]) == (
        "service_unavailable",
        "Changes cannot be followed now. Try again in a moment.",
    )
    assert answer.headers["Retry-After"] == "2"
