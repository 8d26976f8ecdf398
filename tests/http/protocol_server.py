"""A real server with the HTTP protocol of the service, and clients that send bytes of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from app.http.connection_limits import ConnectionLimits
from app.http.http_protocol import HttpProtocol
from app.http.request import KEEP_OPEN
from app.http.responses import BytesResponse
from app.http.websocket_protocol import WebSocketProtocol
from tests.http.asgi import CallRecorder, build_application, responding

OK = BytesResponse(b"hello", 200, ())
NO_HEADERS_TIMEOUT = timedelta(hours=1)


def limits(
    max_total: int = 100, max_per_address: int | None = None, *trusted_proxies: str
) -> ConnectionLimits:
    return ConnectionLimits(
        max_total=max_total, max_per_address=max_per_address, trusted_proxies=trusted_proxies
    )


async def echo_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer requests, but of `/held` only the headers, and messages on WebSockets.

    A WebSocket is authenticated by its first message.
    """
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            scope["state"][KEEP_OPEN]()
            await send({"type": "websocket.send", "text": "authenticated"})
    elif scope["path"] == "/held":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
    else:
        await build_application(responding(OK), CallRecorder())(scope, receive, send)


class RawConnection:
    """A connection of a client that sends any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, *segments: bytes) -> None:
        """Send segments, each of which the server reads before it receives the next one."""
        for segment in segments:
            self._writer.write(segment)
            await self._writer.drain()
            for _ in range(4):  # the server runs in the same event loop
                await asyncio.sleep(0)

    async def response(self) -> bytes:
        """Everything that the server sends until it closes the connection; empty after a reset."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionResetError:
            return b""

    async def status_line(self) -> bytes:
        """First line of a response on a connection that stays open."""
        return await asyncio.wait_for(self.reader.readline(), 10)

    async def read_response(self) -> tuple[bytes, bytes]:
        """Head and body of a response that has a Content-Length."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-l")]
        return head, await self.reader.readexactly(int(length.partition(b":")[2]))

    def stop_reading(self) -> None:
        """Leave what the server sends in a small buffer of the kernel."""
        opened: socket.socket = self._writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        cast("asyncio.ReadTransport", self._writer.transport).pause_reading()

    def close(self) -> None:
        self._writer.close()


class RawServer:
    """Address of a server in this event loop."""

    def __init__(self, port: int, stack: AsyncExitStack) -> None:
        self.port = port
        self._stack = stack

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def open(self, *segments: bytes, source: str = "127.0.0.1") -> RawConnection:
        """Connect from an address, and send segments."""
        connection = RawConnection(
            *await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        )
        self._stack.callback(connection.close)
        await connection.send(b"", *segments)
        return connection

    async def response(self, path: str = "/", source: str = "127.0.0.1") -> bytes:
        """Whole response to a request on a new connection, which is closed then."""
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        connection = await self.open(request, source=source)
        response = await connection.response()
        connection.close()
        return response

    async def status(self, path: str = "/", source: str = "127.0.0.1") -> int:
        """Status of a request on a new connection, which is closed then."""
        return int((await self.response(path, source)).split()[1])

    async def hold(self, source: str = "127.0.0.1") -> RawConnection:
        """Connection with a running request."""
        connection = await self.open(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n", source=source)
        assert await connection.status_line() == b"HTTP/1.1 200 OK\r\n"
        return connection

    async def idle(self, source: str = "127.0.0.1") -> RawConnection:
        """Connection that stays open after a response."""
        connection = await self.open(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", source=source)
        assert (await connection.read_response())[1] == b"hello"
        return connection

    async def wait_for_status(self, status: int) -> None:
        """Wait until new connections get this status."""
        async with asyncio.timeout(10):
            while await self.status() != status:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serve(
    connection_limits: ConnectionLimits,
    app: ASGIApp = echo_app,
    headers_timeout: timedelta = NO_HEADERS_TIMEOUT,
    trusted_proxies: Sequence[str] = (),
) -> AsyncIterator[RawServer]:
    """Serve an app on a free port of loopback."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        config = uvicorn.Config(
            app,
            http=cast("Any", partial(HttpProtocol, connection_limits, headers_timeout)),
            ws=WebSocketProtocol,
            lifespan="off",
            log_config=None,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with AsyncExitStack() as connections:
                yield RawServer(listener.getsockname()[1], connections)
        finally:
            server.should_exit = True
            await serving
