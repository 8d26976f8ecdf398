"""What runs on a WebSocket and how it ends, by graphql-transport-ws. The handshake is tested beside it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.api_keys import Scope
from app.graphql.service import ConnectionTimeouts
from app.services.api_keys import revoke_key
from app.settings import read_settings
from tests.clients import UNLIMITED_SETTINGS, app_lifespan, client_for
from tests.factories import NOW, add_api_key
from tests.graphql.live_tenant import LiveTenant, running_tasks, wait_for_subscriptions
from tests.graphql.transport.websocket.client import connect, connect_and_init

CHANGES_SUBSCRIPTION = "subscription ($after: String) { changes(after: $after) { type postId } }"
SHORT_TIMEOUT = timedelta(milliseconds=20)
UNKNOWN_KEY = "pe_live_" + 32 * "0"


async def test_a_subscription_is_told_of_each_change_once_and_in_order(
    live_tenant: LiveTenant,
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        post_id = await live_tenant.create_post()

        assert [await socket.next_payload("a") for _ in range(2)] == [
            {"data": {"changes": {"type": "POST_CREATED", "postId": post_id}}},
            {"data": {"changes": {"type": "DESTINATION_ADDED", "postId": post_id}}},
        ]
        socket.send(id="a", type="complete")
        await wait_for_subscriptions(live_tenant.client, 0)
        await live_tenant.create_post()
        assert socket.has_no_messages()


async def test_queries_and_mutations_have_one_answer_and_then_are_complete(
    live_tenant: LiveTenant,
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("q", "{ viewer { scopes } }")
        assert await socket.next_payload("q") == {
            "data": {"viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]}}
        }
        assert await socket.receive() == {"id": "q", "type": "complete"}

        socket.subscribe(
            "q",  # which is free again
            "mutation ($i: CreatePostInput!) { createPost(input: $i) { post { content } } }",
            i={"content": "hello", "draft": True},
        )
        assert await socket.next_payload("q") == {
            "data": {"createPost": {"post": {"content": "hello"}}}
        }
        assert await socket.receive() == {"id": "q", "type": "complete"}


async def test_a_field_that_fails_alone_is_part_of_the_answer(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("q", '{ node(id: "x") { id } viewer { scopes } }')
        payload = await socket.next_payload("q")
        assert payload["data"] == {"node": None, "viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]}}
        assert [each["extensions"]["code"] for each in payload["errors"]] == ["INVALID_ID"]
        assert await socket.receive() == {"id": "q", "type": "complete"}


@pytest.mark.parametrize(
    ("query", "variables", "code", "field"),
    [
        ("{", {}, "GRAPHQL_PARSE_FAILED", None),
        ("{ nope }", {}, "GRAPHQL_VALIDATION_FAILED", None),
        ("subscription { changes { nope } }", {}, "GRAPHQL_VALIDATION_FAILED", None),
        (
            "subscription { a: changes { type } b: changes { type } }",
            {},
            "GRAPHQL_VALIDATION_FAILED",
            None,
        ),
        ("subscription { changes(types: [NOPE]) { type } }", {}, "VALIDATION_ERROR", "types"),
        ("subscription { changes(types: [7]) { type } }", {}, "VALIDATION_ERROR", "types"),
        (CHANGES_SUBSCRIPTION, {"after": "x"}, "BAD_CURSOR", "after"),
        (CHANGES_SUBSCRIPTION, {"after": 7}, "VALIDATION_ERROR", "after"),
        (
            'subscription { postChanged(postId: "00000000-0000-4000-8000-00000000dead") { cursor } }',
            {},
            "NOT_FOUND",
            "postId",
        ),
        ('subscription { postChanged(postId: "x") { cursor } }', {}, "INVALID_ID", "postId"),
        (
            "subscription { destinationChanged(filter: {maxAttempts: -1}) { cursor } }",
            {},
            "VALIDATION_ERROR",
            "filter.maxAttempts",
        ),
        ("", {}, "VALIDATION_ERROR", "query"),
    ],
)
async def test_what_does_not_run_is_refused_by_an_error_message_and_the_socket_stays(
    live_tenant: LiveTenant, query: str, variables: dict[str, Any], code: str, field: str | None
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", query, **variables)
        assert (await socket.next_error("a"))[:2] == (code, field)

        socket.subscribe("a", "{ __typename }")
        assert await socket.next_payload("a") == {"data": {"__typename": "Query"}}
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_a_key_without_the_scope_may_not_follow(live_tenant: LiveTenant) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace, scopes=[Scope.WRITE])
    async with connect_and_init(live_tenant.app, key.token) as socket:
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        assert await socket.next_error("a") == (
            "INSUFFICIENT_SCOPE",
            None,
            "This needs an API key with the scope read.",
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The message is empty; it must be a JSON object."),
        ("[]", "The message must be a JSON object, not a list."),
        ("null", "The message must be a JSON object, not null."),
        ("{", "The message is not JSON: unexpected end of data at line 1, column 2."),
        ("\ud800", "The message is not UTF-8: see byte 0, counted from 0."),
        ("{}", "type must be connection_init, ping, pong, subscribe or complete."),
        (
            '{"type": "start", "id": "1", "payload": {}}',
            "type must be connection_init, ping, pong, subscribe or complete.",
        ),
        ('{"type": ["ping"]}', "type must be connection_init, ping, pong, subscribe or complete."),
        ('{"type": "ping", "payload": 7}', "payload must be a JSON object."),
        ('{"type": "pong", "payload": []}', "payload must be a JSON object."),
        ('{"type": "complete"}', "id must be a string with at least one character."),
        (
            '{"type": "subscribe", "payload": {"query": "{ __typename }"}}',
            "id must be a string with at least one character.",
        ),
        (
            '{"type": "subscribe", "id": 7, "payload": {"query": "{ __typename }"}}',
            "id must be a string with at least one character.",
        ),
        (
            '{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}',
            "id must be a string with at least one character.",
        ),
        (
            '{"type": "subscribe", "id": "1"}',
            "payload must be a JSON object with a query.",
        ),
        (
            '{"type": "subscribe", "id": "1", "payload": null}',
            "payload must be a JSON object with a query.",
        ),
        (
            '{"type": "subscribe", "id": "1", "payload": "{ __typename }"}',
            "payload must be a JSON object with a query.",
        ),
        (
            '{"type": "subscribe", "id": "1", "payload": {"query": 7}}',
            "payload: query must be a GraphQL document.",
        ),
        (
            '{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": []}}',
            "payload: variables must be a JSON object.",
        ),
        (
            '{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "operationName": 7}}',
            "payload: operationName must be a string.",
        ),
    ],
)
async def test_a_message_that_the_protocol_does_not_know_closes_the_socket(
    live_tenant: LiveTenant, text: str, reason: str
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.send_text(text)
        assert await socket.wait_closed() == (4400, reason)


async def test_binary_messages_are_refused(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.send_bytes(b'{"type": "ping"}')
        assert await socket.wait_closed() == (4400, "A message is text, and not binary.")


async def test_a_ping_is_answered_also_before_the_client_says_who_it_is(
    live_tenant: LiveTenant,
) -> None:
    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.send(type="ping")
        socket.send(type="ping", payload={"any": ["thing"]})
        socket.send(type="pong")
        assert [await socket.receive() for _ in range(2)] == 2 * [{"type": "pong"}]


async def test_nothing_runs_before_the_client_has_said_who_it_is(live_tenant: LiveTenant) -> None:
    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.subscribe("a", "{ __typename }")
        assert await socket.wait_closed() == (4401, "Unauthorized")


async def test_a_client_says_once_who_it_is(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.send(type="connection_init")
        assert await socket.wait_closed() == (4429, "Too many initialisation requests")


@pytest.mark.parametrize("payload", ["x", 7, [], True])
async def test_who_it_is_is_said_by_an_object(live_tenant: LiveTenant, payload: object) -> None:
    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.send(type="connection_init", payload=payload)
        assert await socket.wait_closed() == (4400, "payload must be a JSON object.")


@pytest.mark.parametrize(
    "payload",
    [
        {"Authorization": "Bearer {}"},
        {"authorization": "bearer {}"},
        {"headers": {"Authorization": "Bearer {}"}},
        {"headers": {"AUTHORIZATION": "Bearer {}"}, "other": 7},
    ],
)
async def test_the_key_may_be_shown_in_these_places(
    live_tenant: LiveTenant, payload: dict[str, Any]
) -> None:
    def substitute_key(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: substitute_key(each) for name, each in value.items()}
        return value.format(live_tenant.token) if isinstance(value, str) else value

    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.send(type="connection_init", payload=substitute_key(payload))
        assert await socket.receive() == {"type": "connection_ack"}


@pytest.mark.parametrize("init", [{}, {"payload": None}, {"payload": {}}])
async def test_or_in_the_header_of_the_handshake(
    live_tenant: LiveTenant, init: dict[str, Any]
) -> None:
    headers = {"authorization": f"Bearer {live_tenant.token}"}
    async with connect(live_tenant.app, headers=headers) as socket:
        await socket.wait_accepted()
        socket.send(type="connection_init", **init)
        assert await socket.receive() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "This request needs an API key: send 'Authorization: Bearer <key>'."),
        (None, "This request needs an API key: send 'Authorization: Bearer <key>'."),
        (
            {"Authorization": 7},
            "This request needs an API key: send 'Authorization: Bearer <key>'.",
        ),
        (
            {"Authorization": "Bearer x"},
            "The API key is malformed: it is pe_live_ followed by 32 lower-case hex digits.",
        ),
        (
            {"Authorization": f"Bearer {UNKNOWN_KEY}"},
            "The API key is unknown, revoked or expired. Use another key.",
        ),
    ],
)
async def test_a_key_that_opens_nothing_is_forbidden(
    live_tenant: LiveTenant, payload: object, reason: str
) -> None:
    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.send(type="connection_init", payload=payload)
        assert await socket.wait_closed() == (4403, reason)


async def test_a_client_that_does_not_say_who_it_is_has_to_go(live_tenant: LiveTenant) -> None:
    async with (
        app_lifespan(
            live_tenant.database, connection_timeouts=ConnectionTimeouts(init_timeout=SHORT_TIMEOUT)
        ) as app,
        connect(app) as socket,
    ):
        await socket.wait_accepted()
        assert await socket.wait_closed() == (4408, "Connection initialisation timeout")


async def test_an_id_that_is_in_use_closes_the_socket(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        name = 100 * "ä"
        socket.subscribe(name, CHANGES_SUBSCRIPTION)
        socket.subscribe(name, CHANGES_SUBSCRIPTION)
        # A reason has room for 123 bytes.
        assert await socket.wait_closed() == (4409, f"Subscriber for {54 * 'ä'}")
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_of_many_subscriptions_on_a_socket_ten_run(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for number in range(100):
            socket.subscribe(str(number), CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 10)
        refusals = [await socket.next_error(str(number)) for number in range(10, 100)]
        assert set(refusals) == {
            (
                "LIMIT_EXCEEDED",
                None,
                "One WebSocket may have 10 operations at a time. End one of them first, or open another"
                " one.",
            )
        }
        socket.send(id="3", type="complete")
        await wait_for_subscriptions(live_tenant.client, 9)
        socket.subscribe("again", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 10)
        assert socket.has_no_messages()
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_one_key_may_have_so_many_subscriptions_and_sockets_and_all_keys_so_many(
    live_tenant: LiveTenant,
) -> None:
    settings = replace(
        UNLIMITED_SETTINGS, max_subscriptions_per_key=2, max_subscriptions=3, max_sockets=4
    )
    other = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        AsyncExitStack() as stack,
    ):
        one, two = [
            await stack.enter_async_context(connect_and_init(app, live_tenant.token))
            for _ in range(2)
        ]
        third = await stack.enter_async_context(connect_and_init(app, other.token))
        client = await stack.enter_async_context(client_for(app, token=None))
        one.subscribe("1", CHANGES_SUBSCRIPTION)
        two.subscribe("2", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(client, 2)

        one.subscribe("3", CHANGES_SUBSCRIPTION)
        assert await one.next_error("3") == (
            "RATE_LIMIT_EXCEEDED",
            None,
            "One API key may have 2 subscriptions open at a time; end one of them first.",
        )
        third.subscribe("3", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(client, 3)
        third.subscribe("4", CHANGES_SUBSCRIPTION)
        assert await third.next_error("4") == (
            "SERVICE_UNAVAILABLE",
            None,
            "This server has as many subscriptions open as it may. Try again in a moment.",
        )

        async with connect(app) as socket:  # this key's third
            await socket.wait_accepted()
            socket.send(
                type="connection_init", payload={"Authorization": f"Bearer {live_tenant.token}"}
            )
            assert await socket.wait_closed() == (
                1013,
                "One API key may have 2 WebSockets open at a time; end one of them first.",
            )
        await stack.enter_async_context(connect_and_init(app, other.token))
        last = await add_api_key(live_tenant.database, live_tenant.workspace)
        async with connect(app) as socket:
            await socket.wait_accepted()
            socket.send(type="connection_init", payload={"Authorization": f"Bearer {last.token}"})
            assert await socket.wait_closed() == (
                1013,
                "This server has as many WebSockets open as it may. Try again in a moment.",
            )


async def test_subscriptions_are_counted_by_a_limit_of_their_own_once_their_document_is_known(
    live_tenant: LiveTenant,
) -> None:
    settings = read_settings({"RATE_LIMIT": "2/minute", "SUBSCRIBE_RATE_LIMIT": "3/minute"})
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        client_for(app, token=None) as client,
        connect_and_init(app, live_tenant.token) as socket,
    ):
        document = f"{CHANGES_SUBSCRIPTION} # of a text that nobody has sent before to this process: {id(app)}"
        for number, name in enumerate("abcd", 1):
            socket.subscribe(name, document)
            await wait_for_subscriptions(client, number)
        socket.subscribe("e", document)
        assert await socket.next_error("e") == (
            "RATE_LIMIT_EXCEEDED",
            None,
            "Too many new subscriptions: 3 per minute are allowed for one API key. Try again in 60 s.",
        )
        socket.subscribe("q", "{ __typename }")  # the second request: the document was the first
        assert await socket.next_payload("q") == {"data": {"__typename": "Query"}}
        await socket.receive()
        refusal = (
            "RATE_LIMIT_EXCEEDED",
            None,
            "Too many requests: 2 per minute are allowed for one API key. Try again in 60 s.",
        )
        for query in ("{ __typename }", "{", "subscription { nope }", f"{document} another"):
            socket.subscribe("q", query)
            assert await socket.next_error("q") == refusal


async def test_what_cannot_be_read_is_counted_too(live_tenant: LiveTenant) -> None:
    settings = read_settings({"RATE_LIMIT": "2/minute", "PUBLISH_RATE_LIMIT": "1/minute"})
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        connect_and_init(app, live_tenant.token) as socket,
    ):
        codes = []
        for _ in range(4):
            socket.subscribe("q", "{")
            codes.append((await socket.next_error("q"))[0])
        assert codes == 2 * ["GRAPHQL_PARSE_FAILED"] + 2 * ["RATE_LIMIT_EXCEEDED"]


async def test_the_document_of_a_subscription_is_not_too_long(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", f"{CHANGES_SUBSCRIPTION} # {'x' * 16_384}")
        code, _, message = await socket.next_error("a")
        assert code == "LIMIT_EXCEEDED"
        assert message.startswith(
            "The document of a subscription may have 16,384 characters; it has"
        )


async def test_keys_that_are_refused_again_and_again_are_counted(live_tenant: LiveTenant) -> None:
    settings = read_settings({"FAILED_AUTH_RATE_LIMIT": "1/minute"})
    async with app_lifespan(live_tenant.database, settings=settings) as app:
        for expected in (
            (4403, "The API key is unknown, revoked or expired. Use another key."),
            (
                1013,
                "Too many refused keys: 1 per minute are allowed for one address. Try again in 60 s.",
            ),
        ):
            async with connect(app) as socket:
                await socket.wait_accepted()
                payload = {"Authorization": f"Bearer {UNKNOWN_KEY}"}
                socket.send(type="connection_init", payload=payload)
                assert await socket.wait_closed() == expected


async def test_whose_key_is_revoked_has_to_go(live_tenant: LiveTenant) -> None:
    times = ConnectionTimeouts(key_recheck_interval=SHORT_TIMEOUT)
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with (
        app_lifespan(live_tenant.database, connection_timeouts=times) as app,
        connect_and_init(app, key.token) as socket,
    ):
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        await asyncio.sleep(3 * SHORT_TIMEOUT.total_seconds())
        assert socket.has_no_messages()  # it was looked at, and let stay

        assert await revoke_key(live_tenant.database, key.id, now=NOW)
        assert await socket.wait_closed() == (4403, "The API key was revoked or has expired.")


async def test_nothing_more_is_run_for_a_key_that_was_revoked(live_tenant: LiveTenant) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with connect_and_init(live_tenant.app, key.token) as socket:
        await revoke_key(live_tenant.database, key.id, now=NOW)
        socket.subscribe("a", "{ __typename }")
        assert await socket.wait_closed() == (
            4403,
            "The API key is unknown, revoked or expired. Use another key.",
        )


async def test_a_client_that_does_not_read_is_dropped(live_tenant: LiveTenant) -> None:
    times = ConnectionTimeouts(send_timeout=SHORT_TIMEOUT)
    async with (
        app_lifespan(live_tenant.database, connection_timeouts=times) as app,
        connect_and_init(app, live_tenant.token) as socket,
    ):
        socket.stop_reading()
        socket.subscribe("a", "{ __typename }")
        await socket.wait_finished()


async def test_a_client_that_breaks_off_leaves_nothing_behind(live_tenant: LiveTenant) -> None:
    before = running_tasks()
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for name in "abc":
            socket.subscribe(name, CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 3)
        socket.disconnect()
        await socket.wait_finished()
        await wait_for_subscriptions(live_tenant.client, 0)
        assert running_tasks() == before
    assert "websockets_open 0.0" in (await live_tenant.client.get("/metrics")).text


async def test_a_socket_that_the_server_has_closed_is_as_good_as_gone(
    live_tenant: LiveTenant, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        socket.was_closed_by_the_server = True
        await live_tenant.create_post()
        await wait_for_subscriptions(live_tenant.client, 0)
        socket.send(type="ping")
        await socket.wait_finished()
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_client_that_said_who_it_is_in_time_may_wait_for_the_database(
    live_tenant: LiveTenant,
) -> None:
    times = ConnectionTimeouts(init_timeout=SHORT_TIMEOUT)
    async with (
        app_lifespan(live_tenant.database, connection_timeouts=times) as app,
        connect_and_init(app, live_tenant.token) as socket,
    ):
        await asyncio.sleep(2 * SHORT_TIMEOUT.total_seconds())
        socket.send(type="ping")
        assert await socket.receive() == {"type": "pong"}
