"""Every REST response, including errors, has the documented envelope."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db.core.database import Database, WriteSession
from app.db.migrations import migrate
from app.domain.api_keys import Scope
from app.domain.ids import WorkspaceId
from app.rest.endpoints import ENDPOINTS, PREFIXES
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.factories import (
    KEY_PREFIX,
    NOW,
    add_account,
    add_api_key,
    add_post,
    add_workspace,
    started,
)
from tests.rest.envelope import check_envelope, failure_error, success_data

POST = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
ALL_ENDPOINTS = [
    (endpoint.method, prefix + endpoint.path.format(post_id=POST, account_id=2280))
    for prefix in PREFIXES
    for endpoint in ENDPOINTS
]

UNKNOWN_PATHS = [
    "/",
    "/v1",
    "/v1/",
    "/v1/posts/",
    "/v1/nothing",
    "/v1/media",
    "/v1/campaigns/7",
    "/v1/analytics",
    f"/v1/posts/{POST}/nothing",
    f"/api/v1/posts/{POST}/results/first",
    "/v2/posts",
    "/api/posts",
    "/v1//posts",
    "/v1/%00",
]


async def test_both_prefixes_have_the_same_responses(acme: Tenant) -> None:
    for path in await query_paths(acme.database, acme.workspace):
        responses = [await acme.client.get(prefix + path) for prefix in PREFIXES]
        bodies = [success_data(response) for response in responses]
        assert bodies[0] == bodies[1]
        assert len({response.headers["ETag"] for response in responses}) == 1


async def query_paths(database: Database, workspace: WorkspaceId) -> list[str]:
    """Paths of all query endpoints, with the ids of an existing post and account."""
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: started()})
    return [
        endpoint.path.format(post_id=post.id, account_id=account)
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


async def test_every_query_endpoint_requires_the_scope_read(acme: Tenant) -> None:
    scopes = [Scope.WRITE, Scope.PUBLISH, Scope.ADMIN]
    key = await add_api_key(acme.database, acme.workspace, scopes=scopes)
    client = acme.client.with_token(key.token)
    for path in await query_paths(acme.database, acme.workspace):
        assert failure_error(await client.get(f"/v1{path}"), 403) == {
            "message": "This needs an API key with the scope read.",
            "code": "insufficient_scope",
            "retryable": False,
            "details": None,
        }


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
async def test_unknown_path_is_not_found(database: Database, path: str) -> None:
    async with app_client(database) as client:
        for method in ("GET", "POST", "DELETE"):
            error = failure_error(await client.request(method, path), 404)
            assert error["code"] == "not_found"
            assert "not found" in error["message"]


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
    ],
)
async def test_unsupported_method_is_rejected_with_the_allowed_methods(
    database: Database, path: str, allowed: set[str]
) -> None:
    assert path.replace(POST, "{post_id}").replace("2280", "{account_id}") in {
        endpoint.path for endpoint in ENDPOINTS
    }
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


MALFORMED_IDS = [
    *(("post_id", path) for path in ("/v1/posts/x", "/v1/posts/x/results")),
    *(
        ("account_id", f"/v1/accounts/{number}{suffix}")
        for number in ("0", "-1", "x", "1.5", "2147483648", "9" * 400)
        for suffix in ("", "/health")
    ),
]


async def test_malformed_id_is_reported_by_its_name(acme: Tenant) -> None:
    for name, path in MALFORMED_IDS:
        error = failure_error(await acme.client.get(path), 400)
        assert error["code"] == "invalid_id"
        assert error["message"].startswith(f"{name}: ")
        assert [item["field"] for item in error["details"]["validation_errors"]] == [name]


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


async def test_internal_errors_are_masked(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database, now=NOW, random_bytes=bytes)
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: started()})
    async with database, app_client(database, token=key.token) as client:
        for table in ("destination", "api_key"):  # needed inside a field, and before any field runs
            async with without_table(database, table):
                response = await client.get(f"/v1/posts/{post.id}/results")
            error = failure_error(response, 500)
            assert (error["code"], error["details"]) == ("internal_error", None)
            for word in (table, "elsewhere", "select", "sql", "asyncpg", "traceback", "/app/"):
                assert word not in response.text.lower()


@asynccontextmanager
async def without_table(database: Database, table: str) -> AsyncIterator[None]:
    """Rename a table during the block, as if it did not exist."""

    async def rename(old: str, new: str) -> None:
        async def work(session: WriteSession) -> None:
            await session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

        await database.write(work)

    await rename(table, "elsewhere")
    yield
    await rename("elsewhere", table)


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
