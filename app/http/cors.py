"""Cross-origin requests of browsers (CORS), by Starlette's rules."""

from collections.abc import Collection
from functools import partial

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Scope, Send

from app.domain.errors import InvalidInput
from app.http.request import HttpRequest

_PREFLIGHT_MAX_AGE_SECONDS = 600


class Cors:
    """Permission for pages of some origins (`*`: all) to call the API.

    A preflight has no API key and is not counted. Error responses have the headers too. Credentials are
    never allowed: cookies authenticate only requests from the own origin.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._middleware = CORSMiddleware(
            Response(),  # never called: only methods of the middleware are used
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
        if _is_preflight(scope):  # its response has headers of its own, and a rejection has none
            return send
        return partial(self._middleware.send, send=send, request_headers=Headers(scope=scope))

    def answer_preflight(self, request: HttpRequest) -> Response | None:
        """Return the response to a preflight, None for another request; raises InvalidInput if rejected."""
        if not _is_preflight(request.scope):
            return None
        response = self._middleware.preflight_response(Headers(scope=request.scope))
        if response.status_code != 200:
            raise InvalidInput(
                f"CORS does not allow this request: {bytes(response.body).decode()}."
                " The operator sets allowed origins in CORS_ORIGINS."
            )
        return response


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and _PREFLIGHT_HEADERS.issubset(dict(scope["headers"]))


_PREFLIGHT_HEADERS = frozenset({b"origin", b"access-control-request-method"})
