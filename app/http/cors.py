"""Which pages of other origins may call the API, and what of an answer they see."""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

_MAX_AGE_SECONDS = 600


def with_cors(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    """Let pages of these origins call the app (`*`: all); without origins the app as it is.

    Must stand outside of whatever answers errors, and outside of authentication and rate limits:
    errors need the headers as well, and a preflight carries no key. Cookies are never allowed,
    since nothing here is done on the strength of one.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
        allow_headers=(
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-None-Match",
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
        max_age=_MAX_AGE_SECONDS,
    )
