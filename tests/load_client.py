"""Client of load tests: HTTP requests, GraphQL operations and WebSockets, each on a connection of its own."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.subscriptions.subscriber_connections import PROTOCOL

CLAIM_DESTINATIONS = (
    "mutation($input: ClaimDestinationsInput!)"
    " { claimDestinations(input: $input) { claims { leaseToken } } }"
)
START_ATTEMPT = "mutation($input: StartAttemptInput!) { startAttempt(input: $input) { receipt } }"
REPORT_PUBLISHED = (
    "mutation($input: ReportPublishedInput!) { reportPublished(input: $input) { receipt } }"
)


class RequestFailed(Exception):
    """A response with another status than 200, or with errors."""

    def __init__(self, status: str, *details: object) -> None:
        super().__init__(status, *details)
        self.status = status
        """Status code of HTTP, or the code of the first GraphQL error."""


class HttpConnection:
    """Keep-alive connection that sends one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, head: str, body: bytes = b"") -> bytes:
        """Send a request line with headers and a body; return the body of a 200, or raise RequestFailed."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(f"{head}\r\nHost: load\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        response = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"\r\ncontent-length: (\d+)\r", response)
        assert length is not None, response
        content = await reader.readexactly(int(length[1]))
        _, status, _ = response.split(" ", 2)
        if status != "200":
            raise RequestFailed(status, response, content)
        return content

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def execute(
    connection: HttpConnection, token: str, document: str, variables: Mapping[str, object]
) -> dict[str, Any]:
    """Return the data of a GraphQL response; raises RequestFailed if it has errors."""
    body = json.dumps({"query": document, "variables": variables}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}"
    )
    response = json.loads(await connection.request(head, body))
    if "errors" in response:
        raise RequestFailed(response["errors"][0]["extensions"]["code"], response)
    data: dict[str, Any] = response["data"]
    return data


async def publish_one(
    execute_operation: Callable[[str, Mapping[str, object]], Awaitable[dict[str, Any]]],
) -> None:
    """Claim a due destination and report it as published; the function runs a document with variables."""
    claimed = await execute_operation(
        CLAIM_DESTINATIONS, {"input": {"limit": 1, "leaseSeconds": 60}}
    )
    lease = {"leaseToken": claimed["claimDestinations"]["claims"][0]["leaseToken"]}
    await execute_operation(START_ATTEMPT, {"input": lease})
    await execute_operation(REPORT_PUBLISHED, {"input": {**lease, "platformPostId": "1"}})


async def check_liveness(url: str) -> None:
    """Request `/livez` on a new connection, as probes do; raises RequestFailed."""
    connection = HttpConnection(url)
    await connection.request("GET /livez HTTP/1.1")
    connection.close()


@asynccontextmanager
async def open_graphql_socket(
    url: str, token: str, **options: Any
) -> AsyncIterator[ClientConnection]:
    """Open an authenticated WebSocket of the GraphQL endpoint; `options` are those of `connect`."""
    socket_url = f"{url.replace('http', 'ws', 1)}/graphql"
    async with connect(socket_url, subprotocols=[Subprotocol(PROTOCOL)], **options) as socket:
        payload = {"Authorization": f"Bearer {token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        answer = json.loads(await socket.recv())
        if answer["type"] != "connection_ack":
            raise RequestFailed(answer["type"], answer)
        yield socket
