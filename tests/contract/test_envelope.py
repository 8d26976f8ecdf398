"""Every REST response, including errors, has the documented envelope."""

from datetime import timedelta

import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.ids import WorkspaceId
from app.rest.endpoints import ENDPOINTS, PREFIXES, Endpoint
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.domain.errors import ACCOUNT_ID_MESSAGE, UUID_MESSAGE
from tests.factories import (
    KEY_PREFIX,
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    started,
)
from tests.rest.envelope import check_envelope, failure_error, ordered_json, success_data
from tests.rest.write_requests import (
    expect_write_refusal,
    field_error,
    non_retryable_error,
)
from tests.webhook_rows import add_webhook

POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
WEBHOOK = "0e02b2c3-58cc-4372-a567-f47ac10bd479"
ALL_ENDPOINTS = [
    (
        endpoint.method,
        prefix + endpoint.path.format(post_id=POST, account_id=2280, webhook_id=POST),
    )
    for prefix in PREFIXES
    for endpoint in ENDPOINTS
]


async def test_both_prefixes_have_the_same_responses(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace, scopes=[Scope.READ, Scope.ADMIN])
    client = acme.client.with_token(key.token)
    for path in await query_paths(acme.database, acme.workspace):
        responses = [await client.get(prefix + path) for prefix in PREFIXES]
        bodies = [success_data(response) for response in responses]
        assert bodies[0] == bodies[1]
        assert len({response.headers["ETag"] for response in responses}) == 1


async def query_paths(database: Database, workspace: WorkspaceId) -> list[str]:
    """Paths of all query endpoints, with the ids of an existing post, account and webhook."""
    webhook = await add_webhook(database, workspace)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: started()})
    return [
        endpoint.path.format(post_id=post.id, account_id=account, webhook_id=webhook)
        for endpoint in ENDPOINTS
        if endpoint.method == "GET"
    ]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer sk_live_00000000000000000000000000000000",
        "Bearer pe_live_0000000000000000000000000000000G",
        "Bearer pe_live_00000000000000000000000000000000",
        "Basic cGVfbGl2ZV8wMDAwMDAwMDAwMDAwMDAwMDAwMDA=",
    ],
)
async def test_every_endpoint_requires_a_valid_key(database: Database, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with app_client(database) as client:
        for method, path in ALL_ENDPOINTS:
            response = await client.request(method, path, headers=headers, content=b"{not json")
            assert failure_error(response, 401)["code"] == "invalid_api_key"
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_revoked_and_expired_keys_are_invalid(acme: Tenant) -> None:
    for key in (
        await add_api_key(acme.database, acme.workspace, revoked_at=NOW),
        await add_api_key(acme.database, acme.workspace, expires_at=NOW),
    ):
        response = await acme.client.with_token(key.token).get("/v1/posts")
        assert failure_error(response, 401)["code"] == "invalid_api_key"


@pytest.mark.parametrize("scope", [Scope.READ, Scope.ADMIN])
async def test_every_query_endpoint_requires_only_one_scope(acme: Tenant, scope: Scope) -> None:
    other_scopes = [other for other in Scope if other is not scope]
    others, reader = [
        acme.client.with_token(
            (await add_api_key(acme.database, acme.workspace, scopes=scopes)).token
        )
        for scopes in (other_scopes, [scope])
    ]
    for path in await query_paths(acme.database, acme.workspace):
        if ("webhook" in path) is (scope is Scope.ADMIN):
            assert failure_error(await others.get(f"/v1{path}"), 403) == non_retryable_error(
                "insufficient_scope", None, f"This needs an API key with the scope {scope}."
            )
            success_data(await reader.get(f"/v1{path}"))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/posts", {"GET", "HEAD", "POST"}),
        ("/posts/bulk", {"POST"}),
        ("/posts/retry-failed", {"POST"}),
        (f"/posts/{POST}", {"GET", "HEAD", "PATCH", "DELETE"}),
        (f"/posts/{POST}/results", {"GET", "HEAD"}),
        (f"/posts/{POST}/schedule", {"POST"}),
        (f"/posts/{POST}/retry", {"POST"}),
        ("/accounts", {"GET", "HEAD"}),
        ("/accounts/2280", {"GET", "HEAD"}),
        ("/accounts/2280/health", {"GET", "HEAD"}),
        ("/me", {"GET", "HEAD"}),
        ("/analytics/summary", {"GET", "HEAD"}),
        ("/webhooks", {"GET", "HEAD", "POST"}),
        (f"/webhooks/{WEBHOOK}", {"GET", "HEAD", "PATCH", "DELETE"}),
        (f"/webhooks/{WEBHOOK}/test", {"POST"}),
        (f"/webhooks/{WEBHOOK}/rotate-secret", {"POST"}),
        (f"/webhooks/{WEBHOOK}/deliveries", {"GET", "HEAD"}),
        (f"/webhooks/{WEBHOOK}/redeliver", {"POST"}),
    ],
)
async def test_unsupported_method_is_rejected_with_the_allowed_methods(
    database: Database, path: str, allowed: set[str]
) -> None:
    template = path.replace(POST, "{post_id}").replace("2280", "{account_id}")
    assert template.replace(WEBHOOK, "{webhook_id}") in {endpoint.path for endpoint in ENDPOINTS}
    others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed
    async with app_client(database) as client:
        for prefix in PREFIXES:
            for method in sorted(others):
                response = await client.request(method, prefix + path)
                assert response.headers["Allow"] == ", ".join(sorted(allowed))
                if method == "HEAD":
                    assert (response.status_code, response.content) == (405, b"")
                    continue
                error = failure_error(response, 405)
                assert error["code"] == "method_not_allowed"
                assert error["message"] == (
                    f"{method} is not possible here; use {', '.join(sorted(allowed))}."
                )


