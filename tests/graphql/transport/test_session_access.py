"""Requests by a session cookie over each transport, and the end of a session on an open WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette

from app.domain.api_keys import Scope
from app.settings import read_settings
from tests.board_browser import Browser
from tests.clients import Tenant, app_client, app_lifespan, client_for
from tests.factories import NOW, add_account, add_api_key, add_post, published
from tests.graphql.live_tenant import LiveTenant
from tests.graphql.transport.websocket_client import WebSocketClient, connect

SESSION_ENDED = "The session has ended. Sign in again."
OTHER = {"Origin": "http://other.example"}
QUERY = {"query": "{ viewer { scopes } }"}


@pytest.fixture
async def browser(acme: Tenant) -> Browser:
    """A signed-in browser."""
    browser = Browser(acme.client)
    await browser.sign_in((await add_api_key(acme.database, acme.workspace)).token)
    return browser


async def status_of(browser: Browser, method: str, path: str, **options: Any) -> int:
    return (await browser.request(method, path, **options)).status_code


async def test_answers_by_session_are_not_stored_by_caches(browser: Browser) -> None:
    for method, path, options in (
        ("POST", "/graphql", {"json": QUERY}),
        ("GET", "/v1/destinations.csv", {}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Accept": "text/event-stream"}}),
        ("DELETE", "/board/session", {}),
    ):
        response = await browser.request(method, path, **options)
        assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/graphql?query={__typename}", {}),
        (
            "GET",
            "/graphql?query={__typename}",
            {"headers": {"Content-Type": "application/json"}},
        ),
        ("POST", "/graphql", {"json": QUERY, "headers": OTHER}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Origin": ""}}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Authorization": "Bearer x"}}),
        ("POST", "/graphql", {"json": QUERY, "headers": {"Authorization": "Basic x"}}),
        (
            "POST",
            "/graphql",
            {"content": '{"query": "{__typename}"}', "headers": {"Content-Type": "text/plain"}},
        ),
        ("GET", "/v1/me", {}),
        ("GET", "/v1/posts", {}),
        ("GET", "/v1/changes", {}),
        ("POST", "/v1/posts", {"json": {"content": "x"}}),
        ("DELETE", "/v1/posts/f47ac10b-58cc-4372-a567-0e02b2c3d479", {}),
        ("GET", "/v1/destinations.csv", {"headers": OTHER}),
        ("GET", "/v1/destinations.csv", {"headers": {"Sec-Fetch-Site": "cross-site"}}),
        ("GET", "/v1/destinations.ndjson", {"headers": {"Authorization": "Bearer x"}}),
    ],
)
async def test_cookie_counts_for_no_other_request(
    browser: Browser, method: str, path: str, options: dict[str, Any]
) -> None:
    assert await status_of(browser, "POST", "/graphql", json=QUERY) == 200
    assert await status_of(browser, method, path, **options) == 401


async def test_post_without_origin_is_refused(browser: Browser) -> None:
    del browser.headers["Origin"]
    assert await status_of(browser, "POST", "/graphql", json=QUERY) == 401


async def test_key_beside_the_cookie_replaces_it(acme: Tenant, browser: Browser) -> None:
    key = await add_api_key(acme.database, acme.workspace, scopes=(Scope.ADMIN,))
    body = await browser.post_graphql(
        "{ viewer { scopes session { person } } }",
        headers={"Authorization": f"Bearer {key.token}"},
    )
    assert body["data"]["viewer"] == {"scopes": ["ADMIN"], "session": None}


async def test_token_of_a_session_is_no_api_key(acme: Tenant, browser: Browser) -> None:
    token = browser.cookie.partition("=")[2]
    code, _, message = await acme.client.with_token(token).expect_error("{ viewer { scopes } }")
    assert (code, message) == (
        "INVALID_API_KEY",
        "The API key is malformed: it is pe_live_ followed by 32 lower-case hex digits.",
    )


@pytest.mark.parametrize("name", ["csv", "ndjson"])
async def test_exports_are_downloaded_by_session(acme: Tenant, name: str) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_post(acme.database, acme.workspace, {account: published()})
    settings = read_settings({"CORS_ORIGINS": "*"})
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, settings=settings) as client:
        browser = Browser(client)
        await browser.sign_in(key.token)
        del browser.headers["Origin"]  # as in a navigation
        response = await browser.request(
            "GET", f"/v1/destinations.{name}", headers={"Sec-Fetch-Site": "same-origin"}
        )
    assert response.text == (await acme.client.get(f"/v1/destinations.{name}")).text
    assert [header for header in response.headers if header.startswith("access-control")] == []


async def test_session_of_a_publishing_key_cannot_export(acme: Tenant) -> None:
    browser = Browser(acme.client)
    key = await add_api_key(acme.database, acme.workspace, scopes=())
    await browser.sign_in(key.token)
    assert await status_of(browser, "GET", "/v1/destinations.csv") == 403


# WebSockets


@asynccontextmanager
async def open_socket(
    app: Starlette, browser: Browser, **headers: str
) -> AsyncIterator[WebSocketClient]:
    async with connect(app, headers={**browser.lower_case_headers(), **headers}) as socket:
        await socket.wait_accepted()
        socket.send(type="connection_init")
        yield socket


@asynccontextmanager
async def signed_in(live_tenant: LiveTenant) -> AsyncIterator[Browser]:
    async with client_for(live_tenant.app, token=None) as client:
        browser = Browser(client)
        await browser.sign_in(live_tenant.token, person="Ann")
        yield browser


async def test_socket_is_authenticated_by_session(live_tenant: LiveTenant) -> None:
    async with signed_in(live_tenant) as browser, open_socket(live_tenant.app, browser) as socket:
        assert await socket.receive() == {"type": "connection_ack"}
        socket.subscribe("a", "{ viewer { session { person } } }")
        assert await socket.next_payload("a") == {
            "data": {"viewer": {"session": {"person": "Ann"}}}
        }


@pytest.mark.parametrize(
    "headers", [{"authorization": "Basic x"}, {"origin": ""}, {"origin": "https://test:80"}]
)
async def test_socket_ignores_the_cookie_otherwise(
    live_tenant: LiveTenant, headers: dict[str, str]
) -> None:
    async with (
        signed_in(live_tenant) as browser,
        open_socket(live_tenant.app, browser, **headers) as socket,
    ):
        code, reason = await socket.wait_closed()
    assert (code, reason) == (
        4403,
        "This request needs an API key: send 'Authorization: Bearer <key>'.",
    )


@pytest.mark.parametrize("place", ["handshake", "connection_init"])
async def test_key_of_a_socket_replaces_its_cookie(live_tenant: LiveTenant, place: str) -> None:
    bearer = {"authorization": f"Bearer {live_tenant.token}"}
    async with signed_in(live_tenant) as browser:
        headers = {**browser.lower_case_headers(), **(bearer if place == "handshake" else {})}
        async with connect(live_tenant.app, headers=headers) as socket:
            await socket.wait_accepted()
            socket.send(type="connection_init", payload=bearer if place != "handshake" else {})
            assert await socket.receive() == {"type": "connection_ack"}
            socket.subscribe("a", "{ viewer { session { person } } }")
            assert await socket.next_payload("a") == {"data": {"viewer": {"session": None}}}


async def test_socket_without_board_ignores_the_cookie(live_tenant: LiveTenant) -> None:
    settings = read_settings({"BOARD": "no"})
    async with (
        signed_in(live_tenant) as browser,
        app_lifespan(live_tenant.database, settings=settings) as app,
        open_socket(app, browser) as socket,
    ):
        assert (await socket.wait_closed())[0] == 4403


@pytest.mark.parametrize("query", ["", "?everywhere=true"])
async def test_sign_out_closes_the_socket_within_a_second(
    live_tenant: LiveTenant, query: str
) -> None:
    async with signed_in(live_tenant) as browser, open_socket(live_tenant.app, browser) as socket:
        assert await socket.receive() == {"type": "connection_ack"}
        assert (await browser.sign_out(query)).status_code == 200
        async with asyncio.timeout(1):
            assert await socket.wait_closed() == (4403, SESSION_ENDED)


async def test_expired_session_closes_the_socket(live_tenant: LiveTenant) -> None:
    now = NOW

    def clock() -> datetime:
        return now

    async with (
        app_lifespan(live_tenant.database, clock=clock) as app,
        client_for(app, token=None) as client,
    ):
        browser = Browser(client)
        await browser.sign_in(live_tenant.token)
        async with open_socket(app, browser) as socket:
            assert await socket.receive() == {"type": "connection_ack"}
            now = NOW + timedelta(hours=12)
            assert await socket.wait_closed() == (4403, SESSION_ENDED)


async def test_socket_of_the_own_origin_of_public_url_is_accepted(live_tenant: LiveTenant) -> None:
    settings = read_settings({"PUBLIC_URL": "https://results.example.com"})
    headers = {"host": "10.0.0.5", "origin": "https://results.example.com"}
    async with (
        app_lifespan(live_tenant.database, settings=settings) as app,
        connect(app, headers=headers) as socket,
    ):
        assert await socket.wait_accepted() == "graphql-transport-ws"
