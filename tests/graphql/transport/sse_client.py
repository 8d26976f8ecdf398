"""Client of server-sent events for an ASGI app in the same process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Scope

EVENT_STREAM = "text/event-stream"
TIMEOUT = 10.0
"""Seconds; generous for a busy machine, reached only by a failure."""


class SSEClient:
    """One request, and its response as ASGI messages."""

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
        """Stop reading, like a client whose buffers are full."""
        self._can_read.clear()

    def disconnect(self) -> None:
        self._disconnected.set()

    async def next_asgi_message(self) -> Message:
        """Return the next ASGI message of the app."""
        async with asyncio.timeout(TIMEOUT):
            return await self._messages.get()

    async def wait_started(self) -> tuple[int, dict[str, str]]:
        """Wait for the start of the response; return status and headers."""
        start = await self.next_asgi_message()
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers

    async def next_text(self) -> str | None:
        """Return the next chunk of the body; None at its end."""
        message = await self.next_asgi_message()
        assert message["type"] == "http.response.body"
        text: str = message["body"].decode()
        return text if message["more_body"] else None

    async def next_payload(self) -> dict[str, Any]:
        """Return the payload of the next event, which must be `next`."""
        text = await self.next_text()
        assert text is not None
        assert text.startswith("event: next\ndata: {"), text
        assert text.endswith("}\n\n"), text
        payload: dict[str, Any] = orjson.loads(text.removeprefix("event: next\ndata: "))
        return payload

    async def wait_finished(self) -> None:
        """Wait until the app has returned; raises its exception."""
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
    """Send a POST request; disconnect at the end."""
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
