"""Detects clients that do not read, for transports with long-lived connections."""

import time

from starlette.types import Message, Send


class StallDetectingSend:
    """ASGI send callable that tracks whether the client reads what is sent, also by several tasks."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pending = 0
        self._last_progress_at = 0.0
        """Monotonic time when a message was last sent, or when the first pending one started to wait."""
        self.sent_count = 0

    async def __call__(self, message: Message) -> None:
        if not self._pending:
            self._last_progress_at = time.monotonic()
        self._pending += 1
        try:
            await self._send(message)
        finally:
            self._pending -= 1
            self._last_progress_at = time.monotonic()
        self.sent_count += 1

    @property
    def is_sending(self) -> bool:
        return self._pending > 0

    def stalled_seconds(self) -> float:
        """Return the seconds for which pending messages made no progress; 0 if nothing is being sent."""
        return time.monotonic() - self._last_progress_at if self._pending else 0.0
