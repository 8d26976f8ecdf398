"""Helper of the board's tests: a server of the board's live changes that does what a test says."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from playwright.async_api import Page, WebSocketRoute

SUBSCRIBE_TIMEOUT_SECONDS = 30


class Feed:
    """Accepts the sockets of a page; `reply` handles each subscription, which otherwise stays open."""

    def __init__(self) -> None:
        self.reply: Callable[[Feed], object] = lambda _: None
        self.cursors: list[str] = []
        """Cursor of each subscription."""
        self.times: list[float] = []
        """Time of each subscription."""
        self._socket: WebSocketRoute
        self._operation_id = ""
        self._subscribed = asyncio.Event()

    async def serve(self, page: Page) -> None:
        await page.route_web_socket("**/graphql", self._accept)

    async def wait_for_subscription(self, number: int) -> None:
        async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
            while len(self.cursors) < number:
                self._subscribed.clear()
                await self._subscribed.wait()

    def send_change(
        self, destination: dict[str, Any] | None = None, *, change_type: str = "POST_CREATED"
    ) -> None:
        """Send a change of a destination, or of an object that no page shows."""
        change = {
            "cursor": "cursor",
            "type": change_type,
            "happenedAt": "2026-01-01T00:00:00Z",
            "postId": None,
            "destinationId": None,
            "accountId": None,
            "post": None,
            "destination": destination,
            "account": None,
        }
        self._send(type="next", id=self._operation_id, payload={"data": {"changes": change}})

    def refuse(self, code: str, message: str) -> None:
        """End the subscription with an error; the socket stays open."""
        error = {"message": message, "extensions": {"code": code}}
        self._send(type="error", id=self._operation_id, payload=[error])

    async def close(self) -> None:
        await self._socket.close(code=1012)

    def _accept(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(lambda text: self._receive(json.loads(text)))

    def _receive(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                self._send(type="connection_ack")
            case "ping":
                self._send(type="pong")
            case "subscribe":
                self._operation_id = message["id"]
                self.times.append(time.monotonic())
                self.cursors.append(message["payload"]["variables"]["after"])
                self._subscribed.set()
                self.reply(self)

    def _send(self, **message: Any) -> None:
        self._socket.send(json.dumps(message))
