"""The configurations of nginx and HAProxy in the guide: what reaches the server, and the client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from app.db.core.database import Database
from app.settings import read_settings
from tests.clients import app_lifespan
from tests.factories import add_account, add_api_key, add_post, add_workspace, published
from tests.http.protocol_server import RawConnection, RawServer, limits, serve
from tests.reverse_proxies import HOST, PROXIES, ReverseProxy, run_proxy

LOOPBACK = "127.0.0.1"
FORGED = (
    "X-Forwarded-For: 203.0.113.66\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example\r\n"
)
TRAILER = "X-Forwarded-Email: boss@example.com"

through_each_proxy = pytest.mark.parametrize("program", PROXIES)
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class EventApp:
    """Records requests, and answers with a stream whose second event waits for `is_first_read`."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.is_first_read = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.scopes.append(scope)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await self.is_first_read.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    def last_request(self) -> dict[str, Any]:
        """What the server knows of the last request."""
        scope = self.scopes[-1]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        return {"scheme": scope["scheme"], "client": scope["client"][0], "headers": headers}


@asynccontextmanager
async def proxied(program: str, app: Any) -> AsyncIterator[tuple[RawServer, ReverseProxy]]:
    """An app behind a proxy that it trusts."""
    async with (
        serve(limits(100, None, LOOPBACK), app, trusted_proxies=[LOOPBACK]) as server,
        run_proxy(program, server.port) as proxy,
    ):
        yield server, proxy


def expected_headers(program: str, proxy: ReverseProxy) -> dict[str, str]:
    headers = {
        "host": proxy.authority,
        "x-forwarded-for": LOOPBACK,
        "x-forwarded-proto": "https",
        "accept": "text/event-stream",
    }
    # nginx receives the whole body first.
    framing = {"content-length": "2"} if program == "nginx" else {"transfer-encoding": "chunked"}
    return {**headers, **framing}


@through_each_proxy
async def test_events_are_not_buffered_and_forwarded_headers_are_those_of_the_proxy(
    program: str,
) -> None:
    app = EventApp()
    async with proxied(program, app) as (_, proxy):
        client = await proxy.open()
        await client.send(
            f"POST / HTTP/1.1\r\nHost: {proxy.authority}\r\n{FORGED}Accept: text/event-stream\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n{TRAILER}\r\n\r\n".encode()
        )
        head = await _read_until(client, b"\r\n\r\n")
        await _read_until(client, b"data: 1\n\n")
        app.is_first_read.set()
        await _read_until(client, b"data: 2\n\n")
        client.close()
        expected = expected_headers(program, proxy)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert app.last_request() == {"scheme": "https", "client": LOOPBACK, "headers": expected}


async def test_haproxy_forwards_trailers_as_the_guide_says() -> None:
    async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"0\r\n"))
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    received: list[bytes] = []
    upstream = await asyncio.start_server(read_all, LOOPBACK)
    async with upstream, run_proxy("haproxy", upstream.sockets[0].getsockname()[1]) as proxy:
        client = await proxy.open()
        await client.send(
            f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
            f"2\r\nab\r\n0\r\n{TRAILER}\r\n\r\n".encode()
        )
        assert (await client.status_line()).startswith(b"HTTP/1.1 204 ")
        client.close()
    assert received[1].lower() == f"{TRAILER}\r\n\r\n".lower().encode()


@through_each_proxy
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/%6detrics"])
async def test_probes_are_not_public(program: str, path: str) -> None:
    app = EventApp()
    async with proxied(program, app) as (_, proxy):
        client = await proxy.open()
        await client.send(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert (await client.status_line()).startswith(b"HTTP/1.1 404 ")
        client.close()
    assert app.scopes == []


async def test_nginx_replaces_the_person_whom_a_client_names() -> None:
    async def sign_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nRemote-User: jane\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    app = EventApp()
    app.is_first_read.set()
    authelia = await asyncio.start_server(sign_in, LOOPBACK)
    async with authelia, serve(limits(100, None, LOOPBACK), app) as server:
        sign_in_port = authelia.sockets[0].getsockname()[1]
        async with run_proxy("nginx", server.port, sign_in_port) as proxy:
            client = await proxy.open()
            forged = "Remote-User: boss\r\nRemote-Groups: admins\r\n"
            await client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{forged}\r\n".encode())
            assert (await client.status_line()).startswith(b"HTTP/1.1 200 ")
            client.close()
    headers = app.scopes[0]["headers"]
    assert [value for name, value in headers if name.startswith(b"remote-")] == [b"jane"]


@on_sqlite
@through_each_proxy
async def test_board_and_subscriptions_work(database: Database, program: str) -> None:
    workspace = await add_workspace(database)
    key = (await add_api_key(database, workspace)).token
    await add_post(database, workspace, {await add_account(database, workspace): published()})
    settings = read_settings({"RATE_LIMIT": "off", "TRUSTED_PROXIES": LOOPBACK})
    async with app_lifespan(database, settings=settings) as app, proxied(program, app) as opened:
        _, proxy = opened
        origin = f"https://{proxy.authority}"
        client = await proxy.open()
        body = json.dumps({"key": key})
        sign_in = (
            "POST /board/session HTTP/1.1\r\nContent-Type: application/json\r\n"
            f"Host: {proxy.authority}\r\nContent-Length: {len(body)}\r\n"
        )
        await client.send(f"{sign_in}Origin: https://{HOST}\r\n\r\n{body}".encode())
        refused = await client.read_response()
        await client.send(f"{sign_in}Origin: {origin}\r\n\r\n{body}".encode())
        signed_in = await client.read_response()
        client.close()
        cookie = _header(signed_in[0], "set-cookie")
        async with connect(
            f"wss://{proxy.authority}/graphql",
            host=LOOPBACK,
            port=proxy.port,
            ssl=proxy.tls,
            server_hostname=HOST,
            origin=origin,  # type: ignore[arg-type]  # an NewType of str
            additional_headers={"Cookie": cookie.partition(";")[0]},
            subprotocols=[Subprotocol("graphql-transport-ws")],
        ) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv()) == {"type": "connection_ack"}
            query = {"query": "{ posts { nodes { status } } }"}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
            answer = json.loads(await socket.recv())

    assert refused[0].startswith(b"HTTP/1.1 403 ")
    assert json.loads(refused[1])["error"]["message"].startswith(
        f"This request comes from a page of https://{HOST}, but this server's own origin is {origin}."
    )
    assert signed_in[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert cookie.startswith("__Host-post-results-")
    assert cookie.endswith("; Secure")
    assert answer["payload"] == {"data": {"posts": {"nodes": [{"status": "PUBLISHED"}]}}}


async def _read_until(client: RawConnection, separator: bytes) -> bytes:
    return await asyncio.wait_for(client.reader.readuntil(separator), 30)


def _header(head: bytes, name: str) -> str:
    (value,) = [
        line.partition(":")[2].strip()
        for line in head.decode().split("\r\n")
        if line.lower().startswith(f"{name}:")
    ]
    return value
