"""ASGI driven by hand: a client that sends in pieces and may leave, and a remembering observer."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVarTuple

import httpx
from limits import RateLimitItem
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Scope

from app.domain.errors import PostResultsError
from app.http.cors import add_cors
from app.http.error_middleware import ErrorMiddleware
from app.http.rate_limits import RateLimits
from app.http.request_logging import RequestLoggingMiddleware
from app.http.state import request_state
from app.http.timeout_middleware import RequestTimeoutMiddleware
from app.observability.recorders import RequestRecord

NOW = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
LONG_TIMEOUT = timedelta(minutes=5)
NO_TIME = timedelta(0)


def http_scope(
    method: str = "GET", path: str = "/", headers: Sequence[tuple[bytes, bytes]] = ()
) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
        "state": {"request_id": "0000cafe"},
    }


class ASGIClient:
    """Gives its body piece by piece, then waits: until it has its answer, or until it leaves."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces or (b"",))
        self._is_over = asyncio.Event()
        self.has_response = asyncio.Event()
        self.sent: list[Message] = []
        """What the app sent so far."""
        self.pieces_taken = 0

    def disconnect(self) -> None:
        self._is_over.set()

    async def receive(self) -> Message:
        if self._pieces and not self._is_over.is_set():
            self.pieces_taken += 1
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_over.set()
            self.has_response.set()

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class RecordingObserver:
    """Keeps what it is told, in the order it is told."""

    def __init__(self) -> None:
        self.started = 0
        self.finished: list[RequestRecord] = []
        self.failures: list[tuple[str, Exception]] = []

    def request_started(self) -> None:
        self.started += 1

    def request_finished(self, request: RequestRecord) -> None:
        self.finished.append(request)

    def request_failed(self, request_id: str, exception: Exception) -> None:
        self.failures.append((request_id, exception))


def render_error(scope: Scope, error: PostResultsError) -> Response:
    """An error in a form that no door has."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(
        {"code": error.code, "message": error.message, "id": request_state(scope)["request_id"]},
        status_code=error.http_status,
        headers=headers,
    )


def sequential_random_bytes() -> Callable[[int], bytes]:
    """Randomness that counts from 1."""
    numbers = count(1)
    return lambda length: next(numbers).to_bytes(length, "big")


def stepping_clock(step: float = 0.25) -> Callable[[], float]:
    """A clock that grows by the same step whenever it is read."""
    ticks = count()
    return lambda: next(ticks) * step


Arguments = TypeVarTuple("Arguments")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop in which nobody waits: when there is nothing to do, it is at once as late as it will be."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timers = 0
        """How many were set so far."""
        super().__init__(_VirtualTimeSelector(self))

    def time(self) -> float:
        return self.seconds

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


class _VirtualTimeSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.seconds += timeout or 0
        return super().select(0)


def make_rate_limits(
    requests: Sequence[RateLimitItem] = (), failed_authentications: Sequence[RateLimitItem] = ()
) -> RateLimits:
    return RateLimits(
        requests=requests,
        failed_authentications=failed_authentications,
        new_posts=(),
        publishing=(),
        subscriptions=(),
        now=lambda: NOW,
    )


def build_middleware(
    app: ASGIApp,
    observer: RecordingObserver,
    *,
    limits: RateLimits | None = None,
    origins: Sequence[str] = (),
    timeout: timedelta = LONG_TIMEOUT,
) -> RequestLoggingMiddleware:
    """The whole edge around an app, composed as its package says."""
    inner = RequestTimeoutMiddleware(app, timeout=timeout, render=render_error)
    safe = ErrorMiddleware(inner, render=render_error, report=observer.request_failed)
    return RequestLoggingMiddleware(
        add_cors(safe, origins, render_error),
        observer=observer,
        rate_limits=limits or make_rate_limits(),
        random_bytes=sequential_random_bytes(),
        monotonic=stepping_clock(),
    )


@asynccontextmanager
async def http_client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of this app; exceptions that escape the app are raised in the test."""
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge.test") as client:
        yield client
