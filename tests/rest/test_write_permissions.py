"""Writes require the write scope and are refused in mirror workspaces."""

from typing import Any

import pytest

from app.domain.api_keys import Scope
from app.rest.endpoints import ENDPOINTS
from tests.clients import Tenant, app_client
from tests.factories import add_account, add_api_key, add_post, add_workspace, draft
from tests.rest.envelope import success_data
from tests.rest.write_requests import expect_write_refusal, non_retryable_error

REQUEST_BODIES: dict[tuple[str, str], dict[str, Any] | None] = {
    ("POST", "/posts"): {"content": "Sale", "draft": True},
    ("POST", "/posts/bulk"): {"posts": [{"content": "Sale", "draft": True}, 5]},
    ("POST", "/posts/retry-failed"): {"platform": "x"},
    ("PATCH", "/posts/{post_id}"): {"content": "Else"},
    ("DELETE", "/posts/{post_id}"): None,
    ("POST", "/posts/{post_id}/schedule"): {"publish_now": True},
    ("POST", "/posts/{post_id}/retry"): None,
}


def test_every_writing_endpoint_is_covered() -> None:
    writes = {
        (endpoint.method, endpoint.path) for endpoint in ENDPOINTS if endpoint.method != "GET"
    }
    assert REQUEST_BODIES.keys() == writes


@pytest.mark.parametrize(("endpoint", "body"), REQUEST_BODIES.items())
async def test_mirror_refuses_every_write(
    acme: Tenant, endpoint: tuple[str, str], body: dict[str, Any] | None
) -> None:
    method, path = endpoint
    workspace = await add_workspace(acme.database, mirror_of="https://example.com")
    account = await add_account(acme.database, workspace)
    post = await add_post(acme.database, workspace, {account: draft()}, is_draft=True)
    key = await add_api_key(acme.database, workspace)
    async with app_client(acme.database, token=key.token) as client:
        mirror = Tenant(acme.database, workspace, client)
        error = await expect_write_refusal(
            mirror, method, f"/v1{path.format(post_id=post.id)}", body, status=409
        )
        assert success_data(await client.get("/v1/posts"))["total"] == 1

    assert error == non_retryable_error(
        "read_only_mirror",
        None,
        "This workspace mirrors another service and cannot be changed here.",
    )


@pytest.mark.parametrize(("endpoint", "body"), REQUEST_BODIES.items())
async def test_key_without_write_scope_is_refused(
    acme: Tenant, endpoint: tuple[str, str], body: dict[str, Any] | None
) -> None:
    method, path = endpoint
    account = await add_account(acme.database, acme.workspace)
    post = await add_post(acme.database, acme.workspace, {account: draft()}, is_draft=True)
    scopes = [scope for scope in Scope if scope is not Scope.WRITE]
    key = await add_api_key(acme.database, acme.workspace, scopes=scopes)
    reader = Tenant(acme.database, acme.workspace, acme.client.with_token(key.token))

    error = await expect_write_refusal(
        reader, method, f"/v1{path.format(post_id=post.id)}", body, status=403
    )

    assert error == non_retryable_error(
        "insufficient_scope", None, "This needs an API key with the scope write."
    )
