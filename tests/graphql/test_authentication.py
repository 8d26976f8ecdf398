"""Authentication of the GraphQL API: keys, scopes and rate limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.asgi import create_app
from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.graphql.engine.executable_schema import create_schema
from app.settings import GraphQLLimits, read_settings
from tests.clients import Client, Tenant, app_client
from tests.factories import NOW, add_account, add_api_key
from tests.graphql.tenant_objects import client_with_settings

TYPENAME = {"data": {"__typename": "Query"}}
UNUSABLE_KEY_MESSAGE = "The API key is unknown, revoked or expired. Use another key."
MALFORMED = "The API key is malformed: it is pe_live_ followed by 32 lower-case hex digits."
MISSING_KEY_MESSAGE = "This request needs an API key: send 'Authorization: Bearer <key>'."


async def query_typename(client: Client, **headers: str) -> httpx.Response:
    """Send the smallest document."""
    return await client.request(
        "POST", "/graphql", json={"query": "{ __typename }"}, headers=headers
    )


def authentication_error(code: str, message: str, **extensions: object) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": code, **extensions}}]}


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, MISSING_KEY_MESSAGE),
        ("Basic cGVfbGl2ZTo=", MISSING_KEY_MESSAGE),
        ("pe_live_" + "0" * 32, MISSING_KEY_MESSAGE),
        ("Bearer", MALFORMED),
        ("Bearer pe_live_" + "\xb2" * 32, MALFORMED),
        ("Bearer pe_live_" + "0" * 32, UNUSABLE_KEY_MESSAGE),
    ],
)
async def test_request_without_valid_key_is_rejected(
    database: Database, authorization: str | None, message: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    async with app_client(database) as client:
        for method, options in (
            ("GET", {"params": {"query": "{ __typename }"}}),
            ("POST", {"json": {"query": "{ __typename }"}}),
            ("POST", {"content": b"no JSON"}),
        ):
            response = await client.request(method, "/graphql", headers=headers, **options)
            assert response.status_code == 401
            assert response.json() == authentication_error("INVALID_API_KEY", message)
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_bearer_scheme_is_case_insensitive(acme: Tenant) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    for scheme in ("bearer", "BEARER", "Bearer "):
        client = acme.client.with_token(None)
        response = await query_typename(client, Authorization=f"{scheme} {key.token}")
        assert (response.status_code, response.json()) == (200, TYPENAME)


async def test_unknown_revoked_and_expired_keys_have_equal_errors(acme: Tenant) -> None:
    soon = NOW + timedelta(milliseconds=1)
    revoked = await add_api_key(acme.database, acme.workspace, revoked_at=soon)
    expired = await add_api_key(acme.database, acme.workspace, expires_at=NOW)
    expiring = await add_api_key(acme.database, acme.workspace, expires_at=soon)
    rejected = [
        await query_typename(acme.client.with_token(token))
        for token in ("pe_live_" + "0" * 32, revoked.token, expired.token)
    ]
    accepted = await query_typename(acme.client.with_token(expiring.token))

    assert [response.status_code for response in rejected] == [401, 401, 401]
    assert len({response.content for response in rejected}) == 1
    assert rejected[0].json() == authentication_error("INVALID_API_KEY", UNUSABLE_KEY_MESSAGE)
    assert (accepted.status_code, accepted.json()) == (200, TYPENAME)


QUERIES_NEEDING_ADMIN = (
    "webhooks { id }",
    'webhook(webhookId: "f47ac10b-58cc-4372-a567-0e02b2c3d479") { id }',
    "webhookDeliveries { nodes { id } }",
)
QUERIES_NEEDING_READ = (
    'post(postId: "f47ac10b-58cc-4372-a567-0e02b2c3d479") { id }',
    "account(accountId: 1) { id }",
    "accounts { id }",
    "accountConnection { totalCount }",
    "posts { totalCount }",
    "destinations { totalCount }",
    "failureGroups { nodes { id } }",
    'boardCounts(since: "2026-04-15T15:00:00Z") { failed { count } }',
    "analyticsSummary { end }",
    'outcomeStats(from: "2026-04-14", to: "2026-04-15") { end }',
    'calendar(from: "2026-04-14", to: "2026-04-15") { end }',
    "changes { endCursor }",
    'node(id: "QWNjb3VudDox") { id }',
    'nodes(ids: ["QWNjb3VudDox"]) { id }',
    'previewRetrySchedule(platform: "x", category: AUTH) { retries }',
    "platforms { name }",
    "serverOutages { platform }",
    "checkPost(input: {}) { accepted }",
)


async def test_key_without_read_scope_sees_only_viewer_and_error_catalog(acme: Tenant) -> None:
    await add_account(acme.database, acme.workspace, id=1)
    key = await add_api_key(acme.database, acme.workspace, scopes=[Scope.PUBLISH])
    client = acme.client.with_token(key.token)
    answers = [
        await client.execute("{ viewer { scopes stats { accounts } } errorCatalog { code } }"),
        await client.execute(f"{{ {' '.join(QUERIES_NEEDING_READ)} }}"),
        await client.execute(f"{{ {' '.join(QUERIES_NEEDING_ADMIN)} }}"),
    ]

    data = {name: value for answer in answers for name, value in answer["data"].items()}
    assert data.pop("errorCatalog")
    assert data.pop("viewer") == {"scopes": ["PUBLISH"], "stats": None}
    assert set(data.values()) == {None}
    errors = {
        (".".join(error["path"]), error["extensions"]["code"], error["message"])
        for answer in answers
        for error in answer["errors"]
    }
    message = "This needs an API key with the scope {}."
    assert errors == {("viewer.stats", "INSUFFICIENT_SCOPE", message.format("read"))} | {
        (
            name,
            "INSUFFICIENT_SCOPE",
            message.format("admin" if name.startswith("webhook") else "read"),
        )
        for name in data
    }
    schema = create_schema(GraphQLLimits()).graphql_schema
    assert schema.query_type is not None
    assert set(schema.query_type.fields) == {*data, "viewer", "errorCatalog"}


def rate_limit_status(response: httpx.Response) -> tuple[int, int, int, int]:
    """Return status, limit, remaining requests, and seconds until the reset."""
    limit, remaining, resets_at = (
        int(response.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")
    )
    return response.status_code, limit, remaining, resets_at - int(NOW.timestamp())


async def test_rate_limit_per_key_is_enforced_and_shown_in_headers(acme: Tenant) -> None:
    other = await add_api_key(acme.database, acme.workspace)
    async with client_with_settings(acme, RATE_LIMIT="3/minute;5/hour") as client:
        answers = [await query_typename(client) for _ in range(4)]
        with_other_key = await query_typename(client.with_token(other.token))
        without_key = await query_typename(client.with_token(None))
        unlimited = await client.get("/livez")

    assert [rate_limit_status(response) for response in answers] == [
        (200, 3, 2, 60),
        (200, 3, 1, 60),
        (200, 3, 0, 60),
        (429, 3, 0, 60),
    ]
    assert answers[3].headers["Retry-After"] == "60"
    assert answers[3].json() == authentication_error(
        "RATE_LIMIT_EXCEEDED",
        "Too many requests: 3 per minute are allowed for one API key. Try again in 60 s.",
        retryAfter=60,
    )
    assert rate_limit_status(with_other_key) == (200, 3, 2, 60)
    assert rate_limit_status(without_key) == (401, 3, 3, 60)
    assert rate_limit_status(unlimited) == (200, 3, 3, 60)


async def test_invalid_requests_count_toward_rate_limit_except_without_key(acme: Tenant) -> None:
    async with client_with_settings(acme, RATE_LIMIT="3/minute") as client:
        counted = [
            await client.request("POST", "/graphql", content=b"no JSON"),
            await client.request("POST", "/graphql", json=[]),
            await client.request("POST", "/graphql", json={"query": "{"}),
        ]
        not_counted = await client.request("PUT", "/graphql")

    assert [rate_limit_status(response)[2] for response in counted] == [2, 1, 0]
    assert rate_limit_status(not_counted)[:3] == (405, 3, 3)


async def test_disabled_rate_limit_allows_all_requests(acme: Tenant) -> None:
    for _ in range(30):
        await query_typename(acme.client.with_token("pe_live_" + "0" * 32))
    response = await query_typename(acme.client)
    assert rate_limit_status(response) == (200, 1_000_000, 1_000_000, 60)


@asynccontextmanager
async def clients_at_addresses(database: Database, *addresses: str) -> AsyncIterator[list[Client]]:
    """Open clients of one service with different addresses."""
    settings = read_settings({"FAILED_AUTH_RATE_LIMIT": "2/minute"})
    app = create_app(settings, clock=lambda: NOW, database=database)
    async with app.router.lifespan_context(app):
        yield [
            Client(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app, client=(address, 4711)),
                    base_url="http://test",
                ),
                None,
            )
            for address in addresses
        ]


async def test_failed_authentication_is_limited_by_address_but_not_for_valid_keys(
    acme: Tenant,
) -> None:
    key = await add_api_key(acme.database, acme.workspace)
    async with clients_at_addresses(acme.database, "203.0.113.7", "203.0.113.8") as (
        guessing,
        other,
    ):
        guesses = [
            await query_typename(guessing.with_token("pe_live_" + digit * 32)) for digit in "012"
        ]
        with_key = await query_typename(guessing.with_token(key.token))
        from_elsewhere = await query_typename(other.with_token("pe_live_" + "3" * 32))

    assert [response.status_code for response in guesses] == [401, 401, 429]
    assert guesses[2].headers["Retry-After"] == "60"
    assert guesses[2].json() == authentication_error(
        "RATE_LIMIT_EXCEEDED",
        "Too many rejected keys: 2 per minute are allowed for one address. Try again in 60 s.",
        retryAfter=60,
    )
    assert with_key.status_code == 200
    assert from_elsewhere.status_code == 401
