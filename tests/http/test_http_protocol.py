"""Limits of connections and headers, and trailers, behind a real server."""

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
import uvicorn
from starlette.types import ASGIApp, Message
from uvicorn.server import ServerState
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.domain.errors import ServiceUnavailable, TooManyConnections
from app.domain.ids import ApiKeyId
from app.http.connection_limits import (
    MAX_REFUSED_CONNECTIONS,
    ConnectionLimits,
    ConnectionState,
)
from app.http.http_protocol import HttpProtocol
from app.http.request import ABORT, HttpRequest
from app.http.responses import BytesResponse, Response
from app.http.websocket_protocol import WebSocketProtocol
from tests.http.asgi import CallRecorder, VirtualTimeLoop, build_application, responding
from tests.http.protocol_server import NO_HEADERS_TIMEOUT, OK, echo_app, limits, serve
from tests.http.test_connection_limits import ADDRESS_MESSAGE, TOTAL_MESSAGE


async def abort_stalled_response(request: HttpRequest) -> Response:
    """Send without an end until the client does not read any more."""
    await request.send({"type": "http.response.start", "status": 200})
    body: Message = {"type": "http.response.body", "body": bytes(100_000), "more_body": True}
    try:
        while True:
            async with asyncio.timeout(0.1):
                await request.send(body)
    except TimeoutError:
        request.abort()
        raise ServiceUnavailable("The client does not read.") from None


