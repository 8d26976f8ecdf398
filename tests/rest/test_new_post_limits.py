"""CREATE_RATE_LIMIT: shared by REST and GraphQL; each post of a bulk request counts."""

from collections.abc import AsyncIterator

import pytest

from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_api_key
from tests.rest.envelope import failure_error, ordered_json
from tests.rest.write_requests import non_retryable_error, send_json, uncached_data

DRAFT = {"content": "Idea", "draft": True}
CREATE = "mutation($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }"
CREATE_SEVERAL = "mutation($input: CreatePostsInput!) { createPosts(input: $input) { succeeded } }"
RESETS_AT = str(int(NOW.timestamp()) + 60)
TOO_MANY_MESSAGE = (
    "Too many new posts: 5 per minute are allowed for one API key. Try again in 60 s."
)


@pytest.fixture
async def limited_client(acme: Tenant) -> AsyncIterator[Tenant]:
    """A client that may create five posts per minute."""
    key = await add_api_key(acme.database, acme.workspace)
    settings = read_settings({"CREATE_RATE_LIMIT": "5/minute"})
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        yield Tenant(acme.database, acme.workspace, client)


async def test_posts_over_limit_are_refused_with_retry_after(limited_client: Tenant) -> None:
    for remaining in (4, 3):
        response = await send_json(
            limited_client, "POST", "/v1/posts", {**DRAFT, "content": f"{remaining}"}
        )
        uncached_data(response, 201)
        assert response.headers["X-RateLimit-Limit"] == "5"
        assert response.headers["X-RateLimit-Remaining"] == str(remaining)
    response = await send_json(
        limited_client, "POST", "/v1/posts/bulk", {"posts": [DRAFT, {"content": 5}]}
    )
    assert uncached_data(response, 207)["summary"]["total"] == 2
    assert response.headers["X-RateLimit-Remaining"] == "1"
    await limited_client.client.query(CREATE, input={"content": "By GraphQL", "draft": True})
    before = await all_rows(limited_client.database)

    for path, body in (("/v1/posts", DRAFT), ("/v1/posts/bulk", {"posts": [DRAFT]})):
        response = await send_json(limited_client, "POST", path, body)
        error = failure_error(response, 429)
        assert ordered_json(error) == ordered_json(
            non_retryable_error("rate_limit_exceeded", None, TOO_MANY_MESSAGE) | {"retryable": True}
        )
        assert response.headers["Retry-After"] == "60"
        assert response.headers["X-RateLimit-Limit"] == "5"
        assert response.headers["X-RateLimit-Remaining"] == "0"
        assert response.headers["X-RateLimit-Reset"] == RESETS_AT
    for document, variables in ((CREATE, DRAFT), (CREATE_SEVERAL, {"posts": [DRAFT]})):
        assert await limited_client.client.expect_error(document, input=variables) == (
            "RATE_LIMIT_EXCEEDED",
            None,
            TOO_MANY_MESSAGE,
        )
    assert await all_rows(limited_client.database) == before
    response = await limited_client.client.get("/v1/posts")
    assert response.headers["X-RateLimit-Limit"] == "60"


async def test_bulk_over_remaining_limit_is_refused_and_not_counted(limited_client: Tenant) -> None:
    uncached_data(await send_json(limited_client, "POST", "/v1/posts", DRAFT), 201)

    response = await send_json(limited_client, "POST", "/v1/posts/bulk", {"posts": [DRAFT] * 5})
    assert failure_error(response, 429)["code"] == "rate_limit_exceeded"
    assert response.headers["X-RateLimit-Remaining"] == "4"
    uncached_data(
        await send_json(limited_client, "POST", "/v1/posts/bulk", {"posts": [DRAFT] * 4}), 201
    )


async def test_bulk_over_total_limit_is_refused_for_good(limited_client: Tenant) -> None:
    before = await all_rows(limited_client.database)
    error = failure_error(
        await send_json(limited_client, "POST", "/v1/posts/bulk", {"posts": [DRAFT] * 6}), 400
    )
    message = "There are 6 posts; 5 per minute are allowed for one API key."
    assert error == non_retryable_error("bulk_limit_exceeded", "posts", message)
    assert await all_rows(limited_client.database) == before


async def test_aliased_mutations_are_counted_individually(limited_client: Tenant) -> None:
    fields = " ".join(
        f'p{number}: createPost(input: {{content: "{number}", draft: true}}) {{ post {{ postId }} }}'
        for number in range(7)
    )
    result = await limited_client.client.execute(f"mutation {{ {fields} }}")
    assert [result["data"][f"p{number}"] is None for number in range(7)] == [False] * 5 + [True] * 2
    assert {error["extensions"]["code"] for error in result["errors"]} == {"RATE_LIMIT_EXCEEDED"}


async def test_updates_and_invalid_bodies_are_not_counted(limited_client: Tenant) -> None:
    post = uncached_data(await send_json(limited_client, "POST", "/v1/posts", DRAFT), 201)
    for number in range(6):
        body = {"content": f"{number}"}
        uncached_data(
            await send_json(limited_client, "PATCH", f"/v1/posts/{post['id']}", body), 200
        )
        failure_error(
            await send_json(limited_client, "POST", "/v1/posts", {"content": number}), 400
        )
    uncached_data(
        await send_json(limited_client, "POST", "/v1/posts/bulk", {"posts": [DRAFT] * 4}), 201
    )
