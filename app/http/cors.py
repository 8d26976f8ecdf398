"""Cross-origin requests of browsers (CORS), by Starlette's rules."""

from collections.abc import Collection
from functools import partial

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.domain.errors import InvalidInput
from app.http.request import HttpRequest

_PREFLIGHT_MAX_AGE_SECONDS = 600


class Cors:
    """Permission for pages of some origins (`*`: all) to call the API.

    A preflight has no API key and is not counted. Error responses have the headers too. Credentials are
    never allowed, because the API authenticates by header only.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._middleware = CORSMiddleware(
            _no_app,
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

    def wrap_send(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that adds the headers of CORS to the response."""
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and _PREFLIGHT_HEADERS.issubset(headers.keys()):
            return send
        return partial(self._middleware.send, send=send, request_headers=headers)

    def answer_preflight(self, request: HttpRequest) -> Response | None:
        """Return the response to a preflight, None for another request; raises InvalidInput if rejected."""
        headers = Headers(scope=request.scope)
        if request.method != "OPTIONS" or not _PREFLIGHT_HEADERS.issubset(headers.keys()):
            return None
        response = self._middleware.preflight_response(headers)
        if response.status_code != 200:
            raise InvalidInput(
                f"CORS does not allow this request: {bytes(response.body).decode()}."
                " The operator sets allowed origins in CORS_ORIGINS."
            )
        return response


_PREFLIGHT_HEADERS = frozenset({"origin", "access-control-request-method"})


async def _no_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError  # only the methods of the middleware are used
