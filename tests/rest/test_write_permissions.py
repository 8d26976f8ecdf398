"""Writes require the write scope and are refused in mirror workspaces."""

from typing import Any

import pytest

from app.domain.api_keys import Scope
from app.rest.endpoints import ENDPOINTS
from tests.clients import Tenant
from tests.factories import add_account, add_api_key, add_post, add_workspace, draft
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


REFUSALS = {
    403: ("insufficient_scope", "This needs an API key with the scope write."),
    409: (
        "read_only_mirror",
        "This workspace mirrors another service and cannot be changed here.",
    ),
}


@pytest.mark.parametrize(("endpoint", "body"), REQUEST_BODIES.items())
async def test_write_requires_write_scope_and_local_workspace(
    acme: Tenant, endpoint: tuple[str, str], body: dict[str, Any] | None
) -> None:
    method, path = endpoint
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    other_scopes = [scope for scope in Scope if scope is not Scope.WRITE]
    for workspace, scopes, status in ((acme.workspace, other_scopes, 403), (mirror, Scope, 409)):
        account = await add_account(acme.database, workspace)
        post = await add_post(acme.database, workspace, {account: draft()}, is_draft=True)
        key = await add_api_key(acme.database, workspace, scopes=scopes)
        caller = Tenant(acme.database, workspace, acme.client.with_token(key.token))

        error = await expect_write_refusal(
            caller, method, f"/v1{path.format(post_id=post.id)}", body, status=status
        )

        code, message = REFUSALS[status]
        assert error == non_retryable_error(code, None, message)
