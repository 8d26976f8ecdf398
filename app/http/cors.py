"""Which pages of other origins may call the API, and what of an answer they see."""

from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import InvalidInput
from app.http.responses import ErrorRenderer
from app.http.state import record_error

_PREFLIGHT_MAX_AGE_SECONDS = 600


def add_cors(app: ASGIApp, origins: Collection[str], render: ErrorRenderer) -> ASGIApp:
    """Let pages of these origins call the app (`*`: all); without origins the app as it is.

    Must stand outside of whatever answers errors, and outside of authentication and rate limits:
    errors need the headers as well, and a preflight carries no key. Cookies are never allowed,
    since nothing here is done on the strength of one.
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
    """Answers a preflight that it refuses as every other error is answered."""

    def __init__(self, app: ASGIApp, *, render: ErrorRenderer, **options: Any) -> None:
        super().__init__(app, **options)
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except _PreflightRejected as refused:
            error = InvalidInput(str(refused))
            record_error(scope, error)
            await self._render(scope, error)(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code != 200:
            raise _PreflightRejected(
                f"A page may not send this request: {bytes(response.body).decode()}."
                " The operator names the origins of pages in CORS_ORIGINS."
            )
        return response


class _PreflightRejected(Exception):
    """What a page of another origin asked to send and may not."""
