"""TCP servers on loopback with scripted behaviour, and requests to them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import TypeAlias

import httpcore2
import pytest

from app.domain.outbound_rules import OutboundRules
from app.outbound.client import OutboundClient, OutboundRequest
from app.outbound.errors import OutboundError

LOCAL_RULES = OutboundRules(allow_http=True, allowed_networks=(ip_network("127.0.0.0/8"),))
SHORT_TIMEOUT = timedelta(seconds=0.2)
LONG_TIMEOUT = timedelta(seconds=30)
OK_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

ConnectionHandler: TypeAlias = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]
]


class LocalServer:
    """Server that counts its connections; each is closed after `handle` returns."""

    port: int

    def __init__(self, handle: ConnectionHandler) -> None:
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has closed the connection, or the test ends
        except RuntimeError:  # of uvloop, for a write after the client has closed the connection
            if not writer.is_closing():
                raise
        finally:
            writer.close()

    async def wait_for_open_connections(self, number: int) -> None:
        """Wait until this number of connections is open."""
        async with asyncio.timeout(10):
            while sum(not task.done() for task in self._tasks) != number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def wait_for_end_of_connections(self) -> None:
        """Wait until the client has closed all connections."""
        async with asyncio.timeout(10):
            await asyncio.gather(*self._tasks)

    async def close_connections(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def local_server(
    handle: ConnectionHandler, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[LocalServer]:
    server = LocalServer(handle)
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0, ssl=ssl_context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.close_connections()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read a request with its body; raises IncompleteReadError at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, length = head.lower().partition(b"content-length: ")
    return head + (await reader.readexactly(int(length.split()[0])) if found else b"")


def responding(*responses: bytes, requests: list[bytes] | None = None) -> ConnectionHandler:
    """Return a handler that answers each request of a connection with the next response."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses:
            request = await read_request(reader)
            if requests is not None:
                requests.append(request)
            writer.write(response)
            await writer.drain()

    return handle


async def never_respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def resolving(*addresses: str) -> Callable[[str], Awaitable[Sequence[str]]]:
    """Return a resolver with the same addresses for every name."""

    async def resolve(host: str) -> Sequence[str]:
        return addresses

    return resolve


def post(url: str, *, timeout: timedelta = LONG_TIMEOUT, max_bytes: int = 1000) -> OutboundRequest:
    return OutboundRequest(
        method="POST",
        url=url,
        headers={"Content-Type": "application/json"},
        body=b"{}",
        timeout=timeout,
        max_response_bytes=max_bytes,
    )


async def failed_send(client: OutboundClient, request: OutboundRequest) -> OutboundError:
    """Send a request; return the error that it must have."""
    with pytest.raises(OutboundError) as caught:
        await client.send(request)
    return caught.value


class ScriptedStream(httpcore2.AsyncNetworkStream):
    """Connection that records writes, and returns or raises the next of its `reads`."""

    def __init__(self, *reads: bytes | Exception, write_error: Exception | None = None) -> None:
        self._reads = list(reads)
        self._write_error = write_error
        self.writes: list[bytes] = []

    async def dial(self, address: str, port: int, seconds: float | None) -> "ScriptedStream":
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        result = self._reads.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.writes.append(buffer)
        if self._write_error is not None:
            raise self._write_error

    async def aclose(self) -> None:
        pass
