"""Subscriptions over WebSocket: filters, cursors, tenancy and shared reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from app.db.core.database import Database
from app.db.repositories.events import delete_events
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.settings import read_settings
from tests.clients import app_lifespan, client_for
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import add_account, add_api_key, add_workspace
from tests.graphql.live_tenant import LiveTenant, open_live_tenant, wait_for_subscriptions
from tests.graphql.transport.websocket_client import WebSocketClient, connect_and_init

CHANGES_SUBSCRIPTION = """
subscription ($after: String, $types: [ChangeType!], $postId: UUID) {
  changes(after: $after, types: $types, postId: $postId) { cursor type postId post { content } }
}
"""
POST_CHANGED_SUBSCRIPTION = """
subscription ($postId: UUID!, $after: String) {
  postChanged(postId: $postId, after: $after) {
    cursor
    change { type destinationId }
    post { status content }
  }
}
"""
DESTINATION_CHANGED_SUBSCRIPTION = """
subscription ($filter: DestinationFilter, $after: String) {
  destinationChanged(filter: $filter, after: $after) {
    cursor
    change { type postId }
    destination { status accountName }
  }
}
"""


async def latest_cursor(live_tenant: LiveTenant) -> str:
    data = await live_tenant.client.query("{ changes(first: 1) { latestCursor } }")
    cursor: str = data["changes"]["latestCursor"]
    return cursor


async def update_post(live_tenant: LiveTenant, post_id: str, content: str) -> None:
    await live_tenant.client.query(
        "mutation ($input: UpdatePostInput!) { updatePost(input: $input) { post { version } } }",
        input={"postId": post_id, "content": content},
    )


async def record_external_publication(live_tenant: LiveTenant, post_id: str) -> None:
    await record_result(live_tenant, post_id, "PUBLISHED", platformPostUrl="https://x.example/1")


async def record_result(live_tenant: LiveTenant, post_id: str, outcome: str, **fields: Any) -> None:
    await live_tenant.client.query(
        "mutation ($input: RecordResultInput!) { recordResult(input: $input) { receipt } }",
        input={
            "postId": post_id,
            "accountId": live_tenant.account,
            "attemptKey": outcome,
            "outcome": outcome,
            **fields,
        },
    )


async def require_no_result(socket: WebSocketClient) -> None:
    """Run another operation, whose result must be the next message."""
    socket.subscribe("z", "{ __typename }")
    assert (await socket.receive())["id"] == "z"


async def next_results(socket: WebSocketClient, field: str, count: int) -> list[dict[str, Any]]:
    """Receive results of operation `a`, none of them with an error."""
    answers = [await socket.next_payload("a") for _ in range(count)]
    assert all(answer.keys() == {"data"} for answer in answers), answers
    return [answer["data"][field] for answer in answers]


async def test_resumed_subscription_neither_loses_nor_repeats_changes(
    live_tenant: LiveTenant,
) -> None:
    after: str | None = await latest_cursor(live_tenant)
    posts: list[str] = []
    received: list[tuple[str, str]] = []
    for _ in range(3):
        # No client is subscribed at first; the last change comes after reconnecting.
        posts += [await live_tenant.create_post() for _ in range(2)]
        async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
            socket.subscribe("a", CHANGES_SUBSCRIPTION, after=after)
            for result in await next_results(socket, "changes", 4):
                received.append((result["type"], result["postId"]))
                after = result["cursor"]
            posts.append(await live_tenant.create_post())
            (next_to_last,) = await next_results(socket, "changes", 1)
            received.append((next_to_last["type"], next_to_last["postId"]))
            after = next_to_last["cursor"]
            await asyncio.sleep(0)
        async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
            socket.subscribe("a", CHANGES_SUBSCRIPTION, after=after)
            (last,) = await next_results(socket, "changes", 1)
            received.append((last["type"], last["postId"]))
            after = last["cursor"]
    assert received == [
        (kind, post_id) for post_id in posts for kind in ("POST_CREATED", "DESTINATION_ADDED")
    ]
    assert after == await latest_cursor(live_tenant)


async def test_changes_subscription_filters_by_type_and_post(live_tenant: LiveTenant) -> None:
    one, other = await live_tenant.create_post(), await live_tenant.create_post()
    after = await latest_cursor(live_tenant)
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe(
            "a", CHANGES_SUBSCRIPTION, after=after, types=["POST_CHANGED"], postId=other
        )
        await update_post(live_tenant, one, "first")
        await update_post(live_tenant, other, "second")
        assert await next_results(socket, "changes", 1) == [
            {
                "cursor": await latest_cursor(live_tenant),
                "type": "POST_CHANGED",
                "postId": other,
                "post": {"content": "second"},
            }
        ]


async def test_changes_subscription_filters_by_destination_and_operation(
    live_tenant: LiveTenant,
) -> None:
    post_ids = [await live_tenant.create_post() for _ in range(2)]
    data = await live_tenant.client.query(
        "query ($id: UUID!) { post(postId: $id) { destinations { destinationId } } }",
        id=post_ids[1],
    )
    (destination,) = data["post"]["destinations"]
    document = """subscription ($destinationId: UUID!, $after: String!) {
        changes(destinationId: $destinationId, excludeOperations: ["recordResult"], after: $after) {
            operation postId } }"""
    after = await latest_cursor(live_tenant)
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", document, **destination, after=after)
        for post_id in post_ids:
            await record_result(
                live_tenant, post_id, "FAILED", category="PERMANENT", code="X", message="No."
            )
            await live_tenant.client.query(
                "mutation ($id: UUID!) { retryPost(input: {postId: $id}) { retriedCount } }",
                id=post_id,
            )
        assert await next_results(socket, "changes", 1) == [
            {"operation": "retryPost", "postId": post_ids[1]}
        ]
        await require_no_result(socket)


async def test_changes_subscription_filters_by_key(live_tenant: LiveTenant) -> None:
    other = await add_api_key(live_tenant.database, live_tenant.workspace)
    document = """subscription ($keyId: UUID!, $after: String!) {
        changes(keyId: $keyId, after: $after) { operation actorKeyId } }"""
    after = await latest_cursor(live_tenant)
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", document, keyId=str(other.id), after=after)
        await live_tenant.create_post()
        async with client_for(live_tenant.app, token=other.token) as client:
            await client.query(
                "mutation ($id: Int!) { markReconnected(input: {accountId: $id}) { account { id } } }",
                id=live_tenant.account,
            )
        assert await next_results(socket, "changes", 1) == [
            {"operation": "markReconnected", "actorKeyId": str(other.id)}
        ]


async def test_post_changed_streams_until_post_is_deleted(live_tenant: LiveTenant) -> None:
    post_id = await live_tenant.create_post()
    after = await latest_cursor(live_tenant)
    await live_tenant.create_post()
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", POST_CHANGED_SUBSCRIPTION, postId=post_id, after=after)
        await update_post(live_tenant, post_id, "other")
        (changed,) = await next_results(socket, "postChanged", 1)
        assert changed["change"] == {"type": "POST_CHANGED", "destinationId": None}
        assert changed["post"] == {"status": "PUBLISHING", "content": "other"}

        await live_tenant.client.request("DELETE", f"/v1/posts/{post_id}")
        results = await next_results(socket, "postChanged", 2)
        assert [result["change"]["type"] for result in results] == [
            "POST_DELETED",
            "DESTINATION_CHANGED",
        ]
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", POST_CHANGED_SUBSCRIPTION, postId=post_id, after=changed["cursor"])
        results = await next_results(socket, "postChanged", 2)
        assert [result["post"] for result in results] == [None, None]


async def test_destination_changed_matches_status_at_time_of_change(
    live_tenant: LiveTenant,
) -> None:
    after = await latest_cursor(live_tenant)
    failed_id, published_id = await live_tenant.create_post(), await live_tenant.create_post()
    await record_external_publication(live_tenant, published_id)
    await record_result(
        live_tenant, failed_id, "FAILED", category="PERMANENT", code="GONE", message="It is gone."
    )
    await live_tenant.client.query(
        "mutation ($input: RetryPostInput!) { retryPost(input: $input) { post { status } } }",
        input={"postId": failed_id},
    )
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe(
            "a", DESTINATION_CHANGED_SUBSCRIPTION, after=after, filter={"status": ["FAILED"]}
        )
        (failed,) = await next_results(socket, "destinationChanged", 1)
        assert failed["change"] == {"type": "DESTINATION_CHANGED", "postId": failed_id}
        assert failed["destination"]["status"] == "QUEUED"  # it was retried in the meantime
        await record_external_publication(live_tenant, await live_tenant.create_post())
        await require_no_result(socket)


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        ({"platform": ["instagram"]}, ["DESTINATION_ADDED", "DESTINATION_CHANGED"]),
        ({"platform": ["x"]}, []),
        ({"status": ["QUEUED"]}, ["DESTINATION_ADDED"]),
        ({"status": ["PUBLISHED"], "outcome": ["PUBLISHED"]}, ["DESTINATION_CHANGED"]),
        ({"status": ["QUEUED", "PUBLISHED"], "outcome": ["UNKNOWN"]}, []),
        # A field that the change does not set is compared with the current state.
        ({"status": ["QUEUED"], "maxAttempts": 0}, []),
        ({"status": ["QUEUED"], "maxAttempts": 1}, ["DESTINATION_ADDED"]),
        ({"status": ["QUEUED"], "search": "HELL"}, ["DESTINATION_ADDED"]),
        ({"status": ["QUEUED"], "search": "h"}, ["DESTINATION_ADDED"]),
    ],
)
async def test_destination_changed_compares_filter_with_change_first(
    live_tenant: LiveTenant, filters: dict[str, Any], kinds: list[str]
) -> None:
    after = await latest_cursor(live_tenant)
    await record_external_publication(live_tenant, await live_tenant.create_post())
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", DESTINATION_CHANGED_SUBSCRIPTION, after=after, filter=filters)
        answers = await next_results(socket, "destinationChanged", len(kinds))
        assert [answer["change"]["type"] for answer in answers] == kinds
        await require_no_result(socket)


async def test_destination_changed_without_filter_includes_removed_destinations(
    live_tenant: LiveTenant,
) -> None:
    second = await add_account(live_tenant.database, live_tenant.workspace)
    post_id = await live_tenant.create_post()
    after = await latest_cursor(live_tenant)
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", DESTINATION_CHANGED_SUBSCRIPTION, after=after)
        await live_tenant.client.query(
            "mutation ($input: UpdatePostInput!) { updatePost(input: $input) { post { version } } }",
            input={"postId": post_id, "accountIds": [second]},
        )
        answers = await next_results(socket, "destinationChanged", 2)
        assert {answer["change"]["type"]: answer["destination"] is None for answer in answers} == {
            "DESTINATION_ADDED": False,
            "DESTINATION_REMOVED": True,
        }


@pytest.mark.parametrize("query", [CHANGES_SUBSCRIPTION, DESTINATION_CHANGED_SUBSCRIPTION])
async def test_expired_cursor_requires_resync(live_tenant: LiveTenant, query: str) -> None:
    after = await latest_cursor(live_tenant)
    await live_tenant.create_post()
    data = await live_tenant.client.query("{ changes(first: 1) { endCursor } }")
    first = data["changes"]["endCursor"]
    await live_tenant.create_post()
    await live_tenant.database.write(live_tenant.workspace, partial(delete_events, last_seq=2))
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for cursor in (after, first):
            socket.subscribe("a", query, after=cursor)
            assert (await socket.next_error("a"))[:2] == ("RESYNC_REQUIRED", "after")
        socket.subscribe("a", query, after=await latest_cursor(live_tenant))
        await wait_for_subscriptions(live_tenant.client, 1)


async def test_subscriptions_and_cursors_are_isolated_by_workspace(live_tenant: LiveTenant) -> None:
    key = await add_api_key(live_tenant.database, await add_workspace(live_tenant.database))
    own = await live_tenant.create_post()
    async with (
        connect_and_init(live_tenant.app, live_tenant.token) as own_socket,
        connect_and_init(live_tenant.app, key.token) as other_socket,
    ):
        own_socket.subscribe("a", CHANGES_SUBSCRIPTION)
        other_socket.subscribe("a", CHANGES_SUBSCRIPTION)
        other_socket.subscribe("b", POST_CHANGED_SUBSCRIPTION, postId=own)
        assert (await other_socket.next_error("b"))[0] == "NOT_FOUND"
        other_socket.subscribe("c", CHANGES_SUBSCRIPTION, after=await latest_cursor(live_tenant))
        assert (await other_socket.next_error("c"))[:2] == ("BAD_CURSOR", "after")
        await wait_for_subscriptions(live_tenant.client, 2)
        post_id = await live_tenant.create_post()
        results = await next_results(own_socket, "changes", 2)
        assert [result["postId"] for result in results] == [post_id] * 2
        await require_no_result(other_socket)


@asynccontextmanager
async def intercepted_tenant(
    url: str, interceptor: InterceptingDriver
) -> AsyncIterator[LiveTenant]:
    """Open a tenant whose statements pass through the interceptor."""
    async with (
        Database(url, wrap_driver=interceptor) as database,
        open_live_tenant(database) as tenant,
    ):
        yield tenant


async def test_identical_subscriptions_share_database_reads(database_url: str) -> None:
    interceptor = InterceptingDriver()
    async with intercepted_tenant(database_url, interceptor) as live_tenant:
        counts = []
        for subscribers in (1, 8):
            async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
                for number in range(subscribers):
                    socket.subscribe(str(number), CHANGES_SUBSCRIPTION)
                await wait_for_subscriptions(live_tenant.client, subscribers)
                await asyncio.sleep(0.3)  # until the next poll of the reader
                before = interceptor.count
                await live_tenant.create_post()
                answers = [await socket.receive() for _ in range(2 * subscribers)]
                counts.append(interceptor.count - before)
                assert {answer["type"] for answer in answers} == {"next"}
            await wait_for_subscriptions(live_tenant.client, 0)
        assert abs(counts[1] - counts[0]) <= 2  # the reader may have polled once more


async def test_database_outage_delays_changes_without_loss(database_url: str) -> None:
    interceptor = InterceptingDriver()
    remaining_failures = 6

    async def fail() -> None:
        nonlocal remaining_failures
        if remaining_failures:
            remaining_failures -= 1
            raise ServiceUnavailable("away")

    def make_unavailable(_: WorkspaceId) -> None:
        interceptor.before_statement = fail

    async with (
        intercepted_tenant(database_url, interceptor) as live_tenant,
        connect_and_init(live_tenant.app, live_tenant.token) as socket,
    ):
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        with live_tenant.database.on_commit(make_unavailable):
            answer = await live_tenant.client.execute(
                "mutation ($input: CreatePostInput!) { createPost(input: $input) { __typename } }",
                input={"content": "hello", "accountIds": [live_tenant.account]},
            )
        # The post is created, but reading it failed.
        assert answer["errors"][0]["message"] == "away"
        kinds = [result["type"] for result in await next_results(socket, "changes", 2)]
        assert kinds == ["POST_CREATED", "DESTINATION_ADDED"]
        assert remaining_failures == 0


async def test_error_of_an_event_does_not_count_as_error_of_the_subscription(
    live_tenant: LiveTenant,
) -> None:
    second = await add_account(live_tenant.database, live_tenant.workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "1"})
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        client_for(app, token=live_tenant.token) as client,
    ):
        async with connect_and_init(app, live_tenant.token) as socket:
            socket.subscribe("a", "subscription { changes { post { destinations { status } } } }")
            await wait_for_subscriptions(client, 1)
            await client.query(
                "mutation ($input: CreatePostInput!) { createPost(input: $input) { post { id } } }",
                input={"content": "hello", "accountIds": [live_tenant.account, second]},
            )
            payload = await socket.next_payload("a")
            assert [error["extensions"] for error in payload["errors"]] == [
                {"code": "LIMIT_EXCEEDED"}
            ]
        metrics = (await client.get("/metrics")).text
    assert 'graphql_operations_total{code="ok",type="subscription"} 1.0' in metrics
    assert "post_results_feed_lag_seconds_count 1.0" in metrics
