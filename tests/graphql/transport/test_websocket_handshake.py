"""WebSocket handshakes: origin, subprotocol, path and limit."""

from dataclasses import replace

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from app.http.request import KEEP_OPEN
from tests.clients import UNLIMITED_SETTINGS, app_lifespan
from tests.graphql.live_tenant import LiveTenant
from tests.graphql.transport.graphql_requests import rejection
from tests.graphql.transport.websocket_client import PROTOCOL, connect, connect_and_init


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://test:80"}, {"origin": "https://test:80"}],
    ids=["no origin", "page of this server", "other scheme, because a proxy may terminate TLS"],
)
async def test_a_client_without_an_origin_or_a_page_of_this_server_is_accepted(
    live_tenant: LiveTenant, headers: dict[str, str]
) -> None:
    async with connect(live_tenant.app, headers=headers) as socket:
        assert await socket.wait_accepted() == PROTOCOL


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://test:81",
        "http://test:80.evil.example",
        "null",
        "x",
        "http://[",
    ],
)
async def test_a_page_of_another_origin_is_rejected(live_tenant: LiveTenant, origin: str) -> None:
    async with connect(live_tenant.app, headers={"origin": origin}) as socket:
        start, body = await socket.next_asgi_message(), await socket.next_asgi_message()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
        assert orjson.loads(body["body"]) == rejection(
            "ORIGIN_NOT_ALLOWED",
            "Pages of this origin may not open a WebSocket. The operator can allow the origin in"
            " CORS_ORIGINS.",
        )


@pytest.mark.parametrize(
    ("allowed", "origin", "is_accepted"),
    [
        (("https://app.example",), "https://app.example", True),
        (("https://app.example",), "http://app.example", False),
        (("https://app.example",), "https://app.example.evil.example", False),
        (("*",), "https://any.example", True),
    ],
)
async def test_configured_origins_are_accepted(
    live_tenant: LiveTenant, allowed: tuple[str, ...], origin: str, is_accepted: bool
) -> None:
    settings = replace(UNLIMITED_SETTINGS, cors_origins=allowed)
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        connect(app, headers={"origin": origin}) as socket,
    ):
        expected = "websocket.accept" if is_accepted else "websocket.http.response.start"
        assert (await socket.next_asgi_message())["type"] == expected


@pytest.mark.parametrize("offered", [(), ("graphql-ws",), ("soap", "graphql-ws")])
async def test_other_subprotocols_are_rejected(
    live_tenant: LiveTenant, offered: tuple[str, ...]
) -> None:
    async with connect(live_tenant.app, subprotocols=offered) as socket:
        assert await socket.wait_accepted() is None
        assert await socket.wait_closed() == (
            4406,
            "Subprotocol not acceptable; use graphql-transport-ws.",
        )


@pytest.mark.parametrize("path", ["/graphql", "/social/graphql"])
async def test_one_of_several_subprotocols_is_chosen_also_below_the_root_path(
    live_tenant: LiveTenant, path: str
) -> None:
    settings = replace(UNLIMITED_SETTINGS, root_path="/social")
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        connect(app, path=path, subprotocols=("graphql-ws", PROTOCOL)) as socket,
    ):
        assert await socket.wait_accepted() == PROTOCOL


@pytest.mark.parametrize("path", ["/", "/v1/posts", "/graphql/", "/graphiql"])
async def test_other_paths_reject_websockets(live_tenant: LiveTenant, path: str) -> None:
    async with connect(live_tenant.app, path=path) as socket:
        assert await socket.next_asgi_message() == {
            "type": "websocket.close",
            "code": 1000,
            "reason": "",
        }


async def test_new_socket_replaces_the_oldest_that_has_not_authenticated(
    live_tenant: LiveTenant,
) -> None:
    settings = replace(UNLIMITED_SETTINGS, max_sockets=8)  # two of which need not authenticate
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        connect_and_init(app, live_tenant.token) as authenticated,
        connect(app) as first,
        connect(app) as second,
    ):
        assert await first.wait_accepted() == await second.wait_accepted() == PROTOCOL
        async with connect_and_init(app, live_tenant.token), connect(app) as third:
            assert await first.wait_closed() == (
                1013,
                "Too many WebSockets are open that have not authenticated. Connect again.",
            )
            assert await third.wait_accepted() == PROTOCOL
            for socket in (authenticated, second, third):
                socket.send(type="ping")
                assert await socket.receive() == {"type": "pong"}


@pytest.mark.parametrize("is_valid", [True, False])
async def test_connection_may_be_closed_for_others_until_the_client_has_authenticated(
    live_tenant: LiveTenant, is_valid: bool
) -> None:
    calls: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = {KEEP_OPEN: lambda: calls.append("keep open")}
        await live_tenant.app({**scope, "state": state}, receive, send)

    async with connect(app) as socket:
        await socket.wait_accepted()
        socket.send(type="ping")
        assert (await socket.receive(), calls) == ({"type": "pong"}, [])
        token = live_tenant.token if is_valid else f"pe_live_{32 * '0'}"
        socket.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        if is_valid:
            assert await socket.receive() == {"type": "connection_ack"}
        else:
            assert (await socket.wait_closed())[0] == 4403
    assert calls == (["keep open"] if is_valid else [])
