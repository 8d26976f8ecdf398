"""Caching of GET responses: weak entity tags, 304 and HEAD."""

from datetime import timedelta

import pytest

from tests.clients import Tenant, app_client
from tests.factories import NOW, add_account, add_api_key, add_post, published, started
from tests.rest.envelope import check_envelope, success_data

VARYING_HEADERS = ("X-Request-Id", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.fixture
async def results_path(acme: Tenant) -> str:
    """Path of the results of a post that is being published."""
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: started()})
    return f"/v1/posts/{post.id}/results"


async def test_response_is_private_and_its_etag_covers_data_but_not_meta(
    acme: Tenant, results_path: str
) -> None:
    first = await acme.client.get(results_path)
    second = await acme.client.get(results_path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.headers["ETag"].startswith('W/"')
    assert check_envelope(first)["meta"] != check_envelope(second)["meta"]
    assert first.headers["ETag"] == second.headers["ETag"]


async def test_matching_etag_gets_304_without_body(acme: Tenant, results_path: str) -> None:
    first = await acme.client.get(results_path)
    for tags in (first.headers["ETag"], f'"other", {first.headers["ETag"]}', "*"):
        repeated = await acme.client.get(results_path, headers={"If-None-Match": tags})
        assert (repeated.status_code, repeated.content) == (304, b"")
        for name in ("ETag", "Cache-Control", "Retry-After", "X-RateLimit-Limit"):
            assert repeated.headers[name] == first.headers[name]
        assert "X-Request-Id" in repeated.headers
        assert "Content-Type" not in repeated.headers


async def test_other_etag_gets_full_response(acme: Tenant, results_path: str) -> None:
    response = await acme.client.get(results_path, headers={"If-None-Match": 'W/"0", "1"'})
    assert success_data(response)["post_status"] == "publishing"


async def test_change_of_data_changes_etag(acme: Tenant, results_path: str) -> None:
    etag = (await acme.client.get("/v1/posts")).headers["ETag"]
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: published()})
    response = await acme.client.get("/v1/posts", headers={"If-None-Match": etag})
    assert success_data(response)["total"] == 2
    assert response.headers["ETag"] != etag


async def test_etag_is_stable_over_time(acme: Tenant, results_path: str) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    etag = (await acme.client.get("/v1/accounts")).headers["ETag"]
    later = NOW + timedelta(days=1)
    async with app_client(acme.database, token=key.token, now=later) as client:
        response = await client.get("/v1/accounts", headers={"If-None-Match": etag})
    assert response.status_code == 304


async def test_error_is_not_cacheable_and_has_no_etag(acme: Tenant) -> None:
    response = await acme.client.get("/v1/posts/x", headers={"If-None-Match": "*"})
    assert response.status_code == 400
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers


async def test_head_has_headers_of_get_and_no_body(acme: Tenant, results_path: str) -> None:
    for path in (results_path, "/v1/posts/x", "/v1/nothing"):
        get = await acme.client.get(path)
        head = await acme.client.request("HEAD", path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        for name in VARYING_HEADERS:
            del get.headers[name], head.headers[name]
        assert head.headers == get.headers
