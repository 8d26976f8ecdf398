"""CORS: which origins may call the API from a browser, and which response headers they may read."""

from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import InvalidInput
from app.http.request_scope import record_error
from app.http.responses import ErrorRenderer

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
