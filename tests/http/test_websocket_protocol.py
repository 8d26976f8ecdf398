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
INVALID_UTF8 = Frame(Opcode.TEXT, b"\xff\xfe")
CLOSE_REQUEST = Frame(Opcode.TEXT, b"please close")


class RecordingTransport(asyncio.Transport):
    """What is done with it, in order; what is written, a client has read."""

    def __init__(self, client: ClientProtocol) -> None:
        super().__init__()
        self._client = client
        self._is_closing = False
        self.calls: list[str] = []

    def write(self, data: Any) -> None:
        if "write_eof" in self.calls:
            raise RuntimeError("Cannot call write() after write_eof()")  # as asyncio does
        if data:
            self.calls.append("write")
            self._client.receive_data(bytes(data))

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def close(self) -> None:
        self._is_closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self._is_closing = True
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return self._is_closing


class ConnectedPair:
    """A client, and the protocol of the server that it has opened a WebSocket to."""

    def __init__(self) -> None:
        self.received: list[Message] = []
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
        self.transport = RecordingTransport(self.client)
        self.server = WebSocketProtocol(config, ServerState(), {})
        self.server.connection_made(self.transport)

    async def _app(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.received.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.close", "code": 4400})

    async def send(self, *frames: Frame) -> None:
        """As one piece, and give the app its turn."""
        self.server.data_received(
            b"".join(frame.serialize(mask=True, extensions=[]) for frame in frames)
        )
        await run_loop_iterations()

    @property
    def close_code(self) -> int | None:
        """That the client was told."""
        close = self.client.close_rcvd
        return None if close is None else close.code

    def lose_connection(self) -> None:
        """What a transport says at its end."""
        self.server.connection_lost(None)


async def run_loop_iterations() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def connected_pair(anyio_backend: str) -> ConnectedPair:
    """Whose handshake is over."""
    pair = ConnectedPair()
    pair.client.send_request(pair.client.connect())
    pair.server.data_received(b"".join(pair.client.data_to_send()))
    await run_loop_iterations()
    assert pair.client.handshake_exc is None
    pair.transport.calls.clear()
    return pair


async def test_after_a_frame_that_is_too_large_the_rest_is_read_and_forgotten(
    connected_pair: ConnectedPair,
) -> None:
    connected_pair.server.close_timeout = 0.05
    whole = Frame(Opcode.TEXT, TOO_LARGE).serialize(mask=True, extensions=[])
    connected_pair.server.data_received(whole[:500])
    await run_loop_iterations()
    in_order = ["write", "write_eof", "resume_reading"]
    assert (connected_pair.close_code, connected_pair.transport.calls) == (1009, in_order)
    connected_pair.server.data_received(whole[500:])
    await connected_pair.send(CLOSE_REQUEST, PING, INVALID_UTF8, CLOSE)
    assert connected_pair.transport.calls == in_order
    assert [(item["type"], item["code"]) for item in connected_pair.received] == [
        ("websocket.disconnect", 1009)
    ]
    await asyncio.sleep(0.1)
    assert connected_pair.transport.calls == [*in_order, "abort"]


async def test_who_closes_their_side_is_not_waited_for(connected_pair: ConnectedPair) -> None:
    connected_pair.server.close_timeout = 0.05
    await connected_pair.send(Frame(Opcode.TEXT, TOO_LARGE))
    connected_pair.lose_connection()
    await asyncio.sleep(0.1)
    assert "abort" not in connected_pair.transport.calls


@pytest.mark.parametrize(
    ("others", "code"), [((), 1007), ((PING,), 1007), ((CLOSE_REQUEST,), 1007), ((CLOSE,), 1000)]
)
async def test_what_comes_along_with_what_cannot_be_read_does_no_harm(
    connected_pair: ConnectedPair, others: tuple[Frame, ...], code: int
) -> None:
    await connected_pair.send(INVALID_UTF8, *others)
    assert (connected_pair.close_code, connected_pair.transport.calls) == (
        code,
        ["write", "write_eof", "resume_reading"],
    )
    assert [item["type"] for item in connected_pair.received] == ["websocket.disconnect"]


async def test_at_a_stop_a_client_is_told_and_then_cut_off(connected_pair: ConnectedPair) -> None:
    connected_pair.server.start_keepalive()
    connected_pair.server.shutdown()
    await run_loop_iterations()
    in_order = ["write", "write_eof", "resume_reading"]
    assert (connected_pair.close_code, connected_pair.transport.calls) == (1012, in_order)
    assert [item["code"] for item in connected_pair.received] == [1012]
    assert connected_pair.server.ping_timer is None
    await connected_pair.send(CLOSE_REQUEST, PING)
    assert connected_pair.transport.calls == in_order
    await asyncio.sleep(1.2)
    assert connected_pair.transport.calls == [*in_order, "abort"]


async def test_a_stop_leaves_a_client_alone_that_is_closing(connected_pair: ConnectedPair) -> None:
    """Its answer may wait for room in its buffers, and then the connection is still there."""
    await connected_pair.send(CLOSE)
    before = list(connected_pair.transport.calls)
    assert (connected_pair.close_code, set(before)) == (1000, {"write", "close"})
    connected_pair.server.shutdown()
    await asyncio.sleep(1.2)
    assert connected_pair.transport.calls == [*before, "abort"]


async def test_a_stop_lets_a_client_read_why_the_app_has_closed(
    connected_pair: ConnectedPair,
) -> None:
    await connected_pair.send(CLOSE_REQUEST)
    assert connected_pair.close_code == 4400
    before = list(connected_pair.transport.calls)
    connected_pair.server.shutdown()
    await run_loop_iterations()
    assert connected_pair.transport.calls == before
    await asyncio.sleep(1.2)
    assert connected_pair.transport.calls == [*before, "abort"]


async def test_what_is_too_large_ends_the_wait_for_the_clients_answer(
    connected_pair: ConnectedPair,
) -> None:
    await connected_pair.send(CLOSE_REQUEST)
    first = connected_pair.server.close_timer
    assert first is not None
    await connected_pair.send(Frame(Opcode.TEXT, TOO_LARGE))
    assert first.cancelled()
    assert connected_pair.close_code == 4400
