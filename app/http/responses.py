"""A response on its way out: how an error becomes one, and how far it has come. No content."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Message, Scope, Send

from app.domain.errors import PostResultsError

ErrorRenderer: TypeAlias = Callable[[Scope, PostResultsError], Response]
"""Gives an error the form of the door that the request came to."""


class BytesResponse(Response):
    """A body as it is sent, with headers as ASGI has them; its length is added."""

    def __init__(  # Starlette's own encodes and looks through what is known here
        self, body: bytes, status: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]


class TrackedSend:
    """A send channel that remembers what has passed through it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        """The status that was sent; None until the response starts."""
        self.body_bytes = 0
        self.is_complete = False

    @classmethod
    def wrap(cls, send: Send) -> "TrackedSend":
        """This channel, which remembers for one layer as well as for the next, or a new one."""
        return send if isinstance(send, cls) else cls(send)

    @property
    def has_started(self) -> bool:
        return self.status is not None

    def start(self, message: Message) -> None:
        """Note what begins the response, before it is sent."""
        self.status = message["status"]

    async def __call__(self, message: Message) -> None:
        # Noted before sending: a start that fails half-way cannot be sent a second time.
        if message["type"] == "http.response.start":
            self.start(message)
        await self._send(message)
        if message["type"] == "http.response.body":
            self.body_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
