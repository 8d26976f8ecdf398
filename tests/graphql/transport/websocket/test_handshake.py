"""Which WebSockets are accepted: by origin, by protocol, and never more than there may be."""

from dataclasses import replace

import orjson
import pytest

from tests.clients import UNLIMITED_SETTINGS, app_lifespan
from tests.graphql.live_tenant import LiveTenant
from tests.graphql.transport.websocket.client import PROTOCOL, connect, connect_and_init


async def test_a_client_without_an_origin_is_no_page_and_welcome(live_tenant: LiveTenant) -> None:
    async with connect(live_tenant.app) as socket:
        assert await socket.wait_accepted() == PROTOCOL


@pytest.mark.parametrize("origin", ["http://test:80", "https://test:80"])
async def test_a_page_of_this_server_is_welcome(live_tenant: LiveTenant, origin: str) -> None:
    """Whatever its scheme: a proxy in front may end TLS."""
    async with connect(live_tenant.app, headers={"origin": origin}) as socket:
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
async def test_a_page_of_another_origin_is_refused_in_the_handshake(
    live_tenant: LiveTenant, origin: str
) -> None:
    async with connect(live_tenant.app, headers={"origin": origin}) as socket:
        start, body = await socket.next_asgi_message(), await socket.next_asgi_message()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
        assert orjson.loads(body["body"]) == {
            "errors": [
                {
                    "message": "Pages of this origin may not open a WebSocket. The operator names the"
                    " origins of pages in CORS_ORIGINS.",
                    "extensions": {"code": "ORIGIN_NOT_ALLOWED"},
                }
            ]
        }


@pytest.mark.parametrize(
    ("allowed", "origin", "is_welcome"),
    [
        (("https://app.example",), "https://app.example", True),
        (("https://app.example",), "http://app.example", False),
        (("https://app.example",), "https://app.example.evil.example", False),
        (("*",), "https://any.example", True),
    ],
)
async def test_the_operator_names_other_origins(
    live_tenant: LiveTenant, allowed: tuple[str, ...], origin: str, is_welcome: bool
) -> None:
    settings = replace(UNLIMITED_SETTINGS, cors_origins=allowed)
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        connect(app, headers={"origin": origin}) as socket,
    ):
        expected = "websocket.accept" if is_welcome else "websocket.http.response.start"
        assert (await socket.next_asgi_message())["type"] == expected


@pytest.mark.parametrize("offered", [(), ("graphql-ws",), ("soap", "graphql-ws")])
async def test_only_one_protocol_is_spoken(
    live_tenant: LiveTenant, offered: tuple[str, ...]
) -> None:
    async with connect(live_tenant.app, subprotocols=offered) as socket:
        assert await socket.wait_accepted() is None
        assert await socket.wait_closed() == (
            4406,
            "Subprotocol not acceptable; use graphql-transport-ws.",
        )


async def test_it_is_chosen_among_several(live_tenant: LiveTenant) -> None:
    async with connect(live_tenant.app, subprotocols=("graphql-ws", PROTOCOL)) as socket:
        assert await socket.wait_accepted() == PROTOCOL


async def test_the_path_is_that_of_graphql_also_below_a_prefix(live_tenant: LiveTenant) -> None:
    settings = replace(UNLIMITED_SETTINGS, root_path="/social")
    async with app_lifespan(live_tenant.database, settings=settings) as app:
        for path in ("/graphql", "/social/graphql"):
            async with connect(app, path=path) as socket:
                assert await socket.wait_accepted() == PROTOCOL


@pytest.mark.parametrize("path", ["/", "/v1/posts", "/graphql/", "/graphiql"])
async def test_other_paths_have_no_sockets(live_tenant: LiveTenant, path: str) -> None:
    async with connect(live_tenant.app, path=path) as socket:
        assert await socket.next_asgi_message() == {
            "type": "websocket.close",
            "code": 1000,
            "reason": "",
        }


async def test_clients_that_do_not_say_who_they_are_take_no_place_from_others(
    live_tenant: LiveTenant,
) -> None:
    settings = replace(UNLIMITED_SETTINGS, max_sockets=4)  # so one of them may be unknown
    async with app_lifespan(live_tenant.database, settings=settings) as app:
        for _ in range(2):
            async with (
                connect_and_init(app, live_tenant.token),
                connect_and_init(app, live_tenant.token),
                connect(app) as silent,
            ):
                assert await silent.wait_accepted() == PROTOCOL
                async with connect(app) as another:
                    assert await another.wait_accepted() == PROTOCOL
                    assert await another.wait_closed() == (
                        1013,
                        "Too many unauthenticated WebSockets are open on this server. Try again in 5 s.",
                    )
