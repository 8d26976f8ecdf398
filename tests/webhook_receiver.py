"""A receiver of webhooks on loopback, which verifies signatures and may fail."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.times import parse_instant


class WebhookReceiver:
    """Receiver of several endpoints, each with a path of its own."""

    def __init__(
        self,
        fails: Callable[[str], bool] = lambda _path: False,
        is_silent: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        """Create a receiver that answers 500 to the valid requests that fail, and nothing if it is silent.

        Both functions are called with the path of each request.
        """
        self._fails = fails
        self._is_silent = is_silent
        self._verifiers: dict[str, Webhook] = {}
        self.accepted: dict[str, Counter[str]] = defaultdict(Counter)
        """Number of accepted deliveries by path and event id."""
        self.payloads: dict[str, dict[str, Any]] = {}
        """Last payload of each event id."""
        self.delays: list[float] = []
        """Seconds from the time of each event to the receipt of its delivery."""
        self.invalid = 0
        """Requests whose signature is wrong."""
        self.port = 0

    def count(self, path: str) -> int:
        """Return the number of events that a path has received."""
        return len(self.accepted[path])

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def add_endpoint(self, path: str, secret: str) -> None:
        """Verify the requests of a path with this secret."""
        self._verifiers[path] = Webhook(secret)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Receive inside the context."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines if line)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                path = request_line.split()[1]
                if self._is_silent(path):
                    await reader.read()  # until the client closes the connection
                    return
                status = self._receive(path, headers, body)
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _receive(self, path: str, headers: dict[str, str], body: bytes) -> str:
        try:
            self._verifiers[path].verify(body, headers)
        except WebhookVerificationError:
            self.invalid += 1
            return "401 Unauthorized"
        if self._fails(path):
            return "500 Internal Server Error"
        event_id = headers["webhook-id"]
        self.accepted[path][event_id] += 1
        self.payloads[event_id] = json.loads(body)
        created_at = parse_instant(self.payloads[event_id]["created_at"])
        self.delays.append((datetime.now(UTC) - created_at).total_seconds())
        return "200 OK"
