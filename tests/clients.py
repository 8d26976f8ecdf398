"""Clients of the whole service, in this process, with its start and stop run. No servers, no rows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp

from app.asgi import DEFAULT_CONNECTION_TIMEOUTS, create_app
from app.db.core.database import Database
from app.domain.ids import WorkspaceId
from app.graphql.service import ConnectionTimeouts
from app.settings import Settings, read_settings
from tests.factories import NOW

NO_MAINTENANCE = timedelta(days=1)
"""Where the clock stands still, nothing falls due by itself."""

UNLIMITED_SETTINGS = read_settings({"RATE_LIMIT": "off"})


class Client:
    """An HTTP client that holds one API key, or none."""

    def __init__(self, http: httpx.AsyncClient, token: str | None) -> None:
        self._http = http
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def with_token(self, token: str | None) -> "Client":
        """The same service, asked with another key."""
        return Client(self._http, token)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self._headers, **options.pop("headers", {})}
        return await self._http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def execute(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole GraphQL answer to a document, whatever it is."""
        response = await self.request(
            "POST", "/graphql", json={"query": query, "variables": variables}
        )
        answer: dict[str, Any] = response.json()
        return answer

    async def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a document that must run without an error."""
        answer = await self.execute(query, **variables)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def expect_error(self, query: str, **variables: Any) -> tuple[str, str | None, str]:
        """Code, field and message of the one error of a document that must be refused."""
        answer = await self.execute(query, **variables)
        assert not any((answer.get("data") or {}).values()), answer
        (error,) = answer["errors"]
        extensions = error["extensions"]
        return extensions["code"], extensions.get("field"), error["message"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace, and a client that holds a key to it."""

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
    maintenance_interval: timedelta = NO_MAINTENANCE,
) -> AsyncIterator[Client]:
    """A client of the service on this database, at this instant, which stands still, or by a clock."""
    async with (
        app_lifespan(
            database,
            settings=settings,
            now=now,
            clock=clock,
            maintenance_interval=maintenance_interval,
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
    maintenance_interval: timedelta = NO_MAINTENANCE,
    connection_timeouts: ConnectionTimeouts = DEFAULT_CONNECTION_TIMEOUTS,
) -> AsyncIterator[Starlette]:
    """The service from its start to its stop; see `serving`."""
    app = create_app(
        settings,
        clock=clock or (lambda: now),
        database=database,
        maintenance_interval=maintenance_interval,
        api_key_cache_ttl=timedelta(0),
        connection_timeouts=connection_timeouts,
    )
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def client_for(app: ASGIApp, *, token: str | None) -> AsyncIterator[Client]:
    """A client of a service that was started."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Client(http, token)
