"""What a client that holds an answer already is told: weak entity tags, 304 and HEAD."""

from datetime import timedelta

import pytest

from tests.clients import Tenant, app_client
from tests.factories import NOW, add_account, add_api_key, add_post, published, started
from tests.rest.envelope import check_envelope, success_data

VARYING_HEADERS = ("X-Request-Id", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.fixture
async def results_path(acme: Tenant) -> str:
    """The path of the results of a post in flight."""
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: started()})
    return f"/v1/posts/{post.id}/results"


async def test_an_answer_may_be_kept_by_its_owner_and_is_checked_every_time(
    acme: Tenant, results_path: str
) -> None:
    response = await acme.client.get(results_path)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["ETag"].startswith('W/"')


async def test_the_tag_covers_the_data_and_not_the_meta(acme: Tenant, results_path: str) -> None:
    first = await acme.client.get(results_path)
    second = await acme.client.get(results_path)
    assert check_envelope(first)["meta"] != check_envelope(second)["meta"]
    assert first.headers["ETag"] == second.headers["ETag"]


async def test_a_client_that_has_the_data_gets_304_without_a_body(
    acme: Tenant, results_path: str
) -> None:
    first = await acme.client.get(results_path)
    for known in (first.headers["ETag"], f'"other", {first.headers["ETag"]}', "*"):
        again = await acme.client.get(results_path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        for name in ("ETag", "Cache-Control", "Retry-After", "X-RateLimit-Limit"):
            assert again.headers[name] == first.headers[name]
        assert "X-Request-Id" in again.headers
        assert "Content-Type" not in again.headers


async def test_a_client_with_other_data_gets_the_answer(acme: Tenant, results_path: str) -> None:
    response = await acme.client.get(results_path, headers={"If-None-Match": 'W/"0", "1"'})
    assert success_data(response)["post_status"] == "publishing"


async def test_a_change_changes_the_tag(acme: Tenant, results_path: str) -> None:
    known = (await acme.client.get("/v1/posts")).headers["ETag"]
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: published()})
    response = await acme.client.get("/v1/posts", headers={"If-None-Match": known})
    assert success_data(response)["total"] == 2
    assert response.headers["ETag"] != known


async def test_a_later_request_for_the_same_data_is_304_too(
    acme: Tenant, results_path: str
) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    known = (await acme.client.get("/v1/accounts")).headers["ETag"]
    later = NOW + timedelta(days=1)
    async with app_client(acme.database, token=key.token, now=later) as client:
        response = await client.get("/v1/accounts", headers={"If-None-Match": known})
    assert response.status_code == 304


async def test_an_error_is_not_kept_and_has_no_tag(acme: Tenant) -> None:
    response = await acme.client.get("/v1/posts/x", headers={"If-None-Match": "*"})
    assert response.status_code == 400
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers


async def test_head_answers_like_get_without_the_body(acme: Tenant, results_path: str) -> None:
    for path in (results_path, "/v1/posts/x", "/v1/nothing"):
        got = await acme.client.get(path)
        head = await acme.client.request("HEAD", path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in VARYING_HEADERS:
            del got.headers[name], head.headers[name]
        assert head.headers == got.headers
