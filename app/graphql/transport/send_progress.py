"""Sends to clients that may not read, and detects those."""

import time
from collections.abc import Iterable

from starlette.types import Message, Send

from app.http.responses import PIECE_BYTES
from app.http.websocket_protocol import MAX_WRITE_BUFFER_BYTES

CONNECTION_BUFFER_BYTES = MAX_WRITE_BUFFER_BYTES + 2 * PIECE_BYTES
"""Memory of what a connection has copied: its limit, and a piece with its frame, which is a copy."""


class StallDetectingSend:
    """ASGI send callable that tracks whether the client reads what is sent, also by several tasks."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pending = 0
        self._last_progress_at = time.monotonic()
        """Monotonic time when a message was last sent, or when the first pending one started to wait."""

    async def __call__(self, message: Message) -> None:
        await self.send_all((message,))

    async def send_all(self, messages: Iterable[Message]) -> None:
        """Send messages that belong together; `is_sending` is true until the last one is sent."""
        if not self._pending:
            self._last_progress_at = time.monotonic()
        self._pending += 1
        try:
            for message in messages:
                await self._send(message)
                self._last_progress_at = time.monotonic()
        finally:
            self._pending -= 1

    @property
    def is_sending(self) -> bool:
        return self._pending > 0

    def stalled_seconds(self) -> float:
        """Return the seconds for which pending messages made no progress; 0 if nothing is being sent."""
        return time.monotonic() - self._last_progress_at if self._pending else 0.0

    def idle_seconds(self) -> float:
        """Return the seconds since the last message; 0 if one is being sent."""
        return 0.0 if self._pending else time.monotonic() - self._last_progress_at
