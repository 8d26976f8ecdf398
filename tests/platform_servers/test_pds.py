"""The PDS creates a record at most once, and refuses as Bluesky does."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from tests.platform_servers.fault_proxy import FaultPlan, fault_proxy
from tests.platform_servers.pds import POST_COLLECTION, PdsAccount, PdsServer, run_pds
from tests.servers import unused_port

pytestmark = pytest.mark.slow

RECORD_KEY = "3m6aaaaaaaa2a"
CREATE_SESSION = "/xrpc/com.atproto.server.createSession"


async def create_post(
    url: str,
    account: PdsAccount,
    *,
    record_key: str = RECORD_KEY,
    text: str = "Hello",
    authorization: str | None = None,
    client_timeout: timedelta = timedelta(seconds=30),
) -> httpx.Response:
    """Create a record unless there is one with this key, as an adapter does."""
    record = {"$type": POST_COLLECTION, "text": text, "createdAt": "2026-11-25T10:00:00.000Z"}
    async with httpx.AsyncClient(verify=False, timeout=client_timeout.total_seconds()) as client:
        return await client.post(
            f"{url}/xrpc/com.atproto.repo.putRecord",
            headers={"Authorization": authorization or account.authorization},
            json={
                "repo": account.did,
                "collection": POST_COLLECTION,
                "rkey": record_key,
                "swapRecord": None,
                "record": record,
            },
        )


async def create_session(pds: PdsServer, account: PdsAccount) -> httpx.Response:
    credentials = {"identifier": account.handle, "password": account.app_password}
    async with httpx.AsyncClient(base_url=pds.url, verify=False) as client:
        return await client.post(CREATE_SESSION, json=credentials)


async def test_record_with_the_same_key_is_refused(pds: PdsServer) -> None:
    account = await pds.create_account()
    first = await create_post(pds.url, account, text="First")
    second = await create_post(pds.url, account, text="Second")

    assert first.status_code == 200
    uri, cid = first.json()["uri"], first.json()["cid"]
    assert uri == f"at://{account.did}/{POST_COLLECTION}/{RECORD_KEY}"
    assert (second.status_code, second.json()) == (
        400,
        {"error": "InvalidSwap", "message": f"Record was at {cid}"},
    )
    (record,) = await pds.records(account)
    assert (record["uri"], record["cid"], record["value"]["text"]) == (uri, cid, "First")


async def test_records_of_all_pages_are_read(pds: PdsServer) -> None:
    account = await pds.create_account()
    texts = [f"Post {number}" for number in range(101)]
    writes = [
        {
            "$type": "com.atproto.repo.applyWrites#create",
            "collection": POST_COLLECTION,
            "value": {"$type": POST_COLLECTION, "text": text, "createdAt": "2026-11-25T10:00:00Z"},
        }
        for text in texts
    ]
    body = {"repo": account.did, "writes": writes}
    response = await pds.call("com.atproto.repo.applyWrites", body, account.authorization)

    assert response.status_code == 200
    assert sorted(record["value"]["text"] for record in await pds.records(account)) == sorted(texts)


async def test_session_with_the_app_password_has_the_public_url(pds: PdsServer) -> None:
    account = await pds.create_account()
    session = (await create_session(pds, account)).json()

    assert (session["did"], session["handle"], session["active"]) == (
        account.did,
        account.handle,
        True,
    )
    assert service_urls(session) == [f"http://localhost:{pds.port}"]


def service_urls(session: dict[str, Any]) -> list[str]:
    return [service["serviceEndpoint"] for service in session["didDoc"]["service"]]


async def test_expired_access_token_is_refused(pds: PdsServer) -> None:
    account = await pds.create_account()
    token = pds.expired_access_token(account)
    response = await create_post(pds.url, account, authorization=f"Bearer {token}")

    assert (response.status_code, response.json()) == (
        400,
        {"error": "ExpiredToken", "message": "Token has expired"},
    )
    assert await pds.records(account) == []


async def test_account_that_was_taken_down_is_refused(pds: PdsServer) -> None:
    account = await pds.create_account()
    await pds.take_down(account)
    post = await create_post(pds.url, account)
    session = await create_session(pds, account)

    assert (post.status_code, post.json()) == (
        401,
        {"error": "AccountTakedown", "message": "Account has been taken down"},
    )
    # Only the main password has the error of the takedown.
    assert (session.status_code, session.json()) == (
        401,
        {"error": "AuthenticationRequired", "message": "Invalid identifier or password"},
    )


async def test_limit_of_sessions_counts_one_account(pds: PdsServer) -> None:
    account, other_account = await pds.create_account(), await pds.create_account()
    await pds.exhaust_session_limit(account)
    response = await create_session(pds, account)

    assert (response.status_code, response.json()) == (
        429,
        {"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"},
    )
    assert 0 < int(response.headers["retry-after"]) <= 300
    assert response.headers["ratelimit-policy"] == "30;w=300"
    assert (await create_session(pds, other_account)).status_code == 200


async def test_limit_of_writes_counts_one_account(pds: PdsServer) -> None:
    account, other_account = await pds.create_account(), await pds.create_account()
    await pds.exhaust_write_limit(account)

    assert (await create_post(pds.url, account)).status_code == 429
    assert await pds.records(account) == []
    assert (await create_post(pds.url, other_account)).status_code == 200


async def test_posts_through_the_fault_proxy_are_created_once(pds: PdsServer) -> None:
    account = await pds.create_account()
    keys = [f"3m6aaaaaaaa{letter}a" for letter in "234567abcdefgh"]
    plan = FaultPlan(
        seed=7,
        may_fail=lambda method, path: path.endswith(".putRecord"),
        rate=0.6,
        max_delay=timedelta(seconds=0.2),
    )
    async with fault_proxy(pds.port, plan) as proxy:

        @retry(retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_attempt(100))
        async def create_with_retries(record_key: str) -> None:
            response = await create_post(
                proxy.url, account, record_key=record_key, client_timeout=timedelta(seconds=0.5)
            )
            assert response.status_code == 200 or response.json()["error"] == "InvalidSwap"

        await asyncio.gather(*map(create_with_retries, keys))

    assert set(proxy.requests) == {None, *plan.faults}
    created = [record["uri"].rpartition("/")[2] for record in await pds.records(account)]
    assert sorted(created) == sorted(keys)


async def test_public_port_is_that_of_a_proxy(tmp_path: Path) -> None:
    plan = FaultPlan(seed=1, may_fail=lambda method, path: False, rate=0)
    public_port = unused_port()
    with run_pds(tmp_path, public_port=public_port) as pds:
        account = await pds.create_account()
        session = (await create_session(pds, account)).json()
        assert service_urls(session) == [f"http://localhost:{public_port}"]
        async with fault_proxy(pds.port, plan, port=public_port) as proxy:
            assert (await create_post(proxy.url, account)).status_code == 200
