"""Trailers and Host headers through the whole service, with sign-in by a proxy, on real sockets."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.db.core.database import Database
from app.http.connection_limits import ConnectionLimits
from app.settings import read_settings
from tests.board_browser import Browser
from tests.clients import app_lifespan, client_for
from tests.factories import add_account, add_api_key, add_post, add_workspace, published
from tests.http.protocol_server import RawServer, serve
from tests.http.test_trailers import DIVISIONS, segments

PROXY = "127.0.0.1"
USERS = """
[users."boss@example.com"]
workspace = "acme"
scopes = ["read", "write"]
"""
QUERY = json.dumps({"query": "{ viewer { scopes } }"})
NEW_POST = json.dumps({"content": "x", "draft": True})
REQUESTS = {
    "GraphQL": ("POST /graphql", QUERY, '"scopes":["READ","WRITE"'),
    "REST": ("POST /v1/posts", NEW_POST, '"post_status":"draft"'),
    "REST, read": ("GET /v1/me", "", '"workspace":'),
    "export": ("GET /v1/destinations.ndjson", "", '"status":"published"'),
}
"""Request line, body, and a part of the answer if the request is authenticated."""
BY_KEY_ONLY = ("REST", "REST, read")

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Service:
    """The service behind a trusted proxy, and the credentials of a person who may use it."""

    def __init__(self, server: RawServer, key: str, cookie: str) -> None:
        self._server = server
        self.credentials = {
            "user": "X-Forwarded-Email: boss@example.com",
            "key": f"Authorization: Bearer {key}",
            "session": f"Cookie: {cookie}",
        }

    async def answer_with_header(self, request: str, header: str) -> str:
        """Body of the response to one of REQUESTS with a header."""
        data = _request(request, headers=f"Connection: close\r\n{header}\r\n")
        return (await self.raw(data)).partition("\r\n\r\n")[2]

    async def answer_with_trailers(self, request: str, trailers: str, division: str) -> str:
        """Response to one of REQUESTS with trailers; the connection stays open, so that all are read."""
        data = _request(request, trailers=trailers)
        connection = await self._server.open(*segments(data.encode(), division))
        head, body = await connection.read_response()
        connection.close()
        return (head + body).decode()

    async def raw(self, data: str) -> str:
        """Response to any bytes, up to the end of the connection."""
        return (await (await self._server.open(data.encode())).response()).decode()


def _request(name: str, *, headers: str = "", trailers: str = "") -> str:
    line, body, _ = REQUESTS[name]
    chunk = f"{len(body):x}\r\n{body}\r\n" if body else ""
    return (
        f"{line} HTTP/1.1\r\nHost: test\r\nOrigin: http://test\r\nContent-Type: application/json\r\n"
        f"Transfer-Encoding: chunked\r\n{headers}\r\n{chunk}0\r\n{trailers}\r\n"
    )


@asynccontextmanager
async def open_service(database: Database, folder: Path) -> AsyncIterator[Service]:
    file = folder / "users.toml"
    file.write_text(USERS)
    workspace = await add_workspace(database, name="acme")
    key = await add_api_key(database, workspace)
    await add_post(database, workspace, {await add_account(database, workspace): published()})
    settings = read_settings(
        {
            "RATE_LIMIT": "off",
            "BOARD_PROXY_USER": "X-Forwarded-Email",
            "BOARD_PROXY_USERS": str(file),
            "TRUSTED_PROXIES": PROXY,
        }
    )
    limits = ConnectionLimits(max_total=100, max_per_address=None, trusted_proxies=[PROXY])
    async with app_lifespan(database, settings=settings) as app:
        async with client_for(app, token=None) as client:
            browser = Browser(client)
            await browser.sign_in(key.token)
        async with serve(limits, app, trusted_proxies=[PROXY]) as server:
            yield Service(server, key.token, browser.cookie)


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("credential", ["user", "key", "session"])
async def test_no_trailer_authenticates_a_request(
    database: Database, tmp_path: Path, credential: str, request_name: str
) -> None:
    async with open_service(database, tmp_path) as service:
        line = service.credentials[credential]
        as_header = await service.answer_with_header(request_name, line)
        hops = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nHost: x\r\n"
        as_trailers = [
            await service.answer_with_trailers(request_name, f"{line}\r\n{more}", division)
            for more, division in [*(("", each) for each in DIVISIONS), (hops, DIVISIONS[0])]
        ]

    if credential == "key" or request_name not in BY_KEY_ONLY:
        assert REQUESTS[request_name][2] in as_header
    for answer in as_trailers:
        assert answer.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "invalid_api_key" in answer.lower()


def error_of(body: str) -> Any:
    document = json.loads(body)
    return document["errors"][0]["extensions"] if "errors" in document else document["error"]


@pytest.mark.parametrize(
    ("path", "code"), [("/graphql", "VALIDATION_ERROR"), ("/v1/me", "validation_error")]
)
async def test_two_hosts_are_refused_in_the_form_of_the_api(
    database: Database, tmp_path: Path, path: str, code: str
) -> None:
    async with open_service(database, tmp_path) as service:
        hosts = "Host: test\r\nHost: evil.example.com\r\n"
        websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        answers = [
            await service.raw(f"GET {path} HTTP/1.1\r\n{hosts}{more}\r\n")
            for more in ("", f"{websocket}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
        ]
    for answer in answers:
        head, _, body = answer.partition("\r\n\r\n")
        lines = head.lower().split("\r\n")
        assert lines[0] == "http/1.1 400 bad request"
        assert {"connection: close", "x-ratelimit-limit: 1000000"} <= {*lines}
        assert error_of(body)["code"] == code
        assert "The request has 2 Host headers. Send exactly one." in body
