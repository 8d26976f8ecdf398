"""Test doubles for HTTP: a client that sends in pieces and may disconnect, handlers, and a recorder."""

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple, TypeVarTuple, cast

import httpx
import pytest
from starlette.types import ASGIApp, Message, Scope

from app.domain.errors import PostResultsError, ServiceUnavailable
from app.domain.rate_limits import RateLimit, parse_rate_limits
from app.http.application import Handler, HttpApplication
from app.http.cors import Cors
from app.http.fair_queue import FairQueue
from app.http.memory_budget import MemoryBudget
from app.http.rate_limits import RateLimits
from app.http.request import HttpRequest, ResponseLimits
from app.http.responses import BytesResponse, Response, error_headers
from app.observability.request_recorder import RequestRecord, RequestRecorder

NOW = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
LONG_TIMEOUT = timedelta(minutes=5)
NO_TIME = timedelta(0)
UNLIMITED_BYTES = 1 << 30


def http_scope(
    method: str = "GET", path: str = "/", headers: Sequence[tuple[bytes, bytes]] = ()
) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
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
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"]) if self.sent else {}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def send_request(app: ASGIApp, *pieces: bytes, scope: Scope | None = None) -> ASGIClient:
    """Send a request, by default a GET request, and return its client when the app has ended."""
    client = ASGIClient(*pieces)
    await app(scope or http_scope(), client.receive, client.send)
    return client


async def cancel_when_running(app: ASGIApp, inner: "BlockingHandler", client: ASGIClient) -> None:
    """Send a request, and cancel its task as a server does when the blocking handler is running."""
    request = asyncio.ensure_future(app(http_scope(), client.receive, client.send))
    await inner.is_running.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


def make_request(
    scope: Scope | None = None,
    client: ASGIClient | None = None,
    *,
    query_string: str = "",
    path_parameters: dict[str, str] | None = None,
) -> HttpRequest:
    """Create a request for code that reads it; no task runs it, so that it cannot be interrupted."""
    client = client or ASGIClient()
    request = HttpRequest(
        {**(scope or http_scope()), "query_string": query_string.encode()},
        client.receive,
        client.send,
        request_id="0000cafe",
        default_rate_limit=make_rate_limits().default_status,
        is_draining=lambda: False,
        response_limits=make_response_limits(),
        task=cast("asyncio.Task[Any]", None),
    )
    request.path_parameters = path_parameters or {}
    return request


# Handlers


def responding(response: Response) -> Handler:
    """Create a handler that always responds the same."""

    async def handle(_request: HttpRequest) -> Response:
        return response

    return handle


def raising(error: BaseException) -> Handler:
    """Create a handler that raises an error."""

    async def handle(_request: HttpRequest) -> Response:
        raise error

    return handle


class BlockingHandler:
    """A handler that waits until it is cancelled, and records what happened to it."""

    def __init__(self, *, starts_response: bool = False) -> None:
        self.starts_response = starts_response
        self.is_running = asyncio.Event()
        self.was_cancelled = False
        self.cleaned_up = asyncio.Event()

    async def __call__(self, request: HttpRequest) -> Response:
        if self.starts_response:
            await request.send({"type": "http.response.start", "status": 200})
            body: Message = {"type": "http.response.body", "body": b"beginning", "more_body": True}
            await request.send(body)
        self.is_running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            await asyncio.sleep(0)
            self.cleaned_up.set()
        raise AssertionError("an event that is never set")


# The application around a handler


class FinishedRequest(NamedTuple):
    """Arguments of the call that records the end of a request."""

    request: RequestRecord
    status: int
    seconds: float


class CallRecorder(RequestRecorder):
    """Records the calls of the application, in order."""

    def __init__(self) -> None:
        self.started = 0
        self.finished: list[FinishedRequest] = []
        self.failures: list[tuple[str, Exception]] = []

    def request_started(self) -> None:
        self.started += 1

    def request_finished(self, request: RequestRecord, status: int, seconds: float) -> None:
        self.finished.append(FinishedRequest(request, status, seconds))

    def request_failed(self, request_id: str, exception: Exception) -> None:
        self.failures.append((request_id, exception))

    @property
    def statuses(self) -> list[int]:
        return [finished.status for finished in self.finished]

    @property
    def routes(self) -> list[tuple[str | None, str | None]]:
        """API and route of each finished request."""
        return [(finished.request.api, finished.request.route) for finished in self.finished]

    @property
    def error_codes(self) -> list[tuple[str, ...]]:
        return [finished.request.error_codes for finished in self.finished]


def render_error(request: HttpRequest, error: PostResultsError) -> BytesResponse:
    """Render an error in a form that no API uses."""
    body = {"code": error.code, "message": error.message, "id": request.request_id}
    return BytesResponse(json.dumps(body).encode(), error.http_status, error_headers(error))


def build_application(
    handle: Handler,
    recorder: RequestRecorder | None = None,
    *,
    rate_limits: RateLimits | None = None,
    origins: Sequence[str] = (),
    is_draining: Callable[[], bool] = lambda: False,
    timeout: timedelta = LONG_TIMEOUT,
    send_timeout: timedelta = LONG_TIMEOUT,
    max_response_bytes: int = UNLIMITED_BYTES,
) -> HttpApplication:
    """Create the application around a handler; request ids count from 1, and each request takes 0.25 s."""
    return HttpApplication(
        handle,
        recorder=recorder or CallRecorder(),
        render=render_error,
        cors=Cors(origins) if origins else None,
        default_rate_limit=(rate_limits or make_rate_limits()).default_status,
        is_draining=is_draining,
        queue=FairQueue(lambda request: request.token, timeout),
        response_limits=make_response_limits(max_response_bytes, send_timeout),
        timeout=timeout,
        random_bytes=sequential_random_bytes(),
        monotonic=stepping_clock(),
    )


def make_response_limits(
    max_bytes: int = UNLIMITED_BYTES, send_timeout: timedelta = LONG_TIMEOUT
) -> ResponseLimits:
    """Create limits of large responses, with the usual time after which a client is slow."""
    return ResponseLimits(
        budget=MemoryBudget(max_bytes, lambda: ServiceUnavailable("Full.", retry_after=5)),
        send_timeout=send_timeout,
        slow_period=timedelta(seconds=60),
    )


@asynccontextmanager
async def http_client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP client of an app; exceptions that escape the app are raised in the test."""
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge.test") as client:
        yield client


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
    sessions: str = "",
    clock: Callable[[], datetime] = lambda: NOW,
) -> RateLimits:
    """Rate limits from texts such as `2/minute;5/hour`; an empty text limits nothing."""
    return RateLimits(
        requests=_parse_limits(requests),
        failed_authentications=_parse_limits(failed_authentications),
        new_posts=_parse_limits(new_posts),
        publishing=_parse_limits(publishing),
        subscriptions=_parse_limits(subscriptions),
        sessions=_parse_limits(sessions),
        now=clock,
    )


def _parse_limits(text: str) -> Sequence[RateLimit]:
    return parse_rate_limits(text) if text else ()
