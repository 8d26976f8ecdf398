"""A receiver of webhooks on loopback, whose responses a test chooses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import chain, repeat
from typing import TypeAlias

import orjson

from app.domain.outbound_rules import OutboundRules

LOOPBACK_SETTINGS = {"OUTBOUND_ALLOW_HTTP": "yes", "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8"}
"""Settings of a process that may send requests to the receiver."""
LOOPBACK_RULES = OutboundRules(allow_http=True, allowed_networks=(ip_network("127.0.0.0/8"),))


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    path: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def number(self) -> int:
        """Number in the body of a delivery that `add_deliveries` added."""
        number: int = orjson.loads(self.body)["number"]
        return number


@dataclass(frozen=True, slots=True)
class ReceiverResponse:
    status: int
    body: str = ""
    headers: Sequence[str] = ()
    """Lines of the head, with name and value."""

    def encode(self) -> bytes:
        body = self.body.encode()
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Length: {len(body)}", *self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + body


Respond: TypeAlias = Callable[[ReceivedRequest], ReceiverResponse | None]
"""Function that returns the response to a request, or None to leave it without one."""


def respond_in_turn(*responses: ReceiverResponse | int) -> Respond:
    """Give each request the next response, and then the last one; a number is a status without a body."""
    remaining = chain(responses, repeat(responses[-1]))

    def respond(_request: ReceivedRequest) -> ReceiverResponse:
        response = next(remaining)
        return ReceiverResponse(response) if isinstance(response, int) else response

    return respond


class WebhookReceiver:
    """HTTP server that records requests to all paths, and answers each with what `respond` returns."""

    def __init__(self, *responses: ReceiverResponse | int) -> None:
        """Create a receiver that gives these responses in turn, by default 204 to all requests."""
        self.respond = respond_in_turn(*(responses or (204,)))
        self.may_respond = asyncio.Event()
        """Cleared by a test to delay all responses."""
        self.may_respond.set()
        self.received: list[ReceivedRequest] = []
        self.port = 0
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["WebhookReceiver"]:
        """Listen on a free port inside the context."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            while True:
                request = await _read_request(reader)
                self.received.append(request)
                response = self.respond(request)
                await self.may_respond.wait()
                if response is None:
                    await reader.read()  # until the client closes the connection
                    return
                writer.write(response.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has closed the connection, or the receiver stops
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> ReceivedRequest:
    request_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    pairs = (line.split(": ", 1) for line in lines if line)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return ReceivedRequest(request_line.split()[1], headers, body)
