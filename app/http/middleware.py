"""Middleware for the root path, CORS and uncaught exceptions."""

from collections.abc import Callable, Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import (
    MASKED_MESSAGE,
    InternalError,
    InvalidInput,
    PostResultsError,
    RequestError,
)
from app.http.request_scope import record_error, request_state
from app.http.responses import ErrorRenderer, ResponseStateSend


class RootPathMiddleware:
    """Middleware that adds the prefix to paths without it, and sets it as the `root_path`.

    The prefix itself, without a slash, becomes the path of the index.

    Must be outside of everything that reads paths. The `root_path` option of servers is no
    replacement: servers prepend it to every path, also to one that has the prefix already.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._root_path and scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if path == self._root_path:
                path = f"{path}/"
            elif not path.startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self.app(scope, receive, send)


_PREFLIGHT_MAX_AGE_SECONDS = 600


def add_cors(app: ASGIApp, origins: Collection[str], render: ErrorRenderer) -> ASGIApp:
    """Let pages of these origins call the app (`*`: all); without origins return the app unchanged.

    Must be outside of error handling, authentication and rate limits: error responses need the
    headers too, and a preflight has no API key. Credentials are never allowed, because the API
    authenticates by header only.
    """
    if not origins:
        return app
    return _ErrorRenderingCORSMiddleware(
        app,
        render=render,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
        allow_headers=(
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-None-Match",
            "X-Allow-Duplicate",
            "X-Request-Id",
        ),
        expose_headers=(
            "X-Request-Id",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "Retry-After",
            "ETag",
            "Allow",
        ),
        max_age=_PREFLIGHT_MAX_AGE_SECONDS,
    )


class _ErrorRenderingCORSMiddleware(CORSMiddleware):
    """Middleware that renders a rejected preflight like every other error."""

    def __init__(self, app: ASGIApp, *, render: ErrorRenderer, **options: Any) -> None:
        super().__init__(app, **options)
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except _PreflightRejected as rejection:
            error = InvalidInput(str(rejection))
            record_error(scope, error)
            await self._render(scope, error)(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code != 200:
            raise _PreflightRejected(
                f"CORS does not allow this request: {bytes(response.body).decode()}."
                " The operator sets allowed origins in CORS_ORIGINS."
            )
        return response


class _PreflightRejected(Exception):
    """Rejection of a preflight for a request that CORS does not allow."""


class ErrorMiddleware:
    """Middleware that renders a PostResultsError, and any other exception as a masked InternalError.

    Failures that the client did not cause go to `report(request_id, exception)` first. A response
    that has started is left incomplete, and the server closes the connection.
    """

    def __init__(
        self, app: ASGIApp, *, render: ErrorRenderer, report: Callable[[str, Exception], None]
    ) -> None:
        self.app = app
        self._render = render
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        response = ResponseStateSend.wrap(send)
        try:
            await self.app(scope, receive, response)
        except ClientDisconnect:
            return
        except Exception as exception:  # noqa: BLE001 - the last handler of every request
            if not isinstance(exception, RequestError):
                self._report(request_state(scope)["request_id"], exception)
            error = (
                exception
                if isinstance(exception, PostResultsError)
                else InternalError(MASKED_MESSAGE)
            )
            record_error(scope, error)
            if not response.has_started:
                await self._render(scope, error)(scope, receive, response)
