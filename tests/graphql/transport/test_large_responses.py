"""Large responses on WebSockets and event streams: fragments, and the memory of those that wait."""

from contextlib import AsyncExitStack

import orjson

from app.http.responses import PIECE_BYTES
from app.http.websocket_protocol import SEND_FRAGMENT
from tests.factories import add_api_key
from tests.graphql.live_tenant import LiveTenant, wait_for_subscriptions
from tests.graphql.transport.large_responses import (
    HUGE_ALIASES,
    HUGE_BYTES,
    HUGE_MEDIA,
    HUGE_QUERY,
    SHARE_OF_ONE_KEY,
    huge_subscription,
    wait_until_finished,
    wait_until_freed,
)
from tests.graphql.transport.sse_client import SSEClient, open_stream
from tests.graphql.transport.websocket_client import WebSocketClient, connect_and_init

LARGE_TEXT = 40_000 * "x" + "é"
"""Content of a post whose response has three pieces."""
CONTENT_SUBSCRIPTION = "subscription { changes(types: [POST_CREATED]) { post { content } } }"
TYPE_SUBSCRIPTION = "subscription { changes(types: [POST_CREATED]) { type } }"
CONTENT_PAYLOAD = {"data": {"changes": {"post": {"content": LARGE_TEXT}}}}


