"""Client of server-sent events for an ASGI app in the same process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import ASGIApp

from tests.graphql.transport.asgi_connection import ASGIConnection

EVENT_STREAM = "text/event-stream"


class SSEClient(ASGIConnection):
    """One request, and its response as ASGI messages."""

    def disconnect(self) -> None:
        self.to_app.put_nowait({"type": "http.disconnect"})

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
    events = SSEClient(app, scope, [{"type": "http.request", "body": body, "more_body": False}])
    try:
        yield events
    finally:
        await events.close()
