"""Writes require their scope and are refused in mirror workspaces."""

from typing import Any

import pytest

from app.domain.api_keys import Scope
from app.rest.endpoints import ENDPOINTS
from tests.clients import Tenant
from tests.factories import add_account, add_api_key, add_post, add_workspace, draft
from tests.rest.write_requests import expect_write_refusal, non_retryable_error
from tests.webhook_rows import add_webhook

REQUEST_BODIES: dict[tuple[str, str], dict[str, Any] | None] = {
    ("POST", "/posts"): {"content": "Sale", "draft": True},
    ("POST", "/posts/bulk"): {"posts": [{"content": "Sale", "draft": True}, 5]},
    ("POST", "/posts/retry-failed"): {"platform": "x"},
    ("PATCH", "/posts/{post_id}"): {"content": "Else"},
    ("DELETE", "/posts/{post_id}"): None,
    ("POST", "/posts/{post_id}/schedule"): {"publish_now": True},
    ("POST", "/posts/{post_id}/retry"): None,
    ("POST", "/webhooks"): {"url": "https://receiver.example", "events": ["post.failed"]},
    ("PATCH", "/webhooks/{webhook_id}"): {"name": "CRM"},
    ("DELETE", "/webhooks/{webhook_id}"): None,
    ("POST", "/webhooks/{webhook_id}/test"): None,
    ("POST", "/webhooks/{webhook_id}/rotate-secret"): None,
    ("POST", "/webhooks/{webhook_id}/redeliver"): {"failed_since": "2026-04-15"},
}


def test_every_writing_endpoint_is_covered() -> None:
    writes = {
        (endpoint.method, endpoint.path) for endpoint in ENDPOINTS if endpoint.method != "GET"
    }
    assert REQUEST_BODIES.keys() == writes - {("POST", "/posts/check")}  # stores nothing


REFUSALS = {
    403: ("insufficient_scope", "This needs an API key with the scope {}."),
    409: (
        "read_only_mirror",
        "This workspace mirrors another service and cannot be changed here.",
    ),
}


@pytest.mark.parametrize(("endpoint", "body"), REQUEST_BODIES.items())
async def test_write_requires_its_scope_and_local_workspace(
    acme: Tenant, endpoint: tuple[str, str], body: dict[str, Any] | None
) -> None:
    method, path = endpoint
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    needed = Scope.ADMIN if "webhook" in path else Scope.WRITE
    other_scopes = [scope for scope in Scope if scope is not needed]
    for workspace, scopes, status in ((acme.workspace, other_scopes, 403), (mirror, Scope, 409)):
        account = await add_account(acme.database, workspace)
        post = await add_post(acme.database, workspace, {account: draft()}, is_draft=True)
        webhook = await add_webhook(acme.database, workspace)
        key = await add_api_key(acme.database, workspace, scopes=scopes)
        caller = Tenant(acme.database, workspace, acme.client.with_token(key.token))

        error = await expect_write_refusal(
            caller,
            method,
            f"/v1{path.format(post_id=post.id, webhook_id=webhook)}",
            body,
            status=status,
        )

        code, message = REFUSALS[status]
        assert error == non_retryable_error(code, None, message.format(needed))
