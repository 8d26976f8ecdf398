"""A client of server-sent events on an app in this process, event by event. No server, no tests."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Scope

EVENT_STREAM = "text/event-stream"
TIMEOUT = 10.0
"""Seconds that a busy machine may take for anything here; only a failure takes so long."""


class SSEClient:
    """One response, from its request to the end of the app's work on it."""

    def __init__(self, app: ASGIApp, scope: Scope, body: bytes) -> None:
        self._requests = [{"type": "http.request", "body": body, "more_body": False}]
        self._disconnected = asyncio.Event()
        self._can_read = asyncio.Event()
        self._can_read.set()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._app_task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._requests:
            return self._requests.pop()
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._can_read.wait()
        self._messages.put_nowait(message)

    def stop_reading(self) -> None:
        """As of a client whose buffers are full."""
        self._can_read.clear()

    def disconnect(self) -> None:
        self._disconnected.set()

    async def next_asgi_message(self) -> Message:
        """The next message of ASGI that the app sends."""
        async with asyncio.timeout(TIMEOUT):
            return await self._messages.get()

    async def wait_started(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        start = await self.next_asgi_message()
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers

    async def next_text(self) -> str | None:
        """What comes next; None if that is the end."""
        message = await self.next_asgi_message()
        assert message["type"] == "http.response.body"
        text: str = message["body"].decode()
        return text if message["more_body"] else None

    async def next_payload(self) -> dict[str, Any]:
        """The payload of the next event, which must be a `next`."""
        text = await self.next_text()
        assert text is not None
        assert text.startswith("event: next\ndata: {"), text
        assert text.endswith("}\n\n"), text
        payload: dict[str, Any] = orjson.loads(text.removeprefix("event: next\ndata: "))
        return payload

    async def wait_finished(self) -> None:
        """Return when the app has nothing left to do; raises what it raised."""
        async with asyncio.timeout(TIMEOUT):
            await self._app_task


@asynccontextmanager
async def open_stream(
    app: ASGIApp,
    token: str,
    query: str,
    variables: Mapping[str, object] | None = None,
    *,
    accept: str = EVENT_STREAM,
) -> AsyncIterator[SSEClient]:
    """A request by POST."""
    headers = {
        "host": "test:80",
        "authorization": f"Bearer {token}",
        "accept": accept,
        "content-type": "application/json",
        "transfer-encoding": "chunked",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 50000),
    }
    body = orjson.dumps({"query": query, "variables": dict(variables or {})})
    events = SSEClient(app, scope, body)
    try:
        yield events
    finally:
        events.disconnect()
        events._can_read.set()
        await events.wait_finished()