async def test_aborted_response_closes_connection_of_client_that_does_not_read() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        is_first = scope["path"] == "/stalled"
        handle = abort_stalled_response if is_first else responding(OK)
        await build_application(handle, recorder)(scope, receive, send)

    recorder = CallRecorder()
    async with serve(limits(1), app) as server:
        stalled = await server.open(b"GET /stalled HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.wait_for_status(200)  # of another connection, which is refused before

        with pytest.raises(ConnectionResetError):
            await stalled.reader.read()
    (finished,) = [each for each in recorder.finished if each.request.path == "/stalled"]
    assert (finished.status, finished.request.error_codes) == (200, ("service_unavailable",))


async def test_response_of_a_lost_connection_can_be_aborted() -> None:
    async def app(scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await asyncio.sleep(0.01)  # until the socket is closed
        scope["state"][ABORT]()
        aborted.set()

    aborted = asyncio.Event()
    async with serve(limits(), app) as server:
        client = await server.open(HEAD)
        client.close()
        await asyncio.wait_for(aborted.wait(), 5)


async def test_connection_above_limit_gets_503_and_is_closed() -> None:
    async with serve(limits(1)) as server:
        held = await server.hold()
        refused = await server.open(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await refused.response()).partition(b"\r\n\r\n")
        held.close()

    status_line, *headers = head.split(b"\r\n")
    assert status_line == b"HTTP/1.1 503 Service Unavailable"
    assert {b"retry-after: 5", b"connection: close"} <= {*headers}
    assert TOTAL_MESSAGE.encode() in body


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_answered_above_limit(path: str) -> None:
    async with serve(limits(1)) as server:
        await server.hold()

        assert [await server.status("/"), await server.status(path)] == [503, 200]


async def test_lost_connection_frees_its_slot() -> None:
    async with serve(limits(2)) as server:
        held = [await server.hold() for _ in range(2)]
        assert await server.status() == 503

        held[0].close()

        await server.wait_for_status(200)


async def test_refused_connections_take_no_slot() -> None:
    async with serve(limits(1)) as server:
        held = await server.hold()
        refused = [await server.open() for _ in range(20)]
        assert await server.status() == 503

        held.close()

        await server.wait_for_status(200)
        for connection in refused:
            connection.close()


async def test_websocket_counts_until_it_is_lost() -> None:
    async with serve(limits(1)) as server:
        async with connect(server.websocket_url) as socket:
            await socket.send("authenticate")
            assert await socket.recv() == "authenticated"
            assert await server.status() == 503

        await server.wait_for_status(200)


async def test_websocket_above_limit_gets_http_503() -> None:
    async with serve(limits(1)) as server:
        await server.hold()

        with pytest.raises(InvalidStatus) as refused:
            async with connect(server.websocket_url):
                pass

    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "5"


async def test_limit_per_address_leaves_other_addresses() -> None:
    async with serve(limits(100, 2)) as server:
        for _ in range(2):
            await server.hold()

        response = await server.response()
        assert await server.status(source="127.0.0.2") == 200

    assert response.startswith(b"HTTP/1.1 503 ")
    assert ADDRESS_MESSAGE.encode() in response


async def test_too_many_refused_connections_are_closed_without_response() -> None:
    async with serve(limits(1)) as server:
        await server.hold()
        for _ in range(MAX_REFUSED_CONNECTIONS):
            await server.open()

        assert await server.response() == b""


def test_silent_refused_connection_is_closed_after_5_seconds() -> None:
    async def closing_states() -> list[bool]:
        connection_limits = limits(1)
        connection_limits.acquire(None, lambda: None).change_state(ConnectionState.BUSY)
        transport = RecordingTransport()
        open_protocol(connection_limits, NO_HEADERS_TIMEOUT, transport)
        states = []
        for seconds in (4.9, 0.2):
            await asyncio.sleep(seconds)
            states.append(transport.is_closing())
        return states

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(closing_states()) == [False, True]


@pytest.mark.parametrize("line", [b"X-Large: ", b"Cookie: a=b; c="])
async def test_headers_above_64_kib_are_refused_before_their_end(line: bytes) -> None:
    async with serve(limits()) as server:
        connection = await server.open(b"GET / HTTP/1.1\r\nHost: x\r\n" + line)
        await connection.send(*[16 * 1024 * b"x"] * 5)
        response = await connection.response()
    assert response.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert response.endswith(b"\r\n\r\nThe headers of a request must have at most 64 KiB.\n")


async def test_body_does_not_count_as_headers() -> None:
    async with serve(limits()) as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        connection = await server.open(head, bytes(100_000))
        assert await connection.status_line() == b"HTTP/1.1 200 OK\r\n"


async def test_websocket_handshake_with_a_long_header_is_answered() -> None:
    async with serve(limits()) as server:
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(server.websocket_url, additional_headers={"X-Long": "x" * 9_000}):
                pass
    assert refusal.value.response.status_code == 431


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have other buffers")
async def test_few_bytes_wait_in_the_kernel_for_a_client_that_does_not_read() -> None:
    sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        part = {"type": "http.response.body", "body": bytes(16_384), "more_body": True}
        count = 0
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    await send(part)
                count += 1
        sent.set_result(count * 16_384)

    async with serve(limits(), app) as server:
        client = await server.open()
        client.stop_reading()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        assert await asyncio.wait_for(sent, 10) < 1_000_000  # without the limit, four times as much


@pytest.mark.parametrize("segments", [1, 2])
async def test_handshake_behind_a_running_request_is_answered_without_an_upgrade(
    segments: int,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await may_respond.wait()
        await echo_app({**scope, "path": "/"}, receive, send)

    may_respond = asyncio.Event()
    async with serve(limits(), app) as server:
        requests = [SLOW, WEBSOCKET_HANDSHAKE]
        client = await server.open(*(requests if segments == 2 else [b"".join(requests)]))
        may_respond.set()
        responses = [await client.read_response() for _ in requests]

    status_lines = [head.partition(b"\r\n")[0] for head, _ in responses]
    assert status_lines == [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK"]


async def stream_app(scope: Any, receive: Any, send: Any) -> None:
    """Send a body without Content-Length, or for `/incomplete` only its first part."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one\n", "more_body": True})
    if scope["path"] == "/incomplete":
        scope["state"][ABORT]()
    else:
        await send({"type": "http.response.body", "body": b"two\n"})


async def test_stream_to_a_client_of_http_1_0_is_not_chunked_and_ends_with_the_connection() -> None:
    async with serve(limits(), stream_app) as server:
        client = await server.open(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await client.response()).partition(b"\r\n\r\n")
    assert (b"transfer-encoding" in head.lower(), body) == (False, b"one\ntwo\n")


async def test_incomplete_stream_to_a_client_of_http_1_0_is_reset() -> None:
    async with serve(limits(), stream_app) as server:
        client = await server.open(b"GET /incomplete HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


async def test_response_with_a_length_to_a_client_of_http_1_0_is_complete() -> None:
    async with serve(limits()) as server:
        client = await server.open(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await client.response()).partition(b"\r\n\r\n")
    assert b"content-length: 5" in head.split(b"\r\n")
    assert body == b"hello"


# Connections that are closed for new ones


async def test_connections_without_a_whole_request_do_not_keep_others_out() -> None:
    async with serve(limits(3)) as server:
        chunked = b"POST /held HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        silent = await server.open()
        half_head = await server.open(b"GET / HTTP/1.1\r\nHost:")
        half_body = await server.open(chunked)
        held = [await server.hold() for _ in range(3)]

        assert [await each.response() for each in (silent, half_head)] == [b"", b""]
        assert (await half_body.response()).endswith(b"\r\n\r\n")  # the head, without an end
        assert await server.status() == 503
        assert not any(each.reader.at_eof() for each in held)


async def test_idle_connections_do_not_keep_others_out() -> None:
    async with serve(limits(2)) as server:
        first = await server.idle()
        second = await server.idle()
        await second.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await second.read_response()
        held = await server.hold()

        assert await first.response() == b""
        await server.hold()
        assert await second.response() == b""
        assert await server.status() == 503
        assert not held.reader.at_eof()


async def test_connection_whose_client_receives_a_response_is_not_closed_for_others() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/large":
            await echo_app(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % LARGE)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(LARGE)})

    async with serve(limits(1), app) as server:
        receiving = await server.open(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await server.status() == 503
        assert len((await receiving.read_response())[1]) == LARGE
        await server.wait_for_status(200)
        assert await receiving.response() == b""


@pytest.mark.parametrize(("key_id", "status"), [(None, 200), (ApiKeyId(UUID(int=1)), 503)])
async def test_connection_of_a_large_response_is_closed_for_others_unless_its_client_has_a_key(
    key_id: ApiKeyId | None, status: int
) -> None:
    async def respond(request: HttpRequest) -> Response:
        if request.path != "/large":
            return OK
        request.api_key_id = key_id
        return BytesResponse(bytes(LARGE), 200, ())

    async with serve(limits(1), build_application(respond, CallRecorder())) as server:
        slow = await server.open()
        slow.stop_reading()
        await slow.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.2)
        assert await server.status() == status
        slow.close()


async def test_request_on_an_idle_connection_protects_it() -> None:
    async with serve(limits(2)) as server:
        connection = await server.idle()
        await connection.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.hold()

        assert await server.status() == 503
        assert await connection.status_line() == b"HTTP/1.1 200 OK\r\n"


async def test_websocket_may_be_closed_for_others_until_it_is_authenticated() -> None:
    async with serve(limits(2)) as server:
        silent = await server.open(WEBSOCKET_HANDSHAKE)
        assert await silent.status_line() == b"HTTP/1.1 101 Switching Protocols\r\n"
        async with connect(server.websocket_url) as socket:
            await socket.send("authenticate")
            assert await socket.recv() == "authenticated"
            await server.hold()

            assert (await silent.response()).endswith(b"\r\n\r\n")  # the head, without a frame
            assert await server.status() == 503


async def test_half_sent_requests_of_one_address_do_not_keep_it_out() -> None:
    async with serve(limits(100, 2)) as server:
        half = [await server.open(b"GET / HT") for _ in range(2)]
        other = await server.open(b"GET / HT", source="127.0.0.2")
        assert await server.status() == 200

        assert await half[0].response() == b""
        await other.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        assert await other.status_line() == b"HTTP/1.1 200 OK\r\n"


# The time limit of headers

LARGE = 32 * 1024 * 1024
"""Bytes of a response that no buffer of the operating system takes whole."""
WEBSOCKET_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
LONG = b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n"
READ_UPLOAD = UPLOAD.replace(b"/ ", b"/upload ", 1)
HEADERS_TIMEOUT = timedelta(seconds=10)
KEEP_ALIVE_SECONDS = 130
SLOW_SECONDS = 20
LONG_SECONDS = 200


async def timed_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer `/upload` after its body, `/slow` after 20 s, `/long` after 200 s, and others immediately."""
    if scope["type"] == "websocket":
        await echo_app(scope, receive, send)
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW_SECONDS)
    if scope["path"] == "/long":
        await asyncio.sleep(LONG_SECONDS)
    while scope["path"] == "/upload" and (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


class RecordingTransport(asyncio.Transport):
    """Transport of a Unix socket that records what is written, and when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed_at: float | None = None
        self.is_aborted = False
        self.max_buffered_bytes: int | None = None
        self.written: list[bytes] = []
        self._protocol: asyncio.BaseProtocol | None = None

    def write(self, data: Any) -> None:
        if not self.is_closing():
            self.written.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = True
        self.close()

    def close(self) -> None:
        if self.closed_at is None:
            self.closed_at = asyncio.get_running_loop().time()

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert low is None
        self.max_buffered_bytes = high

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol


class FullTransport(RecordingTransport):
    """Transport whose buffer is full after each write."""

    def write(self, data: Any) -> None:
        super().write(data)
        cast("asyncio.Protocol", self.get_protocol()).pause_writing()


def open_protocol(
    connection_limits: ConnectionLimits,
    headers_timeout: timedelta,
    transport: RecordingTransport,
    app: ASGIApp = timed_app,
) -> HttpProtocol:
    """Create the protocol of a connection."""
    config = uvicorn.Config(
        app,
        ws=WebSocketProtocol,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    options = {"config": config, "server_state": ServerState(), "app_state": {}}
    protocol = HttpProtocol(connection_limits, headers_timeout, **options)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return protocol


def closing_time(*reads: tuple[float, bytes]) -> tuple[float | None, int]:
    """Seconds until a connection is closed, and the number of responses, for data at some seconds."""

    async def run() -> tuple[float | None, int]:
        transport = RecordingTransport()
        open_protocol(limits(), HEADERS_TIMEOUT, transport)
        loop = asyncio.get_running_loop()
        for seconds, data in reads:
            await asyncio.sleep(seconds - loop.time())
            protocol = transport.get_protocol()
            if not transport.is_closing():
                assert isinstance(protocol, asyncio.Protocol)
                protocol.data_received(data)
        await asyncio.sleep(1000)
        written = b"".join(transport.written)
        closed_at = transport.closed_at
        cast("Any", transport.get_protocol()).connection_lost(None)
        await asyncio.sleep(1)
        return closed_at, written.count(b"HTTP/1.1 ")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


def byte_by_byte(data: bytes, start: float = 0) -> list[tuple[float, bytes]]:
    """One byte per second."""
    return [(start + second, data[second : second + 1]) for second in range(len(data))]


@pytest.mark.parametrize(
    ("reads", "closed_at", "responses"),
    [
        pytest.param([], 10, 0, id="silent"),
        pytest.param([(9, b"G")], 19, 0, id="late first byte"),
        pytest.param(byte_by_byte(HEAD), 10, 0, id="slow head"),
        pytest.param(byte_by_byte(b"\r\n" * 100), 10, 0, id="empty lines"),
        pytest.param([(0, HEAD)], 130, 1, id="idle after a response"),
        pytest.param([(0, HEAD[:9]), (9, HEAD[9:])], 139, 1, id="head in time"),
        pytest.param([(0, HEAD), *byte_by_byte(HEAD, 100)], 110, 1, id="slow second head"),
        pytest.param([(0, HEAD), (100, b"\r\n")], 110, 1, id="empty line after a response"),
        pytest.param([(0, HEAD + HEAD[:5])], 10, 1, id="half a head behind a request"),
        pytest.param([(0, SLOW + HEAD[:5])], 30, 1, id="half a head during a request"),
        pytest.param([(0, SLOW), (100, HEAD)], 230, 2, id="two requests"),
        pytest.param([(0, SLOW + HEAD)], 150, 2, id="pipelined requests"),
        pytest.param([(0, SLOW + 20 * HEAD)], 150, 21, id="20 pipelined requests"),
        pytest.param([(0, SLOW + 9_000 * HEAD)], 0, 1, id="too many pipelined requests"),
        pytest.param([(0, READ_UPLOAD), (60, b"a"), (90, b"b")], 220, 1, id="slow body"),
        pytest.param([(0, UPLOAD), (5, b"a")], 10, 1, id="half a body behind its response"),
        pytest.param([(0, UPLOAD), (5, b"ab")], 135, 1, id="a body behind its response"),
        pytest.param(
            [(0, UPLOAD), (5, b"ab" + HEAD[:5])], 10, 1, id="half a head behind a late body"
        ),
        pytest.param(
            [(0, UPLOAD), (5, b"ab" + LONG)], 335, 2, id="long request behind a late body"
        ),
        pytest.param([(0, UPLOAD), (5, b"ab" + WEBSOCKET_HANDSHAKE)], None, 2, id="late handshake"),
        pytest.param([(0, UPLOAD), (5, b"ab" + HEAD)], 135, 2, id="request behind a late body"),
        pytest.param([(0, WEBSOCKET_HANDSHAKE)], None, 1, id="handshake"),
        pytest.param(byte_by_byte(WEBSOCKET_HANDSHAKE), 10, 0, id="slow handshake"),
        pytest.param([(0, b"\x00" + 70_000 * b"x")], 0, 1, id="invalid head above 64 KiB"),
        pytest.param(
            [(0, WEBSOCKET_HANDSHAKE[:50]), (9, WEBSOCKET_HANDSHAKE[50:])],
            None,
            1,
            id="handshake in two pieces",
        ),
        pytest.param(
            [(0, HEAD), (50, WEBSOCKET_HANDSHAKE[:-2])], 60, 1, id="half handshake after a request"
        ),
    ],
)
def test_headers_must_be_complete_10_seconds_after_their_first_byte(
    reads: list[tuple[float, bytes]], closed_at: float | None, responses: int
) -> None:
    assert closing_time(*reads) == (closed_at, responses)


def test_response_that_ends_a_connection_is_not_aborted_while_it_is_sent() -> None:
    async def run() -> tuple[float | None, bool]:
        transport = RecordingTransport()
        protocol = open_protocol(limits(), HEADERS_TIMEOUT, transport)
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(1000)
        return transport.closed_at, transport.is_aborted

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run()) == (0, False)


async def test_running_request_is_notified_of_the_disconnect_of_a_client_that_pipelines() -> None:
    async def app(scope: Any, receive: Any, _send: Any) -> None:
        received.append((scope["path"], [(await receive())["type"] for _ in range(2)]))

    received: list[tuple[str, list[str]]] = []
    protocol = open_protocol(limits(), HEADERS_TIMEOUT, RecordingTransport(), app)
    protocol.data_received(SLOW + HEAD)
    await asyncio.sleep(0)
    protocol.connection_lost(None)
    await asyncio.sleep(0.01)
    assert received == [("/slow", ["http.request", "http.disconnect"])]


async def test_few_bytes_wait_in_the_connection_for_a_client_that_does_not_read() -> None:
    transport = RecordingTransport()
    open_protocol(limits(), HEADERS_TIMEOUT, transport)
    assert transport.max_buffered_bytes == 16 * 1024


async def test_connection_is_idle_once_its_client_has_read_the_response() -> None:
    connection_limits, transport = limits(1), FullTransport()
    protocol = open_protocol(connection_limits, HEADERS_TIMEOUT, transport)
    protocol.data_received(HEAD)
    await asyncio.sleep(0.01)
    protocol.resume_writing()  # the body follows the headers
    await asyncio.sleep(0.01)
    with pytest.raises(TooManyConnections):
        connection_limits.acquire(None, lambda: None)
    protocol.resume_writing()
    connection_limits.acquire(None, lambda: None)
    assert transport.is_aborted


@pytest.mark.parametrize(
    "reads",
    [[b"\x00"], [HEAD + b"\x00"], [HEAD + HEAD[:-2], b"X-Large: ", 70_000 * b"x"]],
    ids=["invalid request", "invalid request behind another one", "large headers behind a request"],
)
async def test_error_of_a_later_request_is_not_written_into_a_response(reads: list[bytes]) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    transport = RecordingTransport()
    protocol = open_protocol(limits(), HEADERS_TIMEOUT, transport, app)
    protocol.data_received(HEAD)
    await asyncio.sleep(0.01)
    for data in reads:
        protocol.data_received(data)
    assert (len(transport.written), transport.is_aborted) == (1, True)


def test_response_is_not_aborted_while_it_is_sent_after_a_late_body() -> None:
    async def run() -> bool:
        transport = FullTransport()
        protocol = open_protocol(limits(), HEADERS_TIMEOUT, transport)
        protocol.data_received(UPLOAD)
        await asyncio.sleep(1)
        protocol.resume_writing()  # the body follows the headers
        await asyncio.sleep(1)
        protocol.data_received(b"ab")
        await asyncio.sleep(60)
        return transport.is_aborted

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert not runner.run(run())


def test_shutdown_waits_half_a_second_for_the_request_of_a_new_connection() -> None:
    async def run() -> float | None:
        transport = RecordingTransport()
        protocol = open_protocol(limits(), HEADERS_TIMEOUT, transport)
        await asyncio.sleep(5)
        protocol.shutdown()
        await asyncio.sleep(1)
        return transport.closed_at

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run()) == 5.5


async def test_real_connection_is_closed_without_a_response() -> None:
    async with serve(limits(), headers_timeout=timedelta(milliseconds=50)) as server:
        silent = await server.open()
        half = await server.open(b"GET / HTTP/1.1\r\n")
        assert [await each.response() for each in (silent, half)] == [b"", b""]
        assert await server.status() == 200
