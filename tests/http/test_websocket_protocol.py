"""Fragments and closing of WebSockets, frame by frame, on a recording transport."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from app.http.websocket_protocol import SEND_FRAGMENT, WebSocketProtocol

MAX_BYTES = 1000
TOO_LARGE = (MAX_BYTES + 1) * b"x"
CLOSE = Frame(Opcode.CLOSE, Close(1000, "").serialize())
PING = Frame(Opcode.PING, b"")
INVALID_UTF8 = Frame(Opcode.TEXT, b"\xff\xfe")
CLOSING_CALLS = ["write", "write_eof", "resume_reading"]
CLOSE_REQUEST = Frame(Opcode.TEXT, b"please close")


class RecordingTransport(asyncio.Transport):
    """Records its calls; a client receives immediately what is written."""

    def __init__(self, client: ClientProtocol) -> None:
        super().__init__()
        self._client = client
        self._is_closing = False
        self.calls: list[str] = []
        self.max_buffered_bytes: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert low is None
        self.max_buffered_bytes = high

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
    """A client, and the server protocol of its WebSocket."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        """Messages that the app received."""
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
        """Send frames in one piece, and let the app run."""
        self.server.data_received(
            b"".join(frame.serialize(mask=True, extensions=[]) for frame in frames)
        )
        await run_loop_iterations()

    @property
    def close_code(self) -> int | None:
        """Close code that the client received."""
        close = self.client.close_rcvd
        return None if close is None else close.code

    def lose_connection(self) -> None:
        """Report the end of the transport to the server."""
        self.server.connection_lost(None)


async def run_loop_iterations() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def pair(anyio_backend: str) -> ConnectedPair:
    """A pair after its handshake."""
    new_pair = ConnectedPair()
    new_pair.client.send_request(new_pair.client.connect())
    new_pair.server.data_received(b"".join(new_pair.client.data_to_send()))
    await run_loop_iterations()
    assert new_pair.client.handshake_exc is None
    new_pair.transport.calls.clear()
    return new_pair


def fragment(data: bytes, *, more_data: bool) -> Message:
    return {"type": SEND_FRAGMENT, "data": data, "more_data": more_data}


async def test_fragments_are_one_message_in_which_control_frames_are_sent(
    pair: ConnectedPair,
) -> None:
    pair.client.events_received()
    await pair.server.send(fragment(b"caf\xc3", more_data=True))
    await pair.send(PING)
    await pair.server.send(fragment(b"\xa9", more_data=False))
    await pair.server.send({"type": "websocket.send", "text": "next"})
    assert pair.client.events_received() == [
        Frame(Opcode.TEXT, b"caf\xc3", fin=False),
        Frame(Opcode.PONG, b""),
        Frame(Opcode.CONT, b"\xa9"),
        Frame(Opcode.TEXT, b"next"),
    ]


async def test_fragment_waits_until_those_before_are_sent(pair: ConnectedPair) -> None:
    assert pair.transport.max_buffered_bytes == 16 * 1024
    pair.server.pause_writing()
    sending = asyncio.create_task(pair.server.send(fragment(b"x", more_data=False)))
    await run_loop_iterations()
    assert (pair.transport.calls, sending.done()) == ([], False)
    pair.server.resume_writing()
    await sending
    assert pair.transport.calls == ["write"]


async def test_fragment_is_refused_once_the_connection_is_closed(pair: ConnectedPair) -> None:
    await pair.server.send(fragment(b"x", more_data=True))
    await pair.server.send({"type": "websocket.close", "code": 4403})
    with pytest.raises(ClientDisconnected):
        await pair.server.send(fragment(b"y", more_data=False))
    assert pair.close_code == 4403
    pair.lose_connection()
    with pytest.raises(ClientDisconnected):
        await pair.server.send(fragment(b"y", more_data=False))


async def test_pings_are_not_read_while_the_client_does_not_read_the_pongs(
    pair: ConnectedPair,
) -> None:
    pair.server.pause_writing()
    await pair.send(PING)
    assert pair.transport.calls == ["write", "pause_reading"]
    pair.server.resume_writing()
    assert pair.transport.calls == ["write", "pause_reading", "resume_reading"]


async def test_message_between_pings_does_not_resume_reading(pair: ConnectedPair) -> None:
    pair.server.pause_writing()
    await pair.send(PING, CLOSE_REQUEST, PING)
    reading_calls = [call for call in pair.transport.calls if call != "write"]
    assert pair.received == [{"type": "websocket.receive", "text": "please close"}]
    assert reading_calls[-1] == "pause_reading"


async def test_read_pongs_do_not_resume_reading_before_the_app_has_received_a_message(
    pair: ConnectedPair,
) -> None:
    pair.server.pause_writing()
    ping, message = (frame.serialize(mask=True, extensions=[]) for frame in (PING, CLOSE_REQUEST))
    pair.server.data_received(ping + message)
    pair.server.resume_writing()
    assert "resume_reading" not in pair.transport.calls
    await run_loop_iterations()
    assert "resume_reading" in pair.transport.calls


async def test_oversized_frame_closes_and_drains_connection(pair: ConnectedPair) -> None:
    pair.server.close_timeout = 0.05
    data = Frame(Opcode.TEXT, TOO_LARGE).serialize(mask=True, extensions=[])
    pair.server.data_received(data[:500])
    await run_loop_iterations()
    assert (pair.close_code, pair.transport.calls) == (1009, CLOSING_CALLS)
    pair.server.data_received(data[500:])
    await pair.send(CLOSE_REQUEST, PING, INVALID_UTF8, CLOSE)
    assert pair.transport.calls == CLOSING_CALLS
    assert [(message["type"], message["code"]) for message in pair.received] == [
        ("websocket.disconnect", 1009)
    ]
    await asyncio.sleep(0.1)
    assert pair.transport.calls == [*CLOSING_CALLS, "abort"]


async def test_closed_connection_is_not_aborted(pair: ConnectedPair) -> None:
    pair.server.close_timeout = 0.05
    await pair.send(Frame(Opcode.TEXT, TOO_LARGE))
    pair.lose_connection()
    await asyncio.sleep(0.1)
    assert "abort" not in pair.transport.calls


@pytest.mark.parametrize(
    ("more_frames", "code"),
    [((), 1007), ((PING,), 1007), ((CLOSE_REQUEST,), 1007), ((CLOSE,), 1000)],
)
async def test_frames_after_unreadable_data_are_ignored(
    pair: ConnectedPair, more_frames: tuple[Frame, ...], code: int
) -> None:
    await pair.send(INVALID_UTF8, *more_frames)
    assert (pair.close_code, pair.transport.calls) == (code, CLOSING_CALLS)
    assert [message["type"] for message in pair.received] == ["websocket.disconnect"]


async def test_shutdown_closes_with_1012_then_aborts(pair: ConnectedPair) -> None:
    pair.server.start_keepalive()
    pair.server.shutdown()
    await run_loop_iterations()
    assert (pair.close_code, pair.transport.calls) == (1012, CLOSING_CALLS)
    assert [message["code"] for message in pair.received] == [1012]
    assert pair.server.ping_timer is None
    await pair.send(CLOSE_REQUEST, PING)
    assert pair.transport.calls == CLOSING_CALLS
    await asyncio.sleep(1.2)
    assert pair.transport.calls == [*CLOSING_CALLS, "abort"]


@pytest.mark.parametrize(
    ("frame", "code", "calls"),
    [
        (CLOSE, 1000, {"write", "close"}),
        (CLOSE_REQUEST, 4400, {"write", "pause_reading", "resume_reading"}),
    ],
    ids=["closed by the client", "closed by the app"],
)
async def test_shutdown_waits_for_connection_that_is_closing(
    pair: ConnectedPair, frame: Frame, code: int, calls: set[str]
) -> None:
    """Its close frame may still be in a buffer, while the connection is open."""
    await pair.send(frame)
    before = list(pair.transport.calls)
    assert (pair.close_code, set(before)) == (code, calls)
    pair.server.shutdown()
    await run_loop_iterations()
    assert (pair.close_code, pair.transport.calls) == (code, before)
    await asyncio.sleep(1.2)
    assert pair.transport.calls == [*before, "abort"]


async def test_oversized_frame_cancels_close_timer(pair: ConnectedPair) -> None:
    await pair.send(CLOSE_REQUEST)
    close_timer = pair.server.close_timer
    assert close_timer is not None
    await pair.send(Frame(Opcode.TEXT, TOO_LARGE))
    assert close_timer.cancelled()
    assert pair.close_code == 4400
