"""Who may publish, where and how often: scopes, workspaces, mirrors, limits, and how long an answer waits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from app.db.core.database import Database
from app.domain.api_keys import Scope
from app.settings import read_settings
from tests.factories import add_account, add_post, add_workspace, queued
from tests.graphql.schema.mutations.publisher_client import (
    URL,
    PublisherClient,
    mutation_document,
    open_publisher,
)
from tests.graphql.test_authentication import rate_limit_status, query_typename

DESTINATION = "00000000-0000-4000-8000-00000000dead"
MUTATION_CALLS: Mapping[str, dict[str, Any]] = {
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


@pytest.fixture
async def publisher(database: Database) -> AsyncIterator[PublisherClient]:
    async with open_publisher(database) as opened:
        yield opened


async def test_a_key_without_the_scope_may_not_publish(publisher: PublisherClient) -> None:
    await publisher.add_post()
    other = await publisher.with_key(Scope.READ, Scope.WRITE, Scope.ADMIN)

    for name, given in MUTATION_CALLS.items():
        assert await other.expect_error(name, **given) == (
            "INSUFFICIENT_SCOPE",
            None,
            "This needs an API key with the scope publish or publish:all.",
        ), name


async def test_a_key_that_may_only_publish_may_not_reconcile(publisher: PublisherClient) -> None:
    for scope in (Scope.PUBLISH, Scope.PUBLISH_ALL):
        other = await publisher.with_key(scope)
        assert (await other.expect_error("reconcileDestination", **RECONCILE))[0] == (
            "INSUFFICIENT_SCOPE"
        )


async def test_in_a_mirror_nothing_is_published(publisher: PublisherClient) -> None:
    mirror = await add_workspace(publisher.database, mirror_of="https://example.com")
    account = await add_account(publisher.database, mirror)
    await add_post(publisher.database, mirror, {account: queued()})
    inside = await publisher.with_key(Scope.PUBLISH, Scope.WRITE, workspace=mirror)
    everywhere = await publisher.with_key(Scope.PUBLISH_ALL, workspace=mirror)
    post = await publisher.add_post()

    for name, given in {**MUTATION_CALLS, "reconcileDestination": RECONCILE}.items():
        assert (await inside.expect_error(name, **given))[0] == "READ_ONLY_MIRROR", name
    assert [each["postId"] for each in await everywhere.claim()] == [str(post)]
    told = await everywhere.expect_error("recordResult", **MUTATION_CALLS["recordResult"])
    assert told[0] == "READ_ONLY_MIRROR"


async def add_three_workspaces(publisher: PublisherClient, *, posts: int) -> set[str]:
    """Each with so many posts that are due."""
    workspaces = [publisher.workspace] + [await add_workspace(publisher.database) for _ in range(2)]
    for workspace in workspaces:
        account = await add_account(publisher.database, workspace)
        for _ in range(posts):
            await add_post(publisher.database, workspace, {account: queued()})
    return {str(each) for each in workspaces}


async def test_a_key_over_all_workspaces_takes_a_fair_share_of_each(
    publisher: PublisherClient,
) -> None:
    workspaces = await add_three_workspaces(publisher, posts=5)
    everywhere = await publisher.with_key(Scope.PUBLISH_ALL)

    shares = Counter(each["workspaceId"] for each in await everywhere.claim(limit=9))

    assert shares == dict.fromkeys(workspaces, 3)
    assert len(await everywhere.claim(limit=100)) == 6


async def test_a_key_over_all_workspaces_goes_through_the_whole_protocol(
    publisher: PublisherClient,
) -> None:
    workspaces = await add_three_workspaces(publisher, posts=1)
    everywhere = await publisher.with_key(Scope.PUBLISH_ALL)
    published = set()
    for claim in await everywhere.claim():
        token = claim["leaseToken"]
        await everywhere.call("startAttempt", leaseToken=token)
        told = await everywhere.call("reportPublished", leaseToken=token, platformPostUrl=URL)
        assert (told["receipt"], told["status"]) == ("RECORDED", "PUBLISHED")
        published.add(claim["workspaceId"])

    assert published == workspaces
    assert await everywhere.claim() == []


async def test_a_key_of_one_workspace_takes_nothing_of_another(publisher: PublisherClient) -> None:
    await publisher.add_post()
    other = await publisher.with_key(
        Scope.PUBLISH, workspace=await add_workspace(publisher.database)
    )

    assert await other.claim() == []


async def test_a_foreign_lease_is_refused_for_its_workspace_alone(
    publisher: PublisherClient,
) -> None:
    await publisher.add_post()
    token = await publisher.start_token()
    stranger = await add_workspace(publisher.database)
    here = await publisher.with_key(Scope.PUBLISH, workspace=stranger)
    everywhere = await publisher.with_key(Scope.PUBLISH_ALL, workspace=stranger)
    given = {"leaseToken": token, "platformPostUrl": URL}

    assert (await here.expect_error("reportPublished", **given))[0] == "LEASE_LOST"

    assert (await everywhere.call("reportPublished", **given))["receipt"] == "RECORDED"


async def send(publisher: PublisherClient, query: str, **variables: Any) -> httpx.Response:
    return await publisher.client.request(
        "POST", "/graphql", json={"query": query, "variables": {"input": variables}}
    )


IN_A_FRAGMENT = """
mutation { ... { ...F } }
fragment F on Mutation { a: releaseClaim(input: {leaseToken: ""}) { status } }
"""
BESIDE_ITS_TYPE = """
mutation { __typename type: __typename claimDestinations(input: {}) { claims { postId } } }
"""
TWO_OPERATIONS = """
query A { viewer { scopes } }
mutation B { claimDestinations(input: {}) { claims { postId } } }
"""
LIMITS = read_settings({"RATE_LIMIT": "3/minute", "PUBLISH_RATE_LIMIT": "5/minute"})


async def test_publishing_is_counted_by_its_own_limit(database: Database) -> None:
    async with open_publisher(database, settings=LIMITS) as publisher:
        claims = [await send(publisher, mutation_document("claimDestinations")) for _ in range(6)]
        others = [await query_typename(publisher.client) for _ in range(4)]
        last = await query_typename(publisher.client)

    assert [rate_limit_status(each) for each in claims] == [
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
    assert [rate_limit_status(each)[:3] for each in others] == [
        *((200, 3, left) for left in (2, 1, 0)),
        (429, 3, 0),
    ]
    assert rate_limit_status(last)[:3] == (429, 3, 0)  # unread, for nothing is left of either limit
    assert last.json()["errors"][0]["message"] == (
        "Too many requests: 3 per minute are allowed for one API key, and 5 per minute that do nothing"
        " but publish. Try again in 60 s."
    )


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        (mutation_document("startAttempt"), 5),
        (mutation_document("recordResult"), 5),
        (IN_A_FRAGMENT, 5),
        (BESIDE_ITS_TYPE, 5),
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
async def test_a_request_is_one_of_the_protocol_if_it_asks_for_nothing_else(
    database: Database, query: str, limit: int
) -> None:
    async with open_publisher(database, settings=LIMITS) as publisher:
        response = await send(publisher, query)

    assert rate_limit_status(response)[1:3] == (limit, limit - 1)


async def test_whoever_has_used_up_everything_is_refused_unread(database: Database) -> None:
    settings = read_settings({"RATE_LIMIT": "1/minute", "PUBLISH_RATE_LIMIT": "1/hour"})
    async with open_publisher(database, settings=settings) as publisher:
        await send(publisher, mutation_document("claimDestinations"))
        await query_typename(publisher.client)
        refused = await publisher.client.request("POST", "/graphql", content=b"no JSON")
        by_rest = await publisher.client.get("/v1/me")

    assert rate_limit_status(refused) == (429, 1, 0, 60)
    assert rate_limit_status(by_rest) == (429, 1, 0, 60)


async def test_no_request_waits_longer_than_it_may_take(database: Database) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "REQUEST_TIMEOUT": "6", "DATABASE_TIMEOUT": "5"})
    claims = "claimDestinations(input: {waitSeconds: 20}) { claims { postId } }"
    async with open_publisher(database, settings=settings) as publisher:
        async with asyncio.timeout(5):
            data = await publisher.client.query(f"mutation {{ a: {claims} b: {claims} }}")

    assert data == {"a": {"claims": []}, "b": {"claims": []}}


async def test_more_entries_than_allowed_are_refused_and_not_taken(database: Database) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "9"})
    async with open_publisher(database, settings=settings) as publisher:
        await publisher.add_post()
        assert (await publisher.expect_error("claimDestinations", limit=10))[0] == "LIMIT_EXCEEDED"
        assert len(await publisher.claim(limit=9)) == 1
