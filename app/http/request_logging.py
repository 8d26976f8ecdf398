"""Middleware that gives each request an id, adds common headers, and records it when it ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.rate_limits import RateLimits, rate_limit_headers
from app.http.request_scope import RequestState, request_state
from app.http.responses import ResponseStateSend
from app.observability.recorders import RequestRecord

_CLIENT_CLOSED_REQUEST = 499
"""Status that is logged when the client disconnects before the response; never sent."""

_REQUEST_ID_BYTES = 4
_MAX_LOGGED_LENGTH = 200
"""Characters of a path or operation name chosen by the client."""


class RequestObserver(Protocol):
    """Observer of the start and the end of each request."""

    def request_started(self) -> None: ...

    def request_finished(self, record: RequestRecord) -> None:
        """Record the end of a request; called once for each start, also after a failure or a timeout."""


class RequestLoggingMiddleware:
    """Middleware around all others except RootPathMiddleware.

    It adds X-Request-Id and the rate limit headers to every response.

    `random_bytes` makes the ids; `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        observer: RequestObserver,
        rate_limits: RateLimits,
        random_bytes: Callable[[int], bytes],
        monotonic: Callable[[], float],
    ) -> None:
        self.app = app
        self._observer = observer
        self._rate_limits = rate_limits
        self._random_bytes = random_bytes
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        request_id = new_request_id(self._random_bytes)
        scope = {**scope, "state": {**scope.get("state", {}), "request_id": request_id}}
        response = _HeaderAddingSend(send, request_state(scope), self._rate_limits)
        client_left = False

        async def tracked_receive() -> Message:
            nonlocal client_left
            message = await receive()
            # Servers send the same message after a complete response, without any disconnect.
            if message["type"] == "http.disconnect" and not response.is_complete:
                client_left = True
            return message

        started_at = self._monotonic()
        self._observer.request_started()
        try:
            await self.app(scope, tracked_receive, response)
        finally:
            duration = timedelta(seconds=self._monotonic() - started_at)
            status = _CLIENT_CLOSED_REQUEST if client_left else response.status or 500
            self._observer.request_finished(
                _request_record(
                    scope, status=status, duration=duration, body_bytes=response.body_bytes
                )
            )


def new_request_id(random_bytes: Callable[[int], bytes]) -> str:
    """Create the id of a request, eight hex digits, that connects a response with its log line."""
    return random_bytes(_REQUEST_ID_BYTES).hex()


class _HeaderAddingSend(ResponseStateSend):
    """ASGI send callable that adds the headers common to all responses."""

    def __init__(self, send: Send, state: RequestState, rate_limits: RateLimits) -> None:
        super().__init__(send)
        self._state = state
        self._rate_limits = rate_limits

    def start(self, message: Message) -> None:
        super().start(message)
        message["headers"] = [
            *message.get("headers", ()),
            (b"x-request-id", self._state["request_id"].encode()),
            *rate_limit_headers(
                self._state.get("rate_limit_status") or self._rate_limits.default_status()
            ),
        ]


def _request_record(
    scope: Scope, *, status: int, duration: timedelta, body_bytes: int
) -> RequestRecord:
    state = request_state(scope)
    client = scope.get("client")
    operation_name = state.get("operation_name")
    return RequestRecord(
        request_id=state["request_id"],
        method=scope["method"],
        route=state.get("route") or getattr(scope.get("route"), "path", None),
        path=scope["path"][:_MAX_LOGGED_LENGTH],
        status=status,
        duration=duration,
        body_bytes=body_bytes,
        client_address=client[0] if client else None,
        api=state.get("api"),
        api_key_id=state.get("api_key_id"),
        workspace_id=state.get("workspace_id"),
        operation_name=operation_name[:_MAX_LOGGED_LENGTH] if operation_name else None,
        operation_type=state.get("operation_type"),
        error_codes=tuple(state.get("error_codes", ())),
        is_latency_measured=state.get("is_latency_measured", True),
    )
