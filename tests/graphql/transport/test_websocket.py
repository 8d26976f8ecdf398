"""Operations, authentication, limits and closing of a WebSocket by graphql-transport-ws."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette

from app.domain.api_keys import Scope
from app.graphql.service import ConnectionTimeouts
from app.services.api_keys import revoke_key
from app.settings import read_settings
from tests.clients import UNLIMITED_SETTINGS, app_lifespan, client_for
from tests.factories import NOW, add_api_key
from tests.graphql.live_tenant import (
    LiveTenant,
    running_tasks,
    wait_for_subscriptions,
    wait_for_tasks,
)
from tests.graphql.test_authentication import UNUSABLE_KEY_MESSAGE
from tests.graphql.transport.graphql_requests import error_codes
from tests.graphql.transport.websocket_client import WebSocketClient, connect, connect_and_init

CHANGES_SUBSCRIPTION = "subscription ($after: String) { changes(after: $after) { type postId } }"
SHORT_TIMEOUT = timedelta(milliseconds=20)
UNKNOWN_KEY = "pe_live_" + 32 * "0"
INIT: dict[str, Any] = {"type": "connection_init"}
SUBSCRIBE: dict[str, Any] = {"type": "subscribe", "id": "a", "payload": {"query": "{ __typename }"}}


@asynccontextmanager
async def open_socket_of_app(
    tenant: LiveTenant, token: str | None = None, **options: Any
) -> AsyncIterator[WebSocketClient]:
    """Open an authenticated socket on another app, which has these options."""
    async with (
        app_lifespan(tenant.database, **options) as app,
        connect_and_init(app, token or tenant.token) as socket,
    ):
        yield socket


async def closing_of_init(app: Starlette, token: str) -> tuple[int, str]:
    """Authenticate with a key that must be refused; return code and reason."""
    async with connect(app) as socket:
        await socket.wait_accepted()
        socket.send(**INIT, payload={"Authorization": f"Bearer {token}"})
        return await socket.wait_closed()


async def test_a_subscription_receives_each_change_once_and_in_order(
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


async def test_queries_and_mutations_have_one_response_and_complete(
    live_tenant: LiveTenant,
) -> None:
    scopes = ["READ", "WRITE", "PUBLISH"]
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("q", '{ node(id: "x") { id } viewer { scopes } }')
        payload = await socket.next_payload("q")
        assert payload["data"] == {"node": None, "viewer": {"scopes": scopes}}
        assert error_codes(payload) == ["INVALID_ID"]
        assert await socket.receive() == {"id": "q", "type": "complete"}

        socket.subscribe(
            "q",  # a completed operation frees its id
            "mutation ($i: CreatePostInput!) { createPost(input: $i) { post { content } } }",
            i={"content": "hello", "draft": True},
        )
        assert await socket.next_payload("q") == {
            "data": {"createPost": {"post": {"content": "hello"}}}
        }
        assert await socket.receive() == {"id": "q", "type": "complete"}


@pytest.mark.parametrize(
    ("query", "variables", "code", "field"),
    [
        ("{", {}, "GRAPHQL_PARSE_FAILED", None),
        ("subscription { changes { nope } }", {}, "GRAPHQL_VALIDATION_FAILED", None),
        ("subscription { changes(types: [NOPE]) { type } }", {}, "VALIDATION_ERROR", "types"),
        (CHANGES_SUBSCRIPTION, {"after": "x"}, "BAD_CURSOR", "after"),
        (CHANGES_SUBSCRIPTION, {"after": 7}, "VALIDATION_ERROR", "after"),
        (
            'subscription { postChanged(postId: "00000000-0000-4000-8000-00000000dead") { cursor } }',
            {},
            "NOT_FOUND",
            "postId",
        ),
        (
            "subscription { destinationChanged(filter: {maxAttempts: -1}) { cursor } }",
            {},
            "VALIDATION_ERROR",
            "filter.maxAttempts",
        ),
        ("", {}, "VALIDATION_ERROR", "query"),
    ],
)
async def test_a_rejected_operation_gets_an_error_message_and_the_socket_stays_open(
    live_tenant: LiveTenant, query: str, variables: dict[str, Any], code: str, field: str | None
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", query, **variables)
        assert (await socket.next_error("a"))[:2] == (code, field)

        socket.subscribe("a", "{ __typename }")
        assert await socket.next_payload("a") == {"data": {"__typename": "Query"}}
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_a_subscription_needs_the_read_scope(live_tenant: LiveTenant) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace, scopes=[Scope.WRITE])
    async with connect_and_init(live_tenant.app, key.token) as socket:
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        assert await socket.next_error("a") == (
            "INSUFFICIENT_SCOPE",
            None,
            "This needs an API key with the scope read.",
        )


INVALID_TYPE = "type must be connection_init, ping, pong, subscribe or complete."
INVALID_ID = "id must be a string with at least one character."
NO_OPERATION = "payload must be a JSON object with a query."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "The message is empty; it must be a JSON object."),
        ("[]", "The message must be a JSON object, not a list."),
        ("null", "The message must be a JSON object, not null."),
        ("{", "The message is not JSON: unexpected end of data at line 1, column 2."),
        ("\ud800", "The message is not UTF-8: invalid byte at offset 0."),
        ("{}", INVALID_TYPE),
        ('{"type": "start", "id": "1", "payload": {}}', INVALID_TYPE),
        ('{"type": ["ping"]}', INVALID_TYPE),
        ('{"type": "ping", "payload": 7}', "payload must be a JSON object."),
        ('{"type": "pong", "payload": []}', "payload must be a JSON object."),
        ('{"type": "complete"}', INVALID_ID),
        ('{"type": "subscribe", "payload": {"query": "{ __typename }"}}', INVALID_ID),
        ('{"type": "subscribe", "id": 7, "payload": {"query": "{ __typename }"}}', INVALID_ID),
        ('{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}', INVALID_ID),
        ('{"type": "subscribe", "id": "1"}', NO_OPERATION),
        ('{"type": "subscribe", "id": "1", "payload": null}', NO_OPERATION),
        ('{"type": "subscribe", "id": "1", "payload": "{ __typename }"}', NO_OPERATION),
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
        (b'{"type": "ping"}', "Messages must be text, not binary."),
    ],
)
async def test_a_malformed_message_closes_the_socket(
    live_tenant: LiveTenant, data: str | bytes, reason: str
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.send_data(data)
        assert await socket.wait_closed() == (4400, reason)


async def test_pings_are_answered_before_authentication(live_tenant: LiveTenant) -> None:
    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.send(type="ping")
        socket.send(type="ping", payload={"any": ["thing"]})
        socket.send(type="pong")
        assert [await socket.receive() for _ in range(2)] == 2 * [{"type": "pong"}]


async def test_a_second_connection_init_closes_the_socket(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.send(type="connection_init")
        assert await socket.wait_closed() == (4429, "Too many initialisation requests")


@pytest.mark.parametrize(
    ("header", "init"),
    [
        (None, {"payload": {"Authorization": "Bearer KEY"}}),
        (None, {"payload": {"authorization": "bearer KEY"}}),
        (None, {"payload": {"headers": {"Authorization": "Bearer KEY"}}}),
        (None, {"payload": {"headers": {"AUTHORIZATION": "Bearer KEY"}, "other": 7}}),
        ("Bearer KEY", {}),
        ("Bearer KEY", {"payload": None}),
        ("Bearer KEY", {"payload": {}}),
    ],
)
async def test_the_key_may_be_in_the_payload_or_the_header_of_the_handshake(
    live_tenant: LiveTenant, header: str | None, init: dict[str, Any]
) -> None:
    headers = {"authorization": header.replace("KEY", live_tenant.token)} if header else {}
    async with connect(live_tenant.app, headers=headers) as socket:
        await socket.wait_accepted()
        message = orjson.dumps({"type": "connection_init", **init}).decode()
        socket.send_data(message.replace("KEY", live_tenant.token))
        assert await socket.receive() == {"type": "connection_ack"}


NOT_AN_OBJECT = (4400, "payload must be a JSON object.")
NO_KEY = (4403, "This request needs an API key: send 'Authorization: Bearer <key>'.")


@pytest.mark.parametrize(
    ("message", "closing"),
    [
        (SUBSCRIBE, (4401, "Unauthorized")),
        (INIT | {"payload": "x"}, NOT_AN_OBJECT),
        (INIT | {"payload": 7}, NOT_AN_OBJECT),
        (INIT | {"payload": []}, NOT_AN_OBJECT),
        (INIT | {"payload": True}, NOT_AN_OBJECT),
        (INIT | {"payload": None}, NO_KEY),
        (INIT | {"payload": {}}, NO_KEY),
        (INIT | {"payload": {"Authorization": 7}}, NO_KEY),
        (
            INIT | {"payload": {"Authorization": "Bearer x"}},
            (
                4403,
                "The API key is malformed: it is pe_live_ followed by 32 lower-case hex digits.",
            ),
        ),
        (
            INIT | {"payload": {"Authorization": f"Bearer {UNKNOWN_KEY}"}},
            (4403, UNUSABLE_KEY_MESSAGE),
        ),
    ],
)
async def test_a_client_that_fails_to_authenticate_is_disconnected(
    live_tenant: LiveTenant, message: dict[str, Any], closing: tuple[int, str]
) -> None:
    async with connect(live_tenant.app) as socket:
        await socket.wait_accepted()
        socket.send(**message)
        assert await socket.wait_closed() == closing


async def test_a_client_that_never_authenticates_is_disconnected(live_tenant: LiveTenant) -> None:
    async with (
        app_lifespan(
            live_tenant.database, connection_timeouts=ConnectionTimeouts(init_timeout=SHORT_TIMEOUT)
        ) as app,
        connect(app) as socket,
    ):
        await socket.wait_accepted()
        assert await socket.wait_closed() == (4408, "Connection initialisation timeout")


async def test_an_operation_id_in_use_closes_the_socket(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        name = 100 * "ä"
        socket.subscribe(name, CHANGES_SUBSCRIPTION)
        socket.subscribe(name, CHANGES_SUBSCRIPTION)
        # A close reason has at most 123 bytes.
        assert await socket.wait_closed() == (4409, f"Subscriber for {54 * 'ä'}")
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_a_socket_runs_at_most_ten_operations(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for number in range(100):
            socket.subscribe(str(number), CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 10)
        errors = [await socket.next_error(str(number)) for number in range(10, 100)]
        assert set(errors) == {
            (
                "LIMIT_EXCEEDED",
                None,
                "At most 10 operations may run on one WebSocket at a time. Complete one of them first, or"
                " open another WebSocket.",
            )
        }
        socket.send(id="3", type="complete")
        await wait_for_subscriptions(live_tenant.client, 9)
        socket.subscribe("next", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 10)
        assert socket.has_no_messages()
    await wait_for_subscriptions(live_tenant.client, 0)


async def test_subscriptions_and_sockets_are_limited_per_key_and_in_total(
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
            "The limit of 2 open subscriptions per API key is reached; close one of them first.",
        )
        third.subscribe("3", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(client, 3)
        third.subscribe("4", CHANGES_SUBSCRIPTION)
        assert await third.next_error("4") == (
            "SERVICE_UNAVAILABLE",
            None,
            "Too many subscriptions are open on this server. Try again in 5 s.",
        )

        # The third socket of this key, and then the fifth in total.
        assert await closing_of_init(app, live_tenant.token) == (
            1013,
            "The limit of 2 open WebSockets per API key is reached; close one of them first.",
        )
        await stack.enter_async_context(connect_and_init(app, other.token))
        last = await add_api_key(live_tenant.database, live_tenant.workspace)
        assert await closing_of_init(app, last.token) == (
            1013,
            "Too many WebSockets are open on this server. Try again in 5 s.",
        )


async def test_subscriptions_with_a_cached_document_have_their_own_rate_limit(
    live_tenant: LiveTenant,
) -> None:
    settings = read_settings({"RATE_LIMIT": "2/minute", "SUBSCRIBE_RATE_LIMIT": "3/minute"})
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        client_for(app, token=None) as client,
        connect_and_init(app, live_tenant.token) as socket,
    ):
        document = f"{CHANGES_SUBSCRIPTION} # not cached in this process yet: {id(app)}"
        for number, name in enumerate("abcd", 1):
            socket.subscribe(name, document)
            await wait_for_subscriptions(client, number)
        socket.subscribe("e", document)
        assert await socket.next_error("e") == (
            "RATE_LIMIT_EXCEEDED",
            None,
            "Too many new subscriptions: 3 per minute are allowed for one API key. Try again in 60 s.",
        )
        socket.subscribe("q", "{ __typename }")  # the second request, after the new document
        assert await socket.next_payload("q") == {"data": {"__typename": "Query"}}
        await socket.receive()
        error = (
            "RATE_LIMIT_EXCEEDED",
            None,
            "Too many requests: 2 per minute are allowed for one API key. Try again in 60 s.",
        )
        for query in ("{ __typename }", "{", "subscription { nope }", f"{document} new"):
            socket.subscribe("q", query)
            assert await socket.next_error("q") == error


async def test_a_document_that_cannot_be_parsed_counts_against_the_rate_limit(
    live_tenant: LiveTenant,
) -> None:
    settings = read_settings({"RATE_LIMIT": "2/minute", "PUBLISH_RATE_LIMIT": "1/minute"})
    async with open_socket_of_app(live_tenant, settings=settings) as socket:
        codes = []
        for _ in range(4):
            socket.subscribe("q", "{")
            codes.append((await socket.next_error("q"))[0])
        assert codes == 2 * ["GRAPHQL_PARSE_FAILED"] + 2 * ["RATE_LIMIT_EXCEEDED"]


async def test_the_length_of_a_subscription_document_is_limited(live_tenant: LiveTenant) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", f"{CHANGES_SUBSCRIPTION} # {'x' * 16_384}")
        assert await socket.next_error("a") == (
            "LIMIT_EXCEEDED",
            None,
            "The document of a subscription has 16,459 characters; at most 16,384 are allowed.",
        )


async def test_failed_authentications_have_a_rate_limit(live_tenant: LiveTenant) -> None:
    settings = read_settings({"FAILED_AUTH_RATE_LIMIT": "1/minute"})
    async with app_lifespan(live_tenant.database, settings=settings) as app:
        assert [await closing_of_init(app, UNKNOWN_KEY) for _ in range(2)] == [
            (4403, UNUSABLE_KEY_MESSAGE),
            (
                1013,
                "Too many rejected keys: 1 per minute are allowed for one address. Try again in 60 s.",
            ),
        ]


async def test_a_revoked_key_closes_the_socket(live_tenant: LiveTenant) -> None:
    timeouts = ConnectionTimeouts(key_recheck_interval=SHORT_TIMEOUT)
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with open_socket_of_app(live_tenant, key.token, connection_timeouts=timeouts) as socket:
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        await asyncio.sleep(3 * SHORT_TIMEOUT.total_seconds())
        assert socket.has_no_messages()  # the key was checked and is still valid

        assert await revoke_key(live_tenant.database, key.id, now=NOW)
        assert await socket.wait_closed() == (4403, "The API key was revoked or has expired.")


async def test_no_operation_runs_with_a_revoked_key(live_tenant: LiveTenant) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with connect_and_init(live_tenant.app, key.token) as socket:
        await revoke_key(live_tenant.database, key.id, now=NOW)
        socket.subscribe("a", "{ __typename }")
        assert await socket.wait_closed() == (4403, UNUSABLE_KEY_MESSAGE)
    transport = httpx.ASGITransport(live_tenant.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        metrics = (await client.get("/metrics")).text
    assert 'graphql_operations_total{code="invalid_api_key",type="other"} 1.0' in metrics


async def test_a_client_that_does_not_read_is_disconnected(live_tenant: LiveTenant) -> None:
    timeouts = ConnectionTimeouts(send_timeout=SHORT_TIMEOUT)
    async with open_socket_of_app(live_tenant, connection_timeouts=timeouts) as socket:
        socket.stop_reading()
        socket.subscribe("a", "{ __typename }")
        await socket.wait_finished()


async def test_a_disconnect_releases_subscriptions_and_tasks(live_tenant: LiveTenant) -> None:
    before = running_tasks()
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        for name in "abc":
            socket.subscribe(name, CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 3)
        socket.disconnect()
        await socket.wait_finished()
        await wait_for_subscriptions(live_tenant.client, 0)
        await wait_for_tasks(before)
    assert "websockets_open 0.0" in (await live_tenant.client.get("/metrics")).text


async def test_a_socket_closed_by_the_server_ends_without_an_error(
    live_tenant: LiveTenant, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        socket.subscribe("a", CHANGES_SUBSCRIPTION)
        await wait_for_subscriptions(live_tenant.client, 1)
        socket.is_closed_by_server = True
        await live_tenant.create_post()
        await wait_for_subscriptions(live_tenant.client, 0)
        socket.send(type="ping")
        await socket.wait_finished()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_the_init_timeout_ends_with_connection_init(live_tenant: LiveTenant) -> None:
    timeouts = ConnectionTimeouts(init_timeout=SHORT_TIMEOUT)
    async with open_socket_of_app(live_tenant, connection_timeouts=timeouts) as socket:
        await asyncio.sleep(2 * SHORT_TIMEOUT.total_seconds())
        socket.send(type="ping")
        assert await socket.receive() == {"type": "pong"}
