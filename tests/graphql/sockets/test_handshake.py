"""Which WebSockets are accepted: by origin, by protocol, and never more than there may be."""

from dataclasses import replace

import orjson
import pytest

from tests.clients import UNLIMITED, started
from tests.graphql.following import Live
from tests.graphql.sockets.client import PROTOCOL, connecting, opened


async def test_a_client_without_an_origin_is_no_page_and_welcome(live: Live) -> None:
    async with connecting(live.app) as socket:
        assert await socket.accepted() == PROTOCOL


@pytest.mark.parametrize("origin", ["http://test:80", "https://test:80"])
async def test_a_page_of_this_server_is_welcome(live: Live, origin: str) -> None:
    """Whatever its scheme: a proxy in front may end TLS."""
    async with connecting(live.app, headers={"origin": origin}) as socket:
        assert await socket.accepted() == PROTOCOL


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
    live: Live, origin: str
) -> None:
    async with connecting(live.app, headers={"origin": origin}) as socket:
        start, body = await socket.event(), await socket.event()
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
    live: Live, allowed: tuple[str, ...], origin: str, is_welcome: bool
) -> None:
    settings = replace(UNLIMITED, cors_origins=allowed)
    async with (
        started(live.database, settings=settings) as app,
        connecting(app, headers={"origin": origin}) as socket,
    ):
        expected = "websocket.accept" if is_welcome else "websocket.http.response.start"
        assert (await socket.event())["type"] == expected


@pytest.mark.parametrize("offered", [(), ("graphql-ws",), ("soap", "graphql-ws")])
async def test_only_one_protocol_is_spoken(live: Live, offered: tuple[str, ...]) -> None:
    async with connecting(live.app, subprotocols=offered) as socket:
        assert await socket.accepted() is None
        assert await socket.closed() == (
            4406,
            "Subprotocol not acceptable; use graphql-transport-ws.",
        )


async def test_it_is_chosen_among_several(live: Live) -> None:
    async with connecting(live.app, subprotocols=("graphql-ws", PROTOCOL)) as socket:
        assert await socket.accepted() == PROTOCOL


async def test_the_path_is_that_of_graphql_also_below_a_prefix(live: Live) -> None:
    settings = replace(UNLIMITED, root_path="/social")
    async with started(live.database, settings=settings) as app:
        for path in ("/graphql", "/social/graphql"):
            async with connecting(app, path=path) as socket:
                assert await socket.accepted() == PROTOCOL


@pytest.mark.parametrize("path", ["/", "/v1/posts", "/graphql/", "/graphiql"])
async def test_other_paths_have_no_sockets(live: Live, path: str) -> None:
    async with connecting(live.app, path=path) as socket:
        assert await socket.event() == {"type": "websocket.close", "code": 1000, "reason": ""}


async def test_clients_that_do_not_say_who_they_are_take_no_place_from_others(live: Live) -> None:
    settings = replace(UNLIMITED, max_sockets=4)  # so one of them may be unknown
    async with started(live.database, settings=settings) as app:
        for _ in range(2):
            async with opened(app, live.token), opened(app, live.token), connecting(app) as silent:
                assert await silent.accepted() == PROTOCOL
                async with connecting(app) as another:
                    assert await another.accepted() == PROTOCOL
                    assert await another.closed() == (
                        1013,
                        "This server has as many WebSockets of clients that have not said who they are open"
                        " as it may. Try again in a moment.",
                    )
