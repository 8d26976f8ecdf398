"""Types for sending a response: rendering of errors, precomputed bytes, and progress tracking."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Message, Scope, Send

from app.domain.errors import InvalidApiKey, PostResultsError

ErrorRenderer: TypeAlias = Callable[[Scope, PostResultsError], Response]
"""Function that formats an error as the called API does."""


def add_error_headers(response: Response, error: PostResultsError) -> None:
    """Add the headers that an error has in every API: Retry-After and WWW-Authenticate."""
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InvalidApiKey):
        response.headers["WWW-Authenticate"] = "Bearer"  # required with every 401: RFC 9110, 15.5.2


class BytesResponse(Response):
    """Response of a given body and raw headers, with Content-Length."""

    def __init__(  # skips Starlette's, which encodes and inspects every header
        self, body: bytes, status: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]


class ResponseStateSend:
    """ASGI send callable that tracks the progress of the response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        """HTTP status; None until the response starts."""
        self.body_bytes = 0
        self.is_complete = False

    @classmethod
    def wrap(cls, send: Send) -> "ResponseStateSend":
        """Return `send` if it tracks already, so that layers share one wrapper; else wrap it."""
        return send if isinstance(send, cls) else cls(send)

    @property
    def has_started(self) -> bool:
        return self.status is not None

    def start(self, message: Message) -> None:
        """Record the start of the response, before it is sent."""
        self.status = message["status"]

    async def __call__(self, message: Message) -> None:
        # Recorded before sending: a start that fails half-way cannot be sent a second time.
        if message["type"] == "http.response.start":
            self.start(message)
        await self._send(message)
        if message["type"] == "http.response.body":
            self.body_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
