"""Every answer under the REST prefixes, and every refusal, wears the envelope."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db.core.database import Database, WriteSession
from app.db.migrations import migrate
from app.domain.api_keys import Scope
from app.rest.endpoints import ENDPOINTS, PREFIXES
from app.settings import read_settings
from tests.clients import app_client
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
QUERY_ENDPOINTS = [call for call in ENDPOINTS if call.method == "GET"]
MUTATION_ENDPOINTS = [call for call in ENDPOINTS if call.method != "GET"]
ALL_ENDPOINTS = [
    (call.method, prefix + call.path.format(post_id=POST, account_id=2280))
    for prefix in PREFIXES
    for call in ENDPOINTS
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


async def test_both_prefixes_answer_the_same(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    account = await add_account(database, workspace, id=2280)
    post = await add_post(database, workspace, {account: started()})
    async with app_client(database, token=key.token) as client:
        for read in QUERY_ENDPOINTS:
            path = read.path.format(post_id=post.id, account_id=account)
            answers = [await client.get(prefix + path) for prefix in PREFIXES]
            bodies = [success_data(answer) for answer in answers]
            assert bodies[0] == bodies[1]
            assert len({answer.headers["ETag"] for answer in answers}) == 1


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
async def test_every_path_needs_a_key(database: Database, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with app_client(database) as client:
        for method, path in ALL_ENDPOINTS:
            response = await client.request(method, path, headers=headers, content=b"{not json")
            assert failure_error(response, 401)["code"] == "invalid_api_key"
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_and_an_expired_key_open_nothing(database: Database) -> None:
    workspace = await add_workspace(database)
    keys = (
        await add_api_key(database, workspace, revoked_at=NOW),
        await add_api_key(database, workspace, expires_at=NOW),
    )
    async with app_client(database) as client:
        for key in keys:
            response = await client.with_token(key.token).get("/v1/posts")
            assert failure_error(response, 401)["code"] == "invalid_api_key"


async def test_every_path_needs_the_scope_to_read(database: Database) -> None:
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, scopes=[Scope.WRITE, Scope.PUBLISH, Scope.ADMIN])
    account = await add_account(database, workspace, id=2280)
    post = await add_post(database, workspace, {account: started()})
    async with app_client(database, token=key.token) as client:
        for read in QUERY_ENDPOINTS:
            path = read.path.format(post_id=post.id, account_id=account)
            error = failure_error(await client.get(f"/v1{path}"), 403)
            assert error == {
                "message": "This needs an API key with the scope read.",
                "code": "insufficient_scope",
                "retryable": False,
                "details": None,
            }


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
async def test_a_path_that_is_not_served_is_not_found(database: Database, path: str) -> None:
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
async def test_a_method_that_a_path_does_not_have_is_told_those_that_it_has(
    database: Database, path: str, allowed: set[str]
) -> None:
    assert path.replace(POST, "{post_id}").replace("2280", "{account_id}") in {
        call.path for call in ENDPOINTS
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


@pytest.mark.parametrize("path", ["/v1/posts/x", "/v1/posts/x/results"])
async def test_a_malformed_post_id_is_an_invalid_id(database: Database, path: str) -> None:
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token) as client:
        error = failure_error(await client.get(path), 400)
    assert error["code"] == "invalid_id"
    assert error["message"].startswith("post_id: ")
    assert [each["field"] for each in error["details"]["validation_errors"]] == ["post_id"]


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "2147483648", "9" * 400])
async def test_a_malformed_account_id_is_an_invalid_id(database: Database, number: str) -> None:
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token) as client:
        for path in (f"/v1/accounts/{number}", f"/v1/accounts/{number}/health"):
            error = failure_error(await client.get(path), 400)
            assert error["code"] == "invalid_id"
            assert [each["field"] for each in error["details"]["validation_errors"]] == [
                "account_id"
            ]


async def test_too_many_requests_say_when_to_come_back(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    settings = read_settings({"RATE_LIMIT": "2/minute"})
    async with app_client(database, token=key.token, settings=settings) as client:
        answers = [await client.get("/v1/accounts") for _ in range(3)]
    success_data(answers[0])
    success_data(answers[1])
    error = failure_error(answers[2], 429)
    assert error["code"] == "rate_limit_exceeded"
    assert answers[2].headers["Retry-After"] == "60"
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["2", "2", "2"]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    resets = str(round((NOW + timedelta(minutes=1)).timestamp()))
    assert {answer.headers["X-RateLimit-Reset"] for answer in answers} == {resets}


async def test_a_failure_of_ours_is_masked(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database, now=NOW, random_bytes=bytes)
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace)
    account = await add_account(database, workspace)
    post = await add_post(database, workspace, {account: started()})
    async with database, app_client(database, token=key.token) as client:
        for table in ("destination", "api_key"):  # missed inside of a field, and before any runs
            async with without_table(database, table):
                response = await client.get(f"/v1/posts/{post.id}/results")
            error = failure_error(response, 500)
            assert (error["code"], error["details"]) == ("internal_error", None)
            for word in (table, "elsewhere", "select", "sql", "asyncpg", "traceback", "/app/"):
                assert word not in response.text.lower()


@asynccontextmanager
async def without_table(database: Database, table: str) -> AsyncIterator[None]:
    """The database as if it had no such table."""

    async def rename(old: str, new: str) -> None:
        async def work(session: WriteSession) -> None:
            await session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

        await database.write(work)

    await rename(table, "elsewhere")
    yield
    await rename("elsewhere", table)


async def test_a_body_that_nobody_asked_for_is_ignored(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token) as client:
        for headers in ({}, {"Content-Type": "application/json"}):
            response = await client.request(
                "GET", "/v1/accounts", content=b"{not json", headers=headers
            )
            assert success_data(response)["total"] == 0


async def test_rate_limits_are_integers_on_every_answer(database: Database) -> None:
    token = f"{KEY_PREFIX}{'0' * 32}"
    async with app_client(database, token=token) as client:
        for method, path in (("GET", "/v1/me"), ("GET", "/v1/x"), ("POST", "/v1/me")):
            response = await client.request(method, path)
            check_envelope(response)
            for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"):
                assert response.headers[name].isdecimal()
