"""Test doubles for ASGI: a client that sends in pieces and may disconnect, apps, and an observer."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVarTuple

import httpx
import limits
import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import PostResultsError
from app.http.middleware import ErrorMiddleware, add_cors
from app.http.rate_limits import RateLimits
from app.http.request_logging import RequestLoggingMiddleware
from app.http.request_scope import request_state
from app.http.timeout_middleware import RequestTimeoutMiddleware
from app.observability.recorders import RequestRecord

NOW = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
LONG_TIMEOUT = timedelta(minutes=5)
NO_TIME = timedelta(0)
UNMATCHED_RECORD = RequestRecord(
    request_id="00000001",
    method="GET",
    route=None,
    path="/",
    status=404,
    duration=timedelta(seconds=0.25),
    body_bytes=0,
    client_address=None,
    api=None,
    api_key_id=None,
    workspace_id=None,
    operation_name=None,
    operation_type=None,
    error_codes=(),
    is_latency_measured=True,
)
"""Record of the first request to the middleware of `build_middleware`, on a path without a route."""


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
    """Sends its body in pieces, then waits for the complete response or for `disconnect`."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces or (b"",))
        self._is_over = asyncio.Event()
        self.has_response = asyncio.Event()
        self.sent: list[Message] = []
        """Messages that the app sent so far."""
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


async def send_request(app: ASGIApp, *pieces: bytes, scope: Scope | None = None) -> ASGIClient:
    """Send a request, by default a GET request, and return its client when the app has ended."""
    client = ASGIClient(*pieces)
    await app(scope or http_scope(), client.receive, client.send)
    return client


async def cancel_when_running(app: ASGIApp, inner: "BlockingApp", client: ASGIClient) -> None:
    """Send a request, and cancel its task as a server does when the blocking app inside is running."""
    request = asyncio.ensure_future(app(http_scope(), client.receive, client.send))
    await inner.is_running.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


class BlockingApp:
    """An app that waits until it is cancelled, and records what happened to it."""

    def __init__(self, *, starts_response: bool = False) -> None:
        self.starts_response = starts_response
        self.is_running = asyncio.Event()
        self.was_cancelled = False
        self.cleaned_up = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.starts_response:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"beginning", "more_body": True})
        self.is_running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            await asyncio.sleep(0)
            self.cleaned_up.set()


class RecordingObserver:
    """Records all calls, in order."""

    def __init__(self) -> None:
        self.started = 0
        self.finished: list[RequestRecord] = []
        self.failures: list[tuple[str, Exception]] = []

    def request_started(self) -> None:
        self.started += 1

    def request_finished(self, record: RequestRecord) -> None:
        self.finished.append(record)

    def request_failed(self, request_id: str, exception: Exception) -> None:
        self.failures.append((request_id, exception))


def render_error(scope: Scope, error: PostResultsError) -> Response:
    """Render an error in a form that no API uses."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(
        {"code": error.code, "message": error.message, "id": request_state(scope)["request_id"]},
        status_code=error.http_status,
        headers=headers,
    )


def sequential_random_bytes() -> Callable[[int], bytes]:
    """Instead of random bytes: numbers counted from 1."""
    numbers = count(1)
    return lambda length: next(numbers).to_bytes(length, "big")


def stepping_clock(step: float = 0.25) -> Callable[[], float]:
    """A clock that advances by the same step on every call."""
    ticks = count()
    return lambda: next(ticks) * step


Arguments = TypeVarTuple("Arguments")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timers = 0
        """Number of timers that were set so far."""
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
    requests: str = "",
    *,
    failed_authentications: str = "",
    new_posts: str = "",
    publishing: str = "",
    subscriptions: str = "",
    clock: Callable[[], datetime] = lambda: NOW,
) -> RateLimits:
    """Rate limits from texts such as `2/minute;5/hour`; an empty text limits nothing."""
    return RateLimits(
        requests=_parse_limits(requests),
        failed_authentications=_parse_limits(failed_authentications),
        new_posts=_parse_limits(new_posts),
        publishing=_parse_limits(publishing),
        subscriptions=_parse_limits(subscriptions),
        now=clock,
    )


def _parse_limits(text: str) -> Sequence[limits.RateLimitItem]:
    return limits.parse_many(text) if text else ()


def build_middleware(
    app: ASGIApp,
    observer: RecordingObserver,
    *,
    rate_limits: RateLimits | None = None,
    origins: Sequence[str] = (),
    timeout: timedelta = LONG_TIMEOUT,
) -> RequestLoggingMiddleware:
    """All middleware around an app, composed as documented in `app.http`."""
    timeout_middleware = RequestTimeoutMiddleware(app, timeout=timeout, render=render_error)
    error_middleware = ErrorMiddleware(
        timeout_middleware, render=render_error, report=observer.request_failed
    )
    return RequestLoggingMiddleware(
        add_cors(error_middleware, origins, render_error),
        observer=observer,
        rate_limits=rate_limits or make_rate_limits(),
        random_bytes=sequential_random_bytes(),
        monotonic=stepping_clock(),
    )


@asynccontextmanager
async def http_client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP client of an app; exceptions that escape the app are raised in the test."""
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge.test") as client:
        yield client
