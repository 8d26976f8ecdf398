"""Long connection to an ASGI app in the same process, as the messages of both sides."""

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Scope

from app.http.websocket_protocol import SEND_FRAGMENT

TIMEOUT = 10.0
"""Seconds; generous for a busy machine, reached only by a failure."""


class ASGIConnection:
    """A connection, and the task of the app that serves it."""

    def __init__(self, app: ASGIApp, scope: Scope, messages: Iterable[Message]) -> None:
        """Call the app, which receives these messages first."""
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.to_app.put_nowait(message)
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._can_read = asyncio.Event()
        self._can_read.set()
        self._remaining_reads: int | None = None
        """Number of messages that are read until `stop_reading` takes effect; None if it was not called."""
        self._app_task = asyncio.ensure_future(app(scope, self.to_app.get, self._send))

    async def _send(self, message: Message) -> None:
        if message["type"] in ("websocket.send", SEND_FRAGMENT, "http.response.body"):
            await self._can_read.wait()
            if self._remaining_reads is not None:
                self.stop_reading(after=self._remaining_reads - 1)
        self.on_message(message)
        self._from_app.put_nowait(message)

    def on_message(self, message: Message) -> None:
        """Handle a message of the app before it can be read; an exception reaches the app."""

    def stop_reading(self, *, after: int = 0) -> None:
        """Stop reading after some messages, like a client whose buffers are full."""
        self._remaining_reads = after
        if after == 0:
            self._can_read.clear()

    def resume_reading(self) -> None:
        self._remaining_reads = None
        self._can_read.set()

    @property
    def is_finished(self) -> bool:
        """True if the app has returned."""
        return self._app_task.done()

    def has_no_messages(self) -> bool:
        """Return True if all messages of the app were received."""
        return self._from_app.empty()

    async def next_asgi_message(self) -> Message:
        """Return the next ASGI message of the app."""
        async with asyncio.timeout(TIMEOUT):
            return await self._from_app.get()

    def disconnect(self) -> None:
        """Disconnect as if the connection was lost."""
        raise NotImplementedError

    async def wait_finished(self) -> None:
        """Wait until the app has returned; raises its exception."""
        async with asyncio.timeout(TIMEOUT):
            await self._app_task

    async def close(self) -> None:
        self.disconnect()
        self.resume_reading()
        await self.wait_finished()
