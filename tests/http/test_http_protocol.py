"""Limits of connections, behind a real server."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Message
from uvicorn.server import ServerState
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.domain.errors import ServiceUnavailable
from app.http.http_protocol import MAX_REFUSED_CONNECTIONS, ConnectionLimits, HttpProtocol
from app.http.request import HttpRequest
from app.http.responses import BytesResponse, Response
from app.http.websocket_protocol import WebSocketProtocol
from tests.http.asgi import CallRecorder, VirtualTimeLoop, build_application, responding

OK = BytesResponse(b"hello", 200, ())
TOTAL_MESSAGE = "Too many connections to this server are open. Try again in 5 s."
ADDRESS_MESSAGE = (
    "The limit of 2 open connections of one address is reached; close one of them first."
)


def limits(
    max_total: int = 100, max_per_address: int | None = None, *trusted_proxies: str
) -> ConnectionLimits:
    return ConnectionLimits(
        max_total=max_total, max_per_address=max_per_address, trusted_proxies=trusted_proxies
    )


async def echo_app(scope: Any, receive: Any, send: Any) -> None:
    """Accept WebSockets until they are closed; answer other requests."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
    else:
        await build_application(responding(OK), CallRecorder())(scope, receive, send)


class LimitedServer:
    """Server with limits of connections."""

    def __init__(self, port: int, stack: AsyncExitStack) -> None:
        self._port = port
        self._stack = stack

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/"

    async def open(
        self, source: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from an address, and wait until the server has accepted the connection."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(source, 0)
        )
        self._stack.callback(writer.close)
        return reader, writer

    async def status(self, path: str = "/", source: str = "127.0.0.1") -> int:
        """Status of a request on a new connection, which is closed then."""
        return int((await self.response(path, source)).split()[1])

    async def response(self, path: str = "/", source: str = "127.0.0.1") -> bytes:
        """Whole response to a request on a new connection, which is closed then."""
        reader, writer = await self.open(source)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        response = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return response

    async def hold(self, source: str = "127.0.0.1") -> asyncio.StreamWriter:
        """Connection that stays open after a response."""
        reader, writer = await self.open(source)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        return writer

    async def wait_for_status(self, status: int) -> None:
        """Wait until new connections get this status."""
        async with asyncio.timeout(10):
            while await self.status() != status:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serve(
    connection_limits: ConnectionLimits, app: ASGIApp = echo_app
) -> AsyncIterator[LimitedServer]:
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        config = uvicorn.Config(
            app,
            http=cast("Any", partial(HttpProtocol, connection_limits)),
            ws=WebSocketProtocol,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with AsyncExitStack() as connections:
                yield LimitedServer(listener.getsockname()[1], connections)
        finally:
            server.should_exit = True
            await serving


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
        reader, writer = await server.open()
        writer.write(b"GET /stalled HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.wait_for_status(200)  # of another connection, which is refused before

        with pytest.raises(ConnectionResetError):
            await reader.read()
    (stalled,) = [each for each in recorder.finished if each.request.path == "/stalled"]
    assert (stalled.status, stalled.request.error_codes) == (200, ("service_unavailable",))


async def test_connection_above_limit_gets_503_and_is_closed() -> None:
    async with serve(limits(1)) as server:
        held = await server.hold()
        reader, writer = await server.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
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
        for _, writer in refused:
            writer.close()


async def test_websocket_counts_until_it_is_lost() -> None:
    async with serve(limits(1)) as server:
        async with connect(server.websocket_url):
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

        try:
            response = await server.response()
        except ConnectionResetError:  # if the server was quicker than the request
            response = b""

    assert response == b""


def test_silent_refused_connection_is_closed_after_5_seconds() -> None:
    async def closing_states() -> list[bool]:
        connection_limits = limits(1)
        connection_limits.acquire(None)
        transport = IdleTransport()
        config = uvicorn.Config(echo_app, lifespan="off", log_config=None)
        options = {"config": config, "server_state": ServerState(), "app_state": {}}
        HttpProtocol(connection_limits, **options).connection_made(transport)
        states = []
        for seconds in (4.9, 0.2):
            await asyncio.sleep(seconds)
            states.append(transport.is_closing())
        return states

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(closing_states()) == [False, True]


class IdleTransport(asyncio.Transport):
    """Transport of a Unix socket whose client sends nothing."""

    _is_closing = False

    def abort(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing


def refusal(acquire: Callable[[str | None], object], address: str | None) -> str:
    with pytest.raises(ServiceUnavailable) as error:
        acquire(address)
    return error.value.message


@pytest.mark.parametrize(
    "addresses",
    [
        ["203.0.113.7"] * 3,
        ["203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7"],
        ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"],
    ],
)
def test_addresses_of_one_client_are_limited_together(addresses: Sequence[str]) -> None:
    connection_limits = limits(100, 2)
    first, _ = [connection_limits.acquire(address) for address in addresses[:2]]

    assert refusal(connection_limits.acquire, addresses[2]) == ADDRESS_MESSAGE
    first()
    connection_limits.acquire(addresses[2])


@pytest.mark.parametrize("address", ["10.0.0.7", "::1", None])
def test_trusted_proxies_and_unix_sockets_only_count_in_total(address: str | None) -> None:
    connection_limits = limits(5, 2, "10.0.0.0/8", "::1")
    for _ in range(5):
        connection_limits.acquire(address)

    assert refusal(connection_limits.acquire, address) == TOTAL_MESSAGE


@pytest.mark.parametrize("line", [b"X-Large: ", b"Cookie: a=b; c="])
async def test_headers_above_64_kib_are_refused_before_their_end(line: bytes) -> None:
    async with serve(limits()) as server:
        reader, writer = await server.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + line)
        chunk = 16 * 1024 * b"x"
        for _ in range(5):
            writer.write(chunk)
            await writer.drain()
        response = await asyncio.wait_for(reader.read(), 10)
    assert response.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert response.endswith(b"\r\n\r\nThe headers of a request must have at most 64 KiB.\n")


async def test_body_does_not_count_as_headers() -> None:
    async with serve(limits()) as server:
        reader, writer = await server.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        await writer.drain()
        writer.write(bytes(100_000))
        assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 200 OK\r\n"


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
        reader, writer = await server.open()
        opened: socket.socket = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reader.readline(), 10)
        cast("asyncio.ReadTransport", writer.transport).pause_reading()

        assert await asyncio.wait_for(sent, 10) < 1_000_000  # without the limit, four times as much
