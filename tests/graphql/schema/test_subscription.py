"""What each subscription tells: its changes alone, from a cursor on, as things are then. By WebSocket."""

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
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import add_account, add_api_key, add_workspace
from tests.graphql.live_tenant import LiveTenant, open_live_tenant, wait_for_subscriptions
from tests.graphql.transport.websocket.client import WebSocketClient, connect_and_init

CHANGES = """
subscription ($after: String, $types: [ChangeType!], $postId: UUID) {
  changes(after: $after, types: $types, postId: $postId) { cursor type postId post { content } }
}
"""
POST_CHANGED = """
subscription ($postId: UUID!, $after: String) {
  postChanged(postId: $postId, after: $after) {
    cursor
    change { type destinationId }
    post { status content }
  }
}
"""
DESTINATION_CHANGED = """
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


async def update(live_tenant: LiveTenant, post_id: str, content: str) -> None:
    await live_tenant.client.query(
        "mutation ($input: UpdatePostInput!) { updatePost(input: $input) { post { version } } }",
        input={"postId": post_id, "content": content},
    )


async def record(live_tenant: LiveTenant, post_id: str, outcome: str, **more: Any) -> None:
    await live_tenant.client.query(
        "mutation ($input: RecordResultInput!) { recordResult(input: $input) { receipt } }",
        input={
            "postId": post_id,
            "accountId": live_tenant.account,
            "attemptKey": outcome,
            "outcome": outcome,
            **more,
        },
    )


async def told(socket: WebSocketClient, field: str, count: int) -> list[dict[str, Any]]:
    """So many answers of operation `a`, none of which has an error."""
    answers = [await socket.next_payload("a") for _ in range(count)]
    assert all(each.keys() == {"data"} for each in answers), answers
    return [each["data"][field] for each in answers]


async def test_whoever_comes_back_with_a_cursor_misses_nothing_and_sees_nothing_twice(
    live_tenant: LiveTenant,
) -> None:
    after: str | None = await latest_cursor(live_tenant)
    posts: list[str] = []
    seen: list[tuple[str, str]] = []
    for _ in range(3):
        posts += [await live_tenant.create_post() for _ in range(2)]  # while nobody follows
        async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
            socket.subscribe("a", CHANGES, after=after)
            for each in await told(socket, "changes", 4):
                seen.append((each["type"], each["postId"]))
                after = each["cursor"]
            posts.append(await live_tenant.create_post())
            for each in await told(socket, "changes", 1):  # the other one is told next time
                seen.append((each["type"], each["postId"]))
                after = each["cursor"]
            await asyncio.sleep(0)
        async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
            socket.subscribe("a", CHANGES, after=after)
            (last,) = await told(socket, "changes", 1)
            seen.append((last["type"], last["postId"]))
            after = last["cursor"]
    assert seen == [
        (kind, post_id) for post_id in posts for kind in ("POST_CREATED", "DESTINATION_ADDED")
    ]
    assert after == await latest_cursor(live_tenant)


async def test_changes_are_told_by_type_and_by_post(live_tenant: LiveTenant) -> None:
    one, other = await live_tenant.create_post(), await live_tenant.create_post()
    after = await latest_cursor(live_tenant)
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CHANGES, after=after, types=["POST_CHANGED"], postId=other)
        await update(live_tenant, one, "first")
        await update(live_tenant, other, "second")
        assert await told(socket, "changes", 1) == [
            {
                "cursor": await latest_cursor(live_tenant),
                "type": "POST_CHANGED",
                "postId": other,
                "post": {"content": "second"},
            }
        ]


async def test_of_a_post_everything_is_told_until_it_is_deleted(live_tenant: LiveTenant) -> None:
    post_id = await live_tenant.create_post()
    after = await latest_cursor(live_tenant)
    await live_tenant.create_post()
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", POST_CHANGED, postId=post_id, after=after)
        await update(live_tenant, post_id, "other")
        (changed,) = await told(socket, "postChanged", 1)
        assert changed["change"] == {"type": "POST_CHANGED", "destinationId": None}
        assert changed["post"] == {"status": "PUBLISHING", "content": "other"}

        await live_tenant.client.request("DELETE", f"/v1/posts/{post_id}")
        kinds = [each["change"]["type"] for each in await told(socket, "postChanged", 2)]
        assert kinds == ["POST_DELETED", "DESTINATION_CHANGED"]
    async with connect_and_init(
        live_tenant.app, live_tenant.token
    ) as socket:  # it can be followed as long as it is told of
        socket.subscribe("a", POST_CHANGED, postId=post_id, after=changed["cursor"])
        assert [each["post"] for each in await told(socket, "postChanged", 2)] == [None, None]


async def test_of_destinations_what_the_filter_says_is_told_however_it_went_on(
    live_tenant: LiveTenant,
) -> None:
    after = await latest_cursor(live_tenant)
    fails, goes_out = await live_tenant.create_post(), await live_tenant.create_post()
    await record(live_tenant, goes_out, "PUBLISHED", platformPostUrl="https://x.example/1")
    await record(
        live_tenant, fails, "FAILED", category="PERMANENT", code="GONE", message="It is gone."
    )
    await live_tenant.client.query(
        "mutation ($input: RetryPostInput!) { retryPost(input: $input) { post { status } } }",
        input={"postId": fails},
    )
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", DESTINATION_CHANGED, after=after, filter={"status": ["FAILED"]})
        (failed,) = await told(socket, "destinationChanged", 1)
        assert failed["change"] == {"type": "DESTINATION_CHANGED", "postId": fails}
        assert failed["destination"]["status"] == "QUEUED"  # by now it was retried
        await record(
            live_tenant,
            await live_tenant.create_post(),
            "PUBLISHED",
            platformPostUrl="https://x.y/2",
        )
        socket.subscribe("b", "{ __typename }")
        assert (await socket.receive())["id"] == "b"


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ({"platform": ["instagram"]}, ["DESTINATION_ADDED", "DESTINATION_CHANGED"]),
        ({"platform": ["x"]}, []),
        ({"status": ["QUEUED"]}, ["DESTINATION_ADDED"]),
        ({"status": ["PUBLISHED"], "outcome": ["PUBLISHED"]}, ["DESTINATION_CHANGED"]),
        ({"status": ["QUEUED", "PUBLISHED"], "outcome": ["UNKNOWN"]}, []),
        # What a change does not say is looked at now.
        ({"status": ["QUEUED"], "maxAttempts": 0}, []),
        ({"status": ["QUEUED"], "maxAttempts": 1}, ["DESTINATION_ADDED"]),
    ],
)
async def test_what_a_change_says_itself_decides(
    live_tenant: LiveTenant, wanted: dict[str, Any], kinds: list[str]
) -> None:
    after = await latest_cursor(live_tenant)
    await record(
        live_tenant,
        await live_tenant.create_post(),
        "PUBLISHED",
        platformPostUrl="https://x.example/1",
    )
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", DESTINATION_CHANGED, after=after, filter=wanted)
        answers = await told(socket, "destinationChanged", len(kinds))
        assert [each["change"]["type"] for each in answers] == kinds
        socket.subscribe("b", "{ __typename }")
        assert (await socket.receive())["id"] == "b"


async def test_without_a_filter_all_destinations_are_told_also_those_that_are_gone(
    live_tenant: LiveTenant,
) -> None:
    second = await add_account(live_tenant.database, live_tenant.workspace)
    post_id = await live_tenant.create_post()
    after = await latest_cursor(live_tenant)
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", DESTINATION_CHANGED, after=after)
        await live_tenant.client.query(
            "mutation ($input: UpdatePostInput!) { updatePost(input: $input) { post { version } } }",
            input={"postId": post_id, "accountIds": [second]},
        )
        answers = await told(socket, "destinationChanged", 2)
        shown = {each["change"]["type"]: each["destination"] is None for each in answers}
        assert shown == {"DESTINATION_ADDED": False, "DESTINATION_REMOVED": True}


@pytest.mark.parametrize("query", [CHANGES, DESTINATION_CHANGED])
async def test_a_cursor_that_is_too_old_asks_for_a_new_start(
    live_tenant: LiveTenant, query: str
) -> None:
    after = await latest_cursor(live_tenant)
    await live_tenant.create_post()
    first = (await live_tenant.client.query("{ changes(first: 1) { endCursor } }"))["changes"][
        "endCursor"
    ]
    await live_tenant.create_post()
    await live_tenant.database.write(
        partial(delete_events, workspace_id=live_tenant.workspace, last_seq=2)
    )
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for cursor in (after, first):
            socket.subscribe("a", query, after=cursor)
            assert await socket.next_error("a") == (
                "RESYNC_REQUIRED",
                "after",
                "The changes after this cursor are no longer stored. Read the current state again, and"
                " continue from the latest cursor.",
            )
        socket.subscribe("a", query, after=await latest_cursor(live_tenant))
        await wait_for_subscriptions(live_tenant.client, 1)


async def test_another_workspace_is_neither_told_of_nor_known_by_its_cursors(
    live_tenant: LiveTenant,
) -> None:
    elsewhere = await add_workspace(live_tenant.database)
    await add_account(live_tenant.database, elsewhere)
    key = await add_api_key(live_tenant.database, elsewhere)
    own = await live_tenant.create_post()
    async with (
        connect_and_init(live_tenant.app, live_tenant.token) as ours,
        connect_and_init(live_tenant.app, key.token) as theirs,
    ):
        ours.subscribe("a", CHANGES)
        theirs.subscribe("a", CHANGES)
        theirs.subscribe("b", POST_CHANGED, postId=own)
        assert (await theirs.next_error("b"))[0] == "NOT_FOUND"
        theirs.subscribe("c", CHANGES, after=await latest_cursor(live_tenant))
        assert (await theirs.next_error("c"))[:2] == ("BAD_CURSOR", "after")
        await wait_for_subscriptions(live_tenant.client, 2)
        post_id = await live_tenant.create_post()
        assert [each["postId"] for each in await told(ours, "changes", 2)] == 2 * [post_id]
        theirs.subscribe("d", "{ __typename }")
        assert (await theirs.receive())["id"] == "d"


@asynccontextmanager
async def driven(url: str, between: InterceptingDriver) -> AsyncIterator[LiveTenant]:
    """A tenant whose database runs what `between` lets it."""
    async with Database(url, wrap_driver=between) as database, open_live_tenant(database) as tenant:
        yield tenant


async def test_what_is_the_same_for_many_is_read_once(database_url: str) -> None:
    between = InterceptingDriver()
    async with driven(database_url, between) as live_tenant:
        counts = []
        for subscribers in (1, 8):
            async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
                for number in range(subscribers):
                    socket.subscribe(str(number), CHANGES)
                await wait_for_subscriptions(live_tenant.client, subscribers)
                await asyncio.sleep(0.3)  # until the reader looks again
                before = between.count
                await live_tenant.create_post()
                answers = [await socket.receive() for _ in range(2 * subscribers)]
                counts.append(between.count - before)
                assert {each["type"] for each in answers} == {"next"}
            await wait_for_subscriptions(live_tenant.client, 0)
        assert abs(counts[1] - counts[0]) <= 2  # the reader may have looked once more meanwhile


async def test_while_the_database_is_away_changes_wait_and_none_is_lost(database_url: str) -> None:
    between = InterceptingDriver()
    left = 6

    async def fail() -> None:
        nonlocal left
        if left:
            left -= 1
            raise ServiceUnavailable("away")

    def goes_away(_: WorkspaceId) -> None:
        between.before_statement = fail

    async with (
        driven(database_url, between) as live_tenant,
        connect_and_init(live_tenant.app, live_tenant.token) as socket,
    ):
        socket.subscribe("a", CHANGES)
        await wait_for_subscriptions(live_tenant.client, 1)
        with live_tenant.database.on_commit(goes_away):
            answer = await live_tenant.client.execute(
                "mutation ($input: CreatePostInput!) { createPost(input: $input) { __typename } }",
                input={"content": "hello", "accountIds": [live_tenant.account]},
            )
        assert answer["errors"][0]["message"] == "away"  # it is made, but cannot be shown
        kinds = [each["type"] for each in await told(socket, "changes", 2)]
        assert kinds == ["POST_CREATED", "DESTINATION_ADDED"]
        assert left == 0
