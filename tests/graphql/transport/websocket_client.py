"""Client of graphql-transport-ws for an ASGI app in the same process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import ASGIApp, Message

from app.http.websocket_protocol import SEND_FRAGMENT
from tests.graphql.transport.asgi_connection import ASGIConnection

PROTOCOL = "graphql-transport-ws"


class WebSocketClient(ASGIConnection):
    """One WebSocket as ASGI messages."""

    is_closed_by_server = False
    """Whether the ASGI server has closed it, e.g. after an invalid frame; the next send then fails."""

    def on_message(self, message: Message) -> None:
        if message["type"] == "websocket.send" and self.is_closed_by_server:
            raise RuntimeError("Unexpected ASGI message 'websocket.send'")
        if message["type"] == "websocket.close":
            self.disconnect(message["code"])

    async def wait_accepted(self) -> str | None:
        """Wait until the handshake is accepted; return the subprotocol."""
        event = await self.next_asgi_message()
        assert event["type"] == "websocket.accept", event
        subprotocol: str | None = event["subprotocol"]
        return subprotocol

    def send_data(self, data: str | bytes) -> None:
        """Send a text or binary message unchanged."""
        kind = "text" if isinstance(data, str) else "bytes"
        self.to_app.put_nowait({"type": "websocket.receive", kind: data})

    def send(self, **message: Any) -> None:
        self.send_data(orjson.dumps(message).decode())

    def subscribe(self, operation_id: str, query: str, **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        self.send(id=operation_id, type="subscribe", payload=payload)

    async def receive(self) -> dict[str, Any]:
        """Return the next message of the protocol."""
        event = await self.next_asgi_message()
        fragments: list[bytes] = []
        while event["type"] == SEND_FRAGMENT and event["more_data"]:
            fragments.append(event["data"])
            event = await self.next_asgi_message()
        if event["type"] == SEND_FRAGMENT:
            text = b"".join([*fragments, event["data"]])
        else:
            assert (event["type"], fragments) == ("websocket.send", []), event
            text = event["text"]
        message: dict[str, Any] = orjson.loads(text)
        return message

    async def wait_closed(self) -> tuple[int, str]:
        """Wait until the app has closed the socket and returned; return code and reason."""
        event = await self.next_asgi_message()
        assert event["type"] == "websocket.close", event
        await self.wait_finished()
        return event["code"], event["reason"]

    async def next_payload(self, operation_id: str) -> dict[str, Any]:
        """Return the payload of the next message, which must be `next` of this operation."""
        message = await self.receive()
        assert (message["id"], message["type"]) == (operation_id, "next"), message
        payload: dict[str, Any] = message["payload"]
        return payload

    async def next_error(self, operation_id: str) -> tuple[str, str | None, str]:
        """Return code, field and message of the single error that ends this operation."""
        message = await self.receive()
        assert (message["id"], message["type"]) == (operation_id, "error"), message
        (entry,) = message["payload"]
        extensions = entry["extensions"]
        return extensions["code"], extensions.get("field"), entry["message"]

    def disconnect(self, code: int = 1006) -> None:
        """Disconnect, by default as if the connection was lost."""
        self.to_app.put_nowait({"type": "websocket.disconnect", "code": code})


@asynccontextmanager
async def connect(
    app: ASGIApp,
    *,
    path: str = "/graphql",
    subprotocols: Sequence[str] = (PROTOCOL,),
    headers: Mapping[str, str] | None = None,
    address: str = "192.0.2.1",
) -> AsyncIterator[WebSocketClient]:
    """Open a socket and send its handshake."""
    raw = {"host": "test:80", **(headers or {})}
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
        "subprotocols": list(subprotocols),
        "client": (address, 50000),
        "extensions": {"websocket.http.response": {}},
    }
    socket = WebSocketClient(app, scope, [{"type": "websocket.connect"}])
    try:
        yield socket
    finally:
        await socket.close()


@asynccontextmanager
async def connect_and_init(app: ASGIApp, token: str) -> AsyncIterator[WebSocketClient]:
    """Open a socket and authenticate."""
    async with connect(app) as socket:
        assert await socket.wait_accepted() == PROTOCOL
        socket.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert await socket.receive() == {"type": "connection_ack"}
        yield socket
