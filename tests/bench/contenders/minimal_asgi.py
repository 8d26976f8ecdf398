"""Minimal ASGI app around a function from path and body to JSON, and the envelope of REST responses."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.times import format_instant


def make_asgi_app(
    respond: Callable[[str, bytes], Awaitable[bytes]], *, on_startup: Callable[[], Awaitable[None]]
) -> ASGIApp:
    """Answer every request with 200; `on_startup` runs before the first request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await on_startup()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = await respond(scope["path"], await _read_body(receive))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def wrap_data(data: dict[str, Any]) -> dict[str, Any]:
    meta = {"request_id": secrets.token_hex(4), "timestamp": format_instant(datetime.now(UTC))}
    return {"data": data, "error": None, "meta": meta}


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body
