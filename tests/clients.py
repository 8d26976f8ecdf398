"""HTTP clients of the service that run it in this process, including its lifespan."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp

from app.asgi import DEFAULT_CONNECTION_TIMEOUTS, create_app
from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from app.graphql.service import ConnectionTimeouts
from app.settings import Settings, read_settings
from app.web.static_files import STATIC_DIR
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.factories import NOW
from tests.recording_driver import RecordingDriver

T = TypeVar("T")

UNLIMITED_SETTINGS = read_settings({"RATE_LIMIT": "off", "WEBHOOKS": "no"})
"""Without deliveries of webhooks, which would change rows at any time."""


class Client:
    """An HTTP client that sends one API key, or none."""

    def __init__(self, http: httpx.AsyncClient, token: str | None) -> None:
        self._http = http
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def with_token(self, token: str | None) -> "Client":
        """A client of the same service with another key."""
        return Client(self._http, token)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self._headers, **options.pop("headers", {})}
        return await self._http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def execute(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute a GraphQL document and return the response body, with data or errors."""
        response = await self.request(
            "POST", "/graphql", json={"query": query, "variables": variables}
        )
        body: dict[str, Any] = response.json()
        return body

    async def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute a GraphQL document, require success, and return its data."""
        body = await self.execute(query, **variables)
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    async def expect_error(self, query: str, **variables: Any) -> tuple[str, str | None, str]:
        """Execute a GraphQL document, require one error, and return its code, field and message."""
        body = await self.execute(query, **variables)
        assert not any((body.get("data") or {}).values()), body
        (error,) = body["errors"]
        extensions = error["extensions"]
        return extensions["code"], extensions.get("field"), error["message"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace, and a client with one of its API keys."""

    database: Database
    workspace: WorkspaceId
    client: Client


@asynccontextmanager
async def app_client(
    database: Database,
    *,
    token: str | None = None,
    settings: Settings = UNLIMITED_SETTINGS,
    now: datetime = NOW,
    clock: Callable[[], datetime] | None = None,
    expiration_interval: timedelta | None = None,
    static_dir: Path = STATIC_DIR,
) -> AsyncIterator[Client]:
    """A client of the service on this database, with a fixed time or a clock."""
    async with (
        app_lifespan(
            database,
            settings=settings,
            now=now,
            clock=clock,
            expiration_interval=expiration_interval,
            static_dir=static_dir,
        ) as app,
        client_for(app, token=token) as client,
    ):
        yield client


@asynccontextmanager
async def app_lifespan(
    database: Database,
    *,
    settings: Settings = UNLIMITED_SETTINGS,
    now: datetime = NOW,
    clock: Callable[[], datetime] | None = None,
    expiration_interval: timedelta | None = None,
    connection_timeouts: ConnectionTimeouts = DEFAULT_CONNECTION_TIMEOUTS,
    static_dir: Path = STATIC_DIR,
) -> AsyncIterator[Starlette]:
    """The running service on this database, with a fixed time or a clock; it delivers no webhooks."""
    app = create_app(
        replace(settings, webhooks=False),
        clock=clock or (lambda: now),
        database=database,
        expiration_interval=expiration_interval,
        api_key_cache_ttl=timedelta(0),
        connection_timeouts=connection_timeouts,
        static_dir=static_dir,
    )
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def client_for(app: ASGIApp, *, token: str | None) -> AsyncIterator[Client]:
    """A client of a running service, which stores no cookies."""
    transport = httpx.ASGITransport(app)
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", cookies=no_cookies
    ) as http:
        yield Client(http, token)


def run_with_database(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run work on a database in an event loop of its own, for tests of processes."""

    async def run() -> T:
        async with Database(url) as database:
            return await work(database)

    return asyncio.run(run())


async def wait_for_startup_reads(database: Database) -> None:
    """Wait until the reads of a starting server are done."""
    assert isinstance(database.driver, RecordingDriver | InterceptingDriver)
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.005)
            if database.driver.running == 0:
                return
