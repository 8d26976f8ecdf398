"""How WebSockets are ended, byte by byte, on a transport that does nothing. Real servers are elsewhere."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from app.http.websocket_protocol import WebSocketProtocol

MAX_BYTES = 1000
TOO_LARGE = (MAX_BYTES + 1) * b"x"
CLOSE = Frame(Opcode.CLOSE, Close(1000, "").serialize())
PING = Frame(Opcode.PING, b"")
NO_TEXT = Frame(Opcode.TEXT, b"\xff\xfe")
PLEASE_CLOSE = Frame(Opcode.TEXT, b"please close")


class Recorder(asyncio.Transport):
    """What is done with it, in order; what is written, a client has read."""

    def __init__(self, client: ClientProtocol) -> None:
        super().__init__()
        self._client = client
        self._is_closing = False
        self.done: list[str] = []

    def write(self, data: Any) -> None:
        if "write_eof" in self.done:
            raise RuntimeError("Cannot call write() after write_eof()")  # as asyncio does
        if data:
            self.done.append("write")
            self._client.receive_data(bytes(data))

    def write_eof(self) -> None:
        self.done.append("write_eof")

    def pause_reading(self) -> None:
        self.done.append("pause_reading")

    def resume_reading(self) -> None:
        self.done.append("resume_reading")

    def close(self) -> None:
        self._is_closing = True
        self.done.append("close")

    def abort(self) -> None:
        self._is_closing = True
        self.done.append("abort")

    def is_closing(self) -> bool:
        return self._is_closing


class Pair:
    """A client, and the protocol of the server that it has opened a WebSocket to."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        """By the app."""
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            log_config=None,
            ws_max_size=MAX_BYTES,
            ws_per_message_deflate=False,
        )
        config.load()
        self.client = ClientProtocol(parse_uri("ws://test/graphql"))
        self.transport = Recorder(self.client)
        self.server = WebSocketProtocol(config, ServerState(), {})
        self.server.connection_made(self.transport)

    async def _app(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.heard.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.close", "code": 4400})

    async def send(self, *frames: Frame) -> None:
        """As one piece, and give the app its turn."""
        self.server.data_received(
            b"".join(each.serialize(mask=True, extensions=[]) for each in frames)
        )
        await turns()

    @property
    def close_code(self) -> int | None:
        """That the client was told."""
        close = self.client.close_rcvd
        return None if close is None else close.code

    def lose(self) -> None:
        """What a transport says at its end."""
        self.server.connection_lost(None)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def pair(anyio_backend: str) -> Pair:
    """Whose handshake is over."""
    pair = Pair()
    pair.client.send_request(pair.client.connect())
    pair.server.data_received(b"".join(pair.client.data_to_send()))
    await turns()
    assert pair.client.handshake_exc is None
    pair.transport.done.clear()
    return pair


async def test_after_a_frame_that_is_too_large_the_rest_is_read_and_forgotten(pair: Pair) -> None:
    pair.server.close_timeout = 0.05
    whole = Frame(Opcode.TEXT, TOO_LARGE).serialize(mask=True, extensions=[])
    pair.server.data_received(whole[:500])
    await turns()
    in_order = ["write", "write_eof", "resume_reading"]
    assert (pair.close_code, pair.transport.done) == (1009, in_order)
    pair.server.data_received(whole[500:])
    await pair.send(PLEASE_CLOSE, PING, NO_TEXT, CLOSE)
    assert pair.transport.done == in_order
    assert [(each["type"], each["code"]) for each in pair.heard] == [("websocket.disconnect", 1009)]
    await asyncio.sleep(0.1)
    assert pair.transport.done == [*in_order, "abort"]


async def test_who_closes_their_side_is_not_waited_for(pair: Pair) -> None:
    pair.server.close_timeout = 0.05
    await pair.send(Frame(Opcode.TEXT, TOO_LARGE))
    pair.lose()
    await asyncio.sleep(0.1)
    assert "abort" not in pair.transport.done


@pytest.mark.parametrize(
    ("others", "code"), [((), 1007), ((PING,), 1007), ((PLEASE_CLOSE,), 1007), ((CLOSE,), 1000)]
)
async def test_what_comes_along_with_what_cannot_be_read_does_no_harm(
    pair: Pair, others: tuple[Frame, ...], code: int
) -> None:
    await pair.send(NO_TEXT, *others)
    assert (pair.close_code, pair.transport.done) == (
        code,
        ["write", "write_eof", "resume_reading"],
    )
    assert [each["type"] for each in pair.heard] == ["websocket.disconnect"]


async def test_at_a_stop_a_client_is_told_and_then_cut_off(pair: Pair) -> None:
    pair.server.start_keepalive()
    pair.server.shutdown()
    await turns()
    in_order = ["write", "write_eof", "resume_reading"]
    assert (pair.close_code, pair.transport.done) == (1012, in_order)
    assert [each["code"] for each in pair.heard] == [1012]
    assert pair.server.ping_timer is None
    await pair.send(PLEASE_CLOSE, PING)
    assert pair.transport.done == in_order
    await asyncio.sleep(1.2)
    assert pair.transport.done == [*in_order, "abort"]


async def test_a_stop_leaves_a_client_alone_that_is_closing(pair: Pair) -> None:
    """Its answer may wait for room in its buffers, and then the connection is still there."""
    await pair.send(CLOSE)
    before = list(pair.transport.done)
    assert (pair.close_code, set(before)) == (1000, {"write", "close"})
    pair.server.shutdown()
    await asyncio.sleep(1.2)
    assert pair.transport.done == [*before, "abort"]


async def test_a_stop_lets_a_client_read_why_the_app_has_closed(pair: Pair) -> None:
    await pair.send(PLEASE_CLOSE)
    assert pair.close_code == 4400
    before = list(pair.transport.done)
    pair.server.shutdown()
    await turns()
    assert pair.transport.done == before
    await asyncio.sleep(1.2)
    assert pair.transport.done == [*before, "abort"]


async def test_what_is_too_large_ends_the_wait_for_the_clients_answer(pair: Pair) -> None:
    await pair.send(PLEASE_CLOSE)
    first = pair.server.close_timer
    assert first is not None
    await pair.send(Frame(Opcode.TEXT, TOO_LARGE))
    assert first.cancelled()
    assert pair.close_code == 4400