async def test_a_large_message_of_a_websocket_is_sent_in_fragments(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CONTENT_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        await live_tenant.create_post(LARGE_TEXT)
        fragments = [await socket.next_asgi_message() for _ in range(5)]

    assert [(fragment["type"], fragment["more_data"]) for fragment in fragments] == [
        *4 * [(SEND_FRAGMENT, True)],
        (SEND_FRAGMENT, False),
    ]
    assert max(len(fragment["data"]) for fragment in fragments) == PIECE_BYTES
    message = orjson.loads(b"".join(fragment["data"] for fragment in fragments))
    assert message == {"id": "a", "type": "next", "payload": CONTENT_PAYLOAD}


async def test_a_large_event_of_a_stream_is_sent_in_pieces(live_tenant: LiveTenant) -> None:
    async with open_stream(live_tenant.app, live_tenant.token, CONTENT_SUBSCRIPTION) as events:
        await events.wait_started()
        assert await events.next_text() == ":\n\n"
        await wait_for_subscriptions(live_tenant.client, 1)
        await live_tenant.create_post(LARGE_TEXT)
        pieces = [(await events.next_asgi_message())["body"] for _ in range(5)]

    assert max(map(len, pieces)) == PIECE_BYTES
    event = b"".join(pieces)
    assert event.startswith(b"event: next\ndata: {")
    assert event.endswith(b"}\n\n")
    assert orjson.loads(event.removeprefix(b"event: next\ndata: ")) == CONTENT_PAYLOAD


async def test_nothing_is_sent_between_the_fragments_of_a_message(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("large", CONTENT_SUBSCRIPTION)
        socket.subscribe("small", TYPE_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 2)
        socket.stop_reading(after=2)
        await live_tenant.create_post(LARGE_TEXT)
        await live_tenant.create_post(LARGE_TEXT + "!")
        socket.send(type="ping")
        socket.resume_reading()
        received = [await socket.receive() for _ in range(5)]

    ids = sorted(message.get("id", "none") for message in received)
    assert ids == ["large", "large", "none", "small", "small"]


async def test_a_completed_operation_sends_the_rest_of_its_message(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CONTENT_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        socket.stop_reading(after=2)
        await live_tenant.create_post(LARGE_TEXT)
        first = [await socket.next_asgi_message() for _ in range(2)]
        socket.send(id="a", type="complete")
        socket.subscribe("b", "{ __typename }")
        await wait_until_operation_started(live_tenant)
        socket.resume_reading()
        rest = [await socket.next_asgi_message() for _ in range(3)]
        assert await socket.next_payload("b") == {"data": {"__typename": "Query"}}
        await wait_for_subscriptions(live_tenant.client, 0)

    message = orjson.loads(b"".join(fragment["data"] for fragment in [*first, *rest]))
    assert message == {"id": "a", "type": "next", "payload": CONTENT_PAYLOAD}


async def wait_until_operation_started(live_tenant: LiveTenant) -> None:
    """Wait for a round trip of another client, in which messages that were received are handled."""
    for _ in range(3):
        await live_tenant.client.query("{ viewer { scopes } }")


async def test_a_socket_that_is_lost_within_a_message_ends_without_an_error(
    live_tenant: LiveTenant,
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CONTENT_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        socket.stop_reading(after=2)
        await live_tenant.create_post(LARGE_TEXT)
        await socket.next_asgi_message()
        socket.disconnect()
        await socket.wait_finished()
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_a_response_of_any_size_is_sent_to_a_client_that_reads_and_is_then_freed(
    live_tenant: LiveTenant,
) -> None:
    async with (
        connect_and_init(live_tenant.app, live_tenant.token) as socket,
        open_stream(live_tenant.app, live_tenant.token, huge_subscription(1)) as events,
    ):
        socket.subscribe("a", huge_subscription(0))
        await wait_for_subscriptions(live_tenant.client, 2)
        for _ in range(2):
            await live_tenant.create_post(media=HUGE_MEDIA)
            post = (await socket.next_payload("a"))["data"]["changes"]["post"]
            assert post == {f"media{number}": HUGE_MEDIA for number in range(HUGE_ALIASES)}
            assert await read_event(events) > HUGE_BYTES
            await wait_until_freed()


async def read_event(events: SSEClient) -> int:
    """Read to the end of an event that has pieces; return its bytes."""
    size = 0
    while True:
        message = await events.next_asgi_message()
        body = message.get("body", b"")
        size += len(body)
        if body == b"\n\n":
            return size


async def test_a_socket_is_dropped_if_too_much_waits_for_it(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for number in range(2):
            socket.subscribe(str(number), huge_subscription(number))
        await wait_for_subscriptions(live_tenant.client, 2)
        socket.stop_reading()
        await live_tenant.create_post(media=HUGE_MEDIA)
        await socket.wait_finished()  # without a close frame, which would have to wait too
        assert socket.has_no_messages()


async def test_unread_sockets_share_the_bytes_of_one_response(live_tenant: LiveTenant) -> None:
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connect_and_init(live_tenant.app, live_tenant.token))
            for _ in range(3 * SHARE_OF_ONE_KEY)
        ]
        for socket in sockets:
            socket.subscribe("a", huge_subscription(0))
        await wait_for_subscriptions(live_tenant.client, len(sockets))
        for socket in sockets:
            socket.stop_reading()
        await live_tenant.create_post(media=HUGE_MEDIA)
        for socket in sockets:
            socket.resume_reading()
            assert "data" in await socket.next_payload("a")


async def test_unread_sockets_are_dropped_above_the_share_of_their_key(
    live_tenant: LiveTenant,
) -> None:
    other_key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with AsyncExitStack() as stack:
        sockets: list[WebSocketClient] = []
        for number in range(SHARE_OF_ONE_KEY + 2):
            socket = await stack.enter_async_context(
                connect_and_init(live_tenant.app, live_tenant.token)
            )
            socket.subscribe("a", huge_subscription(number))
            sockets.append(socket)
        await wait_for_subscriptions(live_tenant.client, len(sockets))
        for socket in sockets:
            socket.stop_reading()
        await live_tenant.create_post(media=HUGE_MEDIA)
        await wait_until_finished(sockets, 2)

        other = await stack.enter_async_context(connect_and_init(live_tenant.app, other_key.token))
        other.subscribe("a", HUGE_QUERY)
        assert "data" in await other.next_payload("a")
        assert sum(socket.is_finished for socket in sockets) == 2
        assert all(socket.has_no_messages() for socket in sockets)


async def test_unread_streams_are_dropped_above_the_share_of_their_key(
    live_tenant: LiveTenant,
) -> None:
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(
                open_stream(live_tenant.app, live_tenant.token, huge_subscription(number))
            )
            for number in range(SHARE_OF_ONE_KEY + 2)
        ]
        await wait_for_subscriptions(live_tenant.client, len(streams))
        for stream in streams:
            stream.stop_reading()
        await live_tenant.create_post(media=HUGE_MEDIA)
        await wait_until_finished(streams, 2)
        await wait_for_subscriptions(live_tenant.client, SHARE_OF_ONE_KEY)
        assert sum(stream.is_finished for stream in streams) == 2
