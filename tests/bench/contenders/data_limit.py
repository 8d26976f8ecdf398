"""Upper limit of any server that reads this data: SQL statements on the driver, and orjson.

It compares the text of the query with those of the benchmark and supports no other query.
"""

import json
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson
from sqlalchemy import URL, make_url
from starlette.types import ASGIApp

from app.domain.times import format_instant
from tests.bench.contenders.minimal_asgi import make_asgi_app, wrap_data
from tests.bench.requests import POST_RESULTS_QUERY, POSTS_QUERY
from tests.bench.seeding import WORKSPACE_ID

Rows = Sequence[Sequence[Any]]
Fetch = Callable[[str, Any], Awaitable[Rows]]
"""Executes a statement with one parameter in the workspace of the benchmark."""

_DESTINATION_COLUMNS = (
    "d.id{text}, d.account_id, a.account_name, d.platform, d.status, d.published_at,"
    " d.platform_post_id, d.platform_post_url, d.error, d.attempts, d.next_retry_at, a.platform"
)
_ACCOUNT_JOIN = "JOIN account a ON a.workspace_id = d.workspace_id AND a.id = d.account_id"
_POST_QUERY = (
    f"SELECT p.status, {_DESTINATION_COLUMNS} FROM post p"
    " LEFT JOIN destination d ON d.workspace_id = p.workspace_id AND d.post_id = p.id"
    f" LEFT {_ACCOUNT_JOIN}"
    " WHERE p.workspace_id = {w} AND p.id = {x} AND p.deleted_at IS NULL"
    " ORDER BY d.position, d.id"
)
_POSTS_QUERY = (
    "SELECT p.id{text}, p.content, p.status, p.scheduled_for, p.timezone, p.created_at,"
    " p.updated_at FROM post p WHERE p.workspace_id = {w} AND p.deleted_at IS NULL"
    " ORDER BY p.created_at DESC, p.id DESC LIMIT {x}"
)
_DESTINATIONS_QUERY = (
    f"SELECT d.post_id{{text}}, {_DESTINATION_COLUMNS} FROM destination d {_ACCOUNT_JOIN}"
    " WHERE d.workspace_id = {w} AND d.post_id {among} ORDER BY d.post_id, d.position, d.id"
)
_SQLITE = {"text": "", "w": "?", "x": "?", "among": "IN (SELECT value FROM json_each(?))"}
_POSTGRESQL = {"text": "::text", "w": "$1", "x": "$2", "among": "= ANY($2::uuid[])"}

_PRAGMAS = ("mmap_size=268435456", "cache_size=-65536", "temp_store=MEMORY")
_CONNECTIONS = 10
_REST_PATH_SLICE = len("/v1/posts/"), -len("/results")


class _NoResetConnection(asyncpg.Connection):  # type: ignore[misc]
    """Connection without the reset query, which only reads do not need."""

    def get_reset_query(self) -> str:
        return ""


def make_data_limit_app(database_url: str) -> ASGIApp:
    url = make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    responder = _Responder(_SQLITE if is_sqlite else _POSTGRESQL)

    async def connect() -> None:
        responder.fetch = _sqlite_fetch(url) if is_sqlite else await _postgresql_fetch(url)

    return make_asgi_app(responder.respond, on_startup=connect)


def _sqlite_fetch(url: URL) -> Fetch:
    """Execute in the thread of the event loop, which is faster than a switch to another thread."""
    connection = sqlite3.connect(str(url.database), isolation_level=None)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    workspace = str(WORKSPACE_ID)

    async def fetch(statement: str, parameter: Any) -> Rows:
        value = json.dumps(parameter) if isinstance(parameter, list) else parameter
        return connection.execute(statement, (workspace, value)).fetchall()

    return fetch