MALFORMED_IDS = {
    "post_id": (["x", "f47ac10b58cc4372a5670e02b2c3d479"], UUID_MESSAGE),
    "account_id": (["x", "0", "9" * 400], ACCOUNT_ID_MESSAGE),
    "webhook_id": (["x"], UUID_MESSAGE),
}


@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if "{" in endpoint.path],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
async def test_malformed_id_is_reported_by_its_name(acme: Tenant, endpoint: Endpoint) -> None:
    name = next(name for name in MALFORMED_IDS if f"{{{name}}}" in endpoint.path)
    texts, message = MALFORMED_IDS[name]
    for text in texts:
        path = f"/v1{endpoint.path.format(**{name: text})}"
        error = await expect_write_refusal(acme, endpoint.method, path, status=400)
        assert ordered_json(error) == ordered_json(field_error("invalid_id", name, message))


async def test_exceeded_rate_limit_has_retry_after_and_limit_headers(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    settings = read_settings({"RATE_LIMIT": "2/minute"})
    async with app_client(database, token=key.token, settings=settings) as client:
        responses = [await client.get("/v1/accounts") for _ in range(3)]
    success_data(responses[0])
    success_data(responses[1])
    error = failure_error(responses[2], 429)
    assert error["code"] == "rate_limit_exceeded"
    assert responses[2].headers["Retry-After"] == "60"
    assert [response.headers["X-RateLimit-Limit"] for response in responses] == ["2", "2", "2"]
    assert [response.headers["X-RateLimit-Remaining"] for response in responses] == ["1", "0", "0"]
    resets = str(round((NOW + timedelta(minutes=1)).timestamp()))
    assert {response.headers["X-RateLimit-Reset"] for response in responses} == {resets}


async def test_body_of_a_get_request_is_ignored(acme: Tenant) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        response = await acme.client.get("/v1/accounts", content=b"{not json", headers=headers)
        assert success_data(response)["total"] == 0


async def test_every_response_has_integer_rate_limit_headers(database: Database) -> None:
    token = f"{KEY_PREFIX}{'0' * 32}"
    async with app_client(database, token=token) as client:
        for method, path in (("GET", "/v1/me"), ("GET", "/v1/x"), ("POST", "/v1/me")):
            response = await client.request(method, path)
            check_envelope(response)
            for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"):
                assert response.headers[name].isdecimal()
