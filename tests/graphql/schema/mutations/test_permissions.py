"""Permissions of mutations: scopes, workspaces, mirrors, rate limits and waiting times."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.domain.ids import WorkspaceId
from app.settings import read_settings
from tests.clients import Tenant
from tests.db.all_tables import all_rows
from tests.factories import add_account, add_api_key, add_post, add_workspace, queued
from tests.graphql.schema.mutations.publisher_client import (
    URL,
    PublisherClient,
    mutation_document,
    open_publisher,
)
from tests.graphql.schema.mutations.test_accounts import ACCOUNT_MUTATIONS
from tests.graphql.schema.mutations.test_bulk_plans import CALLS as BULK_CALLS
from tests.graphql.schema.mutations.test_bulk_plans import ON_INSTAGRAM
from tests.graphql.schema.mutations.test_posts import POST_MUTATIONS
from tests.graphql.schema.mutations.test_retries import RETRY_POST
from tests.graphql.schema.mutations.test_webhooks import WEBHOOK_MUTATIONS
from tests.graphql.test_authentication import query_typename, rate_limit_status

DESTINATION = "00000000-0000-4000-8000-00000000dead"
PUBLISHING_CALLS: Mapping[str, dict[str, Any]] = {
    "claimDestinations": {},
    "claimVerifications": {},
    "startAttempt": {"leaseToken": "x"},
    "extendLease": {"leaseToken": "x", "leaseSeconds": 60},
    "releaseClaim": {"leaseToken": "x"},
    "reportPublished": {"leaseToken": "x", "platformPostUrl": URL},
    "reportFailed": {"leaseToken": "x", "category": "AUTH", "message": "No."},
    "reportVerified": {"verificationToken": "x", "finding": "NOT_PUBLISHED"},
    "recordResult": {
        "postId": DESTINATION,
        "accountId": 1,
        "attemptKey": "1",
        "outcome": "PUBLISHED",
        "platformPostId": "1",
    },
}
RECONCILE = {"destinationId": DESTINATION, "finding": "NOT_PUBLISHED"}
WRITE_MUTATIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    **POST_MUTATIONS,
    **ACCOUNT_MUTATIONS,
    "retryPost": (RETRY_POST, {"postId": DESTINATION}),
    **{
        name: (document, {**arguments, "filter": ON_INSTAGRAM})
        for name, (document, arguments, _) in BULK_CALLS.items()
    },
}


@pytest.mark.parametrize("name", [*WRITE_MUTATIONS, *WEBHOOK_MUTATIONS])
async def test_mutation_requires_its_scope_and_local_workspace(acme: Tenant, name: str) -> None:
    document, arguments = {**WRITE_MUTATIONS, **WEBHOOK_MUTATIONS}[name]
    scope = Scope.ADMIN if name in WEBHOOK_MUTATIONS else Scope.WRITE
    mirror = await add_workspace(acme.database, mirror_of="https://example.com")
    other_scopes = [other for other in Scope if other is not scope]
    reader = await add_api_key(acme.database, acme.workspace, scopes=other_scopes)
    mirror_key = await add_api_key(acme.database, mirror, scopes=[scope])
    for workspace in (acme.workspace, mirror):
        await add_account(acme.database, workspace)
    before = await all_rows(acme.database)

    errors = [
        await acme.client.with_token(key.token).expect_error(document, input=arguments)
        for key in (reader, mirror_key)
    ]

    assert errors == [
        ("INSUFFICIENT_SCOPE", None, f"This needs an API key with the scope {scope}."),
        (
            "READ_ONLY_MIRROR",
            None,
            "This workspace mirrors another service and cannot be changed here.",
        ),
    ]
    assert await all_rows(acme.database) == before


async def test_publishing_and_reconciling_require_their_scopes(publisher: PublisherClient) -> None:
    await publisher.add_post()
    other = await publisher.with_key(Scope.READ, Scope.WRITE, Scope.ADMIN)
    for name, arguments in PUBLISHING_CALLS.items():
        assert await other.expect_error(name, **arguments) == (
            "INSUFFICIENT_SCOPE",
            None,
            "This needs an API key with the scope publish or publish:all.",
        ), name

    for scope in (Scope.PUBLISH, Scope.PUBLISH_ALL):
        other = await publisher.with_key(scope)
        error = await other.expect_error("reconcileDestination", **RECONCILE)
        assert error[0] == "INSUFFICIENT_SCOPE"


async def add_due_post(database: Database, workspace: WorkspaceId) -> None:
    account = await add_account(database, workspace)
    await add_post(database, workspace, {account: queued()})


async def test_mirror_workspace_cannot_publish(publisher: PublisherClient) -> None:
    mirror = await add_workspace(publisher.database, mirror_of="https://example.com")
    await add_due_post(publisher.database, mirror)
    in_mirror = await publisher.with_key(Scope.PUBLISH, Scope.WRITE, workspace=mirror)
    publish_all = await publisher.with_key(Scope.PUBLISH_ALL, workspace=mirror)
    post = await publisher.add_post()

    for name, arguments in {**PUBLISHING_CALLS, "reconcileDestination": RECONCILE}.items():
        assert (await in_mirror.expect_error(name, **arguments))[0] == "READ_ONLY_MIRROR", name
    assert [claim["postId"] for claim in await publish_all.claim()] == [str(post)]
    error = await publish_all.expect_error("recordResult", **PUBLISHING_CALLS["recordResult"])
    assert error[0] == "READ_ONLY_MIRROR"


async def test_publish_all_key_publishes_in_every_workspace(publisher: PublisherClient) -> None:
    workspaces = [publisher.workspace] + [await add_workspace(publisher.database) for _ in range(2)]
    for workspace in workspaces:
        await add_due_post(publisher.database, workspace)
    publish_all = await publisher.with_key(Scope.PUBLISH_ALL)
    published = set()
    for claim in await publish_all.claim():
        token = claim["leaseToken"]
        await publish_all.call("startAttempt", leaseToken=token)
        report = await publish_all.call("reportPublished", leaseToken=token, platformPostUrl=URL)
        assert (report["receipt"], report["status"]) == ("RECORDED", "PUBLISHED")
        published.add(claim["workspaceId"])

    assert published == {str(workspace) for workspace in workspaces}
    assert await publish_all.claim() == []


async def send_mutation(publisher: PublisherClient, query: str) -> httpx.Response:
    body = {"query": query, "variables": {"input": {}}}
    return await publisher.client.request("POST", "/graphql", json=body)


IN_FRAGMENT = """
mutation { ... { ...F } }
fragment F on Mutation { a: releaseClaim(input: {leaseToken: ""}) { status } }
"""
WITH_TYPENAME = """
mutation { __typename type: __typename claimDestinations(input: {}) { claims { postId } } }
"""
TWO_OPERATIONS = """
query A { viewer { scopes } }
mutation B { claimDestinations(input: {}) { claims { postId } } }
"""
LIMITS = read_settings({"RATE_LIMIT": "3/minute", "PUBLISH_RATE_LIMIT": "5/minute"})


async def test_publishing_has_its_own_rate_limit(database: Database) -> None:
    async with open_publisher(database, settings=LIMITS) as publisher:
        claims = [
            await send_mutation(publisher, mutation_document("claimDestinations")) for _ in range(6)
        ]
        others = [await query_typename(publisher.client) for _ in range(4)]
        last = await publisher.client.request("POST", "/graphql", content=b"no JSON")
        by_rest = await publisher.client.get("/v1/me")

    assert [rate_limit_status(claim) for claim in claims] == [
        *((200, 5, left, 60) for left in (4, 3, 2, 1, 0)),
        (429, 5, 0, 60),
    ]
    assert claims[5].json()["errors"] == [
        {
            "message": "Too many publishing requests: 5 per minute are allowed for one API key."
            " Try again in 60 s.",
            "extensions": {"code": "RATE_LIMIT_EXCEEDED", "retryAfter": 60},
        }
    ]
    assert claims[5].headers["Retry-After"] == "60"
    assert [rate_limit_status(response)[:3] for response in others] == [
        *((200, 3, left) for left in (2, 1, 0)),
        (429, 3, 0),
    ]
    # Rejected before parsing, because both limits are exhausted.
    assert [rate_limit_status(response)[:3] for response in (last, by_rest)] == [(429, 3, 0)] * 2
    assert last.json()["errors"][0]["message"] == (
        "Too many requests: 3 per minute are allowed for one API key, and 5 per minute that only"
        " publish. Try again in 60 s."
    )


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        (mutation_document("startAttempt"), 5),
        (mutation_document("recordResult"), 5),
        (IN_FRAGMENT, 5),
        (WITH_TYPENAME, 5),
        ("mutation { __typename }", 3),
        (mutation_document("reconcileDestination"), 3),
        (
            "mutation { claimDestinations(input: {}) { claims { postId } } deletePost(input:"
            ' {postId: "00000000-0000-4000-8000-00000000dead"}) { postId } }',
            3,
        ),
        ("mutation { ...Nothing }", 3),
        ("mutation { claimDestinations(", 3),
        (TWO_OPERATIONS, 3),
        ("", 3),
    ],
)
async def test_publishing_rate_limit_applies_to_pure_publishing_requests(
    database: Database, query: str, limit: int
) -> None:
    async with open_publisher(database, settings=LIMITS) as publisher:
        response = await send_mutation(publisher, query)

    assert rate_limit_status(response)[1:3] == (limit, limit - 1)


async def test_waiting_claims_respect_request_timeout(database: Database) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "REQUEST_TIMEOUT": "6", "DATABASE_TIMEOUT": "5"})
    claims = "claimDestinations(input: {waitSeconds: 20}) { claims { postId } }"
    async with open_publisher(database, settings=settings) as publisher:
        async with asyncio.timeout(5):
            data = await publisher.client.query(f"mutation {{ a: {claims} b: {claims} }}")

    assert data == {"a": {"claims": []}, "b": {"claims": []}}


async def test_claim_above_the_entry_limit_is_rejected_without_claiming(database: Database) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "9"})
    async with open_publisher(database, settings=settings) as publisher:
        await publisher.add_post()
        assert (await publisher.expect_error("claimDestinations", limit=10))[0] == "LIMIT_EXCEEDED"
        assert len(await publisher.claim(limit=9)) == 1