async def _postgresql_fetch(url: URL) -> Fetch:
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    pool = await asyncpg.create_pool(
        dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS, connection_class=_NoResetConnection
    )

    async def fetch(statement: str, parameter: Any) -> Rows:
        rows: Rows = await pool.fetch(statement, WORKSPACE_ID, parameter)
        return rows

    return fetch


class _Responder:
    """Responds to the requests of the benchmark."""

    fetch: Fetch

    def __init__(self, engine: dict[str, str]) -> None:
        self._post_query, self._posts_query, self._destinations_query = (
            query.format_map(engine) for query in (_POST_QUERY, _POSTS_QUERY, _DESTINATIONS_QUERY)
        )
        self._format_time = (
            _format_stored_instant if engine is _SQLITE else _format_optional_instant
        )

    async def respond(self, path: str, body: bytes) -> bytes:
        if path != "/graphql":
            return orjson.dumps(wrap_data(await self._rest(path[slice(*_REST_PATH_SLICE)])))
        request = orjson.loads(body)
        variables = request["variables"]
        if request["query"] == POST_RESULTS_QUERY:
            return orjson.dumps({"data": await self._post(variables["id"])})
        if request["query"] == POSTS_QUERY:
            return orjson.dumps({"data": await self._posts(variables["n"])})
        raise ValueError("unknown document; only the documents of the benchmark are supported")

    async def _post(self, post_id: str) -> dict[str, Any]:
        rows = await self.fetch(self._post_query, post_id)
        if not rows:
            return {"post": None}
        destinations = [self._result(row) for row in rows if row[1] is not None]
        post = {"postId": post_id, "status": rows[0][0].upper(), "destinations": destinations}
        return {"post": post}

    async def _posts(self, count: int) -> dict[str, Any]:
        time = self._format_time
        posts = await self.fetch(self._posts_query, count)
        destinations: dict[str, list[dict[str, Any]]] = {row[0]: [] for row in posts}
        for row in await self.fetch(self._destinations_query, list(destinations)):
            destinations[row[0]].append(
                {
                    "destinationId": row[1],
                    **self._result(row),
                    "account": {"accountId": row[2], "platform": row[12], "accountName": row[3]},
                }
            )
        nodes = [
            {
                "postId": row[0],
                "content": row[1],
                "status": row[2].upper(),
                "scheduledFor": time(row[3]),
                "timezone": row[4],
                "createdAt": time(row[5]),
                "updatedAt": time(row[6]),
                "destinations": destinations[row[0]],
            }
            for row in posts
        ]
        return {"posts": {"nodes": nodes}}

    def _result(self, row: Sequence[Any]) -> dict[str, Any]:
        return {
            "accountId": row[2],
            "accountName": row[3],
            "platform": row[4],
            "status": row[5].upper(),
            "publishedAt": self._format_time(row[6]),
            "platformPostId": row[7],
            "platformPostUrl": row[8],
            "error": row[9],
            "attempts": row[10],
            "nextRetryAt": self._format_time(row[11]),
        }

    async def _rest(self, post_id: str) -> dict[str, Any]:
        time = self._format_time
        rows = await self.fetch(self._post_query, post_id)
        results = [
            {
                "account_id": row[2],
                "account_name": row[3],
                "platform": row[4],
                "status": row[5],
                "published_at": time(row[6]),
                "platform_post_id": row[7],
                "platform_post_url": row[8],
                "error": row[9],
                "attempts": row[10],
                "next_retry_at": time(row[11]),
                "id": row[1],
                "social_account_id": row[2],
                "last_error": row[9],
            }
            for row in rows
            if row[1] is not None
        ]
        return {"post_id": post_id, "post_status": rows[0][0], "results": results}


def _format_stored_instant(stored: str | None) -> str | None:
    """Convert the text that SQLite stores by its fixed positions."""
    return None if stored is None else f"{stored[:10]}T{stored[11:23]}Z"


def _format_optional_instant(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)


if url := os.environ.get("DATABASE_URL"):
    app = make_data_limit_app(url)
