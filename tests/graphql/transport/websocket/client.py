"""A client of graphql-transport-ws on an app in this process, message by message. No server, no tests."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Scope

PROTOCOL = "graphql-transport-ws"
TIMEOUT = 10.0
"""Seconds that a busy machine may take for anything here; only a failure takes so long."""


class WebSocketClient:
    """One connection, from the handshake to the end of the app's work on it."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._can_read = asyncio.Event()
        self._can_read.set()
        self.was_closed_by_the_server = False
        """As after a frame that it cannot read: it says so only when the app sends something."""
        self._to_app.put_nowait({"type": "websocket.connect"})
        self._app_task = asyncio.ensure_future(app(scope, self._to_app.get, self._handle_sent))

    async def _handle_sent(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            await self._can_read.wait()
            if self.was_closed_by_the_server:
                raise RuntimeError("Unexpected ASGI message 'websocket.send'")
        if message["type"] == "websocket.close":
            self._to_app.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        self._from_app.put_nowait(message)

    def stop_reading(self) -> None:
        """As of a client whose buffers are full."""
        self._can_read.clear()

    async def next_asgi_message(self) -> Message:
        """The next message of ASGI that the app sends."""
        async with asyncio.timeout(TIMEOUT):
            return await self._from_app.get()

    async def wait_accepted(self) -> str | None:
        """The subprotocol, once the handshake is over."""
        event = await self.next_asgi_message()
        assert event["type"] == "websocket.accept", event
        subprotocol: str | None = event["subprotocol"]
        return subprotocol

    def send_text(self, text: str) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "text": text})

    def send_bytes(self, data: bytes) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "bytes": data})

    def send(self, **message: Any) -> None:
        self.send_text(orjson.dumps(message).decode())

    def subscribe(self, operation_id: str, query: str, **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        self.send(id=operation_id, type="subscribe", payload=payload)

    async def receive(self) -> dict[str, Any]:
        """The next message of the protocol."""
        event = await self.next_asgi_message()
        assert event["type"] == "websocket.send", event
        message: dict[str, Any] = orjson.loads(event["text"])
        return message

    async def wait_closed(self) -> tuple[int, str]:
        """Code and reason, once the app has closed it and nothing of its work is left."""
        event = await self.next_asgi_message()
        assert event["type"] == "websocket.close", event
        await self.wait_finished()
        return event["code"], event["reason"]

    async def next_payload(self, operation_id: str) -> dict[str, Any]:
        """The payload of the next message, which must be for this operation."""
        message = await self.receive()
        assert (message["id"], message["type"]) == (operation_id, "next"), message
        payload: dict[str, Any] = message["payload"]
        return payload

    async def next_error(self, operation_id: str) -> tuple[str, str | None, str]:
        """Code, field and message of the one error that ends this operation."""
        message = await self.receive()
        assert (message["id"], message["type"]) == (operation_id, "error"), message
        (entry,) = message["payload"]
        extensions = entry["extensions"]
        return extensions["code"], extensions.get("field"), entry["message"]

    def has_no_messages(self) -> bool:
        """Whether the app has sent nothing that was not received."""
        return self._from_app.empty()

    def disconnect(self, code: int = 1006) -> None:
        """As of a connection that breaks."""
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code})

    async def wait_finished(self) -> None:
        """Return when the app has nothing left to do; raises what it raised."""
        async with asyncio.timeout(TIMEOUT):
            await self._app_task

    async def close(self) -> None:
        self.disconnect()
        self._can_read.set()
        await self.wait_finished()


@asynccontextmanager
async def connect(
    app: ASGIApp,
    *,
    path: str = "/graphql",
    subprotocols: Sequence[str] = (PROTOCOL,),
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[WebSocketClient]:
    """A socket whose handshake was sent."""
    raw = {"host": "test:80", **(headers or {})}
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
        "subprotocols": list(subprotocols),
        "client": ("192.0.2.1", 50000),
        "extensions": {"websocket.http.response": {}},
    }
    socket = WebSocketClient(app, scope)
    try:
        yield socket
    finally:
        await socket.close()


@asynccontextmanager
async def connect_and_init(app: ASGIApp, token: str) -> AsyncIterator[WebSocketClient]:
    """A socket whose client was let in."""
    async with connect(app) as socket:
        assert await socket.wait_accepted() == PROTOCOL
        socket.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert await socket.receive() == {"type": "connection_ack"}
        yield socket
