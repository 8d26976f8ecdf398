"""A tenant whose key may read and change webhooks, and a receiver of their requests on this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.db.core.database import Database
from app.domain.api_keys import DEFAULT_SCOPES, Scope
from app.services.secret_cipher import new_secrets_key
from app.settings import read_settings
from tests.clients import Tenant, app_client
from tests.factories import add_api_key, add_workspace

SECRETS_KEY = new_secrets_key()
SETTINGS = {
    "RATE_LIMIT": "off",
    "SECRETS_KEY": SECRETS_KEY,
    "OUTBOUND_ALLOW_HTTP": "yes",
    "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
}


@asynccontextmanager
async def open_webhook_tenant(database: Database, **settings: str) -> AsyncIterator[Tenant]:
    """Open an empty workspace with a key of the scope admin, in a service that delivers nothing itself."""
    workspace = await add_workspace(database)
    key = await add_api_key(database, workspace, scopes=(*DEFAULT_SCOPES, Scope.ADMIN))
    chosen = read_settings({**SETTINGS, **settings})
    async with app_client(database, token=key.token, settings=chosen) as client:
        yield Tenant(database, workspace, client)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A server that gives every request the same response, and closes the connection."""

    url: str
    response: bytes
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers, by their names in lower case, and body of each request."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        lines = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((headers, body))
        writer.write(self.response)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def open_receiver(response: bytes) -> AsyncIterator[Receiver]:
    """Open a receiver on a free port, with the bytes of its response."""
    connections: list[Receiver] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connections[0].serve(reader, writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        receiver = Receiver(f"http://127.0.0.1:{port}/hook", response)
        connections.append(receiver)
        yield receiver


def http_response(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a response, such as that of `204 No Content`."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
