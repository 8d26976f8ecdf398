"""Client of a workspace whose requests must not suffer: reads, claims, live updates, exports and probes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from websockets.asyncio.client import ClientConnection

from app.domain.ids import PostId
from app.domain.times import format_instant
from tests.load_client import (
    HttpConnection,
    check_liveness,
    execute,
    open_graphql_socket,
    publish_one,
)
from tests.retrying_client import CREATE_POST
from tests.subscriptions.subscriber_connections import DOCUMENT

_COUNTS = (
    "query($since: DateTime!) { boardCounts(since: $since) {"
    " failed { count } unknown { count } overdue { count } retrying { count } brokenAccounts { count } } }"
)
_LIST = (
    "{ destinations(first: 50, orderBy: {field: LATENESS}, filter: {lateBySeconds: 1})"
    " { nodes { destinationId status account { accountName } } } }"
)
_LATEST = "{ changes { latestCursor } }"
_POST = (
    "query($postId: UUID!) { post(postId: $postId) { content destinations { status attempts } } }"
)

INTERVALS: Mapping[str, float] = MappingProxyType(
    {"counts": 1, "list": 0.5, "post": 0.25, "claim": 0.5, "live": 0.5, "export": 2, "/livez": 0.25}
)
"""Seconds between two operations of each kind."""
_TIMEOUT = 30.0
"""Seconds after which an operation has failed."""


class MeasuredClient:
    """Client that starts an operation of each kind on a schedule, unless the last one still runs."""

    def __init__(self, url: str, token: str, account: int, post: PostId) -> None:
        self._url, self._token, self._account, self._post_id = url, token, account, post
        self.durations: dict[str, list[float]] = {name: [] for name in INTERVALS}
        """Seconds of each completed operation by kind."""
        self.failures: list[str] = []
        self._arrivals: dict[str, asyncio.Future[None]] = {}
        """Live updates that are awaited, by post."""

    async def run(self, seconds: float) -> None:
        """Run all kinds of operations; returns when the last response has arrived."""
        ends_at = time.monotonic() + seconds
        operations: Mapping[str, Callable[[HttpConnection], Awaitable[object]]] = {
            "counts": self._read_counts,
            "list": lambda connection: self._execute(connection, _LIST, {}),
            "post": lambda connection: self._execute(
                connection, _POST, {"postId": str(self._post_id)}
            ),
            "claim": lambda connection: publish_one(partial(self._execute, connection)),
            "live": self._wait_for_update,
            "export": self._export,
            "/livez": lambda _connection: check_liveness(self._url),
        }
        async with self._subscription(), asyncio.TaskGroup() as tasks:
            for name, operation in operations.items():
                tasks.create_task(self._repeat(name, operation, ends_at))

    async def _repeat(
        self, name: str, operation: Callable[[HttpConnection], Awaitable[object]], ends_at: float
    ) -> None:
        connection = HttpConnection(self._url)
        planned_at = time.monotonic()
        while planned_at < ends_at:
            started_at = time.monotonic()
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await operation(connection)
            except Exception as error:  # noqa: BLE001 - whatever the client meets is a failure
                connection.close()
                self.failures.append(f"{name}: {error!r}"[:300])
            else:
                self.durations[name].append(time.monotonic() - started_at)
            planned_at = max(planned_at + INTERVALS[name], time.monotonic())
            await asyncio.sleep(planned_at - time.monotonic())
        connection.close()

    async def _read_counts(self, connection: HttpConnection) -> None:
        # The answers to one time are shared, so each request has another one.
        since = format_instant(datetime.now(UTC) - timedelta(days=1))
        await self._execute(connection, _COUNTS, {"since": since})

    async def _wait_for_update(self, connection: HttpConnection) -> None:
        post = {"content": "Spring sale", "accountIds": [self._account], "draft": True}
        created = await self._execute(connection, CREATE_POST, {"input": post})
        await self._arrival(created["createPost"]["post"]["postId"])

    async def _export(self, _connection: HttpConnection) -> None:
        host = self._url.removeprefix("http://")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(
            (
                "GET /v1/destinations.ndjson?end=true&status=failed HTTP/1.1\r\nHost: isolation"
                f"\r\nConnection: close\r\nAuthorization: Bearer {self._token}\r\n\r\n"
            ).encode()
        )
        response = await reader.read()
        writer.close()
        if not response.startswith(b"HTTP/1.1 200 ") or b'{"end":true' not in response[-100:]:
            raise EOFError(f"the export failed or is incomplete: {response[:200]!r}")

    async def _execute(
        self, connection: HttpConnection, document: str, variables: Mapping[str, object]
    ) -> dict[str, Any]:
        return await execute(connection, self._token, document, variables)

    @asynccontextmanager
    async def _subscription(self) -> AsyncIterator[None]:
        """Receive live updates while the context is open, also those before the subscription has begun."""
        connection = HttpConnection(self._url)
        feed = await self._execute(connection, _LATEST, {})
        connection.close()
        variables = {"after": feed["changes"]["latestCursor"]}
        async with open_graphql_socket(self._url, self._token) as socket:
            message = {
                "id": "1",
                "type": "subscribe",
                "payload": {"query": DOCUMENT, "variables": variables},
            }
            await socket.send(json.dumps(message))
            receiving = asyncio.create_task(self._receive(socket))
            try:
                yield
            finally:
                if receiving.done():
                    self.failures.append(f"live: the subscription has ended: {receiving!r}")
                receiving.cancel()
                await asyncio.wait({receiving})

    async def _receive(self, socket: ClientConnection) -> None:
        async for message in socket:
            received = json.loads(message)
            if received["type"] == "next":
                arrival = self._arrival(received["payload"]["data"]["changes"]["postId"])
                if not arrival.done():
                    arrival.set_result(None)

    def _arrival(self, post_id: str) -> "asyncio.Future[None]":
        """Return the future of the first update of a post, which may precede the response to its write."""
        return self._arrivals.setdefault(post_id, asyncio.get_running_loop().create_future())
