"""snac2 and mastodon-mock store statuses, and differ in their idempotency and their faults."""

import asyncio

import httpx
import pytest

from tests.platform_servers.mastodon import (
    MastodonAccount,
    MastodonApiServer,
    MastodonMockServer,
    SnacServer,
)

pytestmark = pytest.mark.slow

KEY = "post-results-d1e2f3a4-b5c6-7890-abcd-ef1234567890"


async def post_status(
    server: MastodonApiServer, account: MastodonAccount, text: str = "Hello"
) -> httpx.Response:
    async with server.client(account) as client:
        return await client.post(
            "/api/v1/statuses", headers={"Idempotency-Key": KEY}, json={"status": text}
        )


async def test_status_is_posted_to_snac_and_listed(snac: SnacServer) -> None:
    account, other_account = await snac.create_account(), await snac.create_account()
    response = await post_status(snac, account)

    assert response.status_code == 200
    assert response.json()["text"] == "Hello"
    (status,) = await snac.statuses(account)
    assert [status[name] for name in ("id", "url", "created_at")] == [
        response.json()[name] for name in ("id", "url", "created_at")
    ]
    assert await snac.statuses(other_account) == []


async def test_snac_ignores_idempotency_keys(snac: SnacServer) -> None:
    account = await snac.create_account()
    ids = [(await post_status(snac, account)).json()["id"] for _ in range(2)]
    assert [status["id"] for status in await snac.statuses(account)] == ids[::-1]


async def test_statuses_of_all_pages_of_snac_are_listed(snac: SnacServer) -> None:
    account = await snac.create_account()
    ids = [(await post_status(snac, account)).json()["id"] for _ in range(41)]
    assert [status["id"] for status in await snac.statuses(account)] == ids[::-1]


async def test_mastodon_mock_posts_once_per_idempotency_key(
    mastodon_mock: MastodonMockServer,
) -> None:
    account = await mastodon_mock.create_account()
    responses = await asyncio.gather(
        *(post_status(mastodon_mock, account, text) for text in ("Hello", "Hello", "Other"))
    )

    assert [response.status_code for response in responses] == [200, 200, 200]
    (status,) = await mastodon_mock.statuses(account)
    assert {response.json()["id"] for response in responses} == {status["id"]}


async def test_fault_of_mastodon_mock_ends_after_its_requests(
    mastodon_mock: MastodonMockServer,
) -> None:
    account = await mastodon_mock.create_account()
    async with mastodon_mock.fault({"type": "status", "status": 503}):
        failed = await post_status(mastodon_mock, account)
        assert await mastodon_mock.statuses(account) == []
        posted = await post_status(mastodon_mock, account)

    assert (failed.status_code, failed.json()) == (
        503,
        {"error": "Service temporarily unavailable"},
    )
    assert posted.status_code == 200


async def test_fault_of_mastodon_mock_ends_with_its_block(
    mastodon_mock: MastodonMockServer,
) -> None:
    account = await mastodon_mock.create_account()
    async with mastodon_mock.fault({"type": "ratelimit"}, max_requests=2):
        limited = await post_status(mastodon_mock, account)
    posted = await post_status(mastodon_mock, account)

    assert (limited.status_code, limited.headers["retry-after"]) == (429, "300")
    assert posted.status_code == 200


async def test_statuses_of_all_pages_of_mastodon_mock_are_listed(
    mastodon_mock: MastodonMockServer,
) -> None:
    account = await mastodon_mock.create_account()
    async with mastodon_mock.client(account) as client:
        ids = [
            (await client.post("/api/v1/statuses", json={"status": f"Post {number}"})).json()["id"]
            for number in range(41)
        ]
    assert [status["id"] for status in await mastodon_mock.statuses(account)] == ids[::-1]
