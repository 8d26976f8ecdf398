"""The envelope around every REST answer, `{data, error, meta}`, as a response. Knows no endpoint."""

from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from app.domain.errors import InvalidApiKey, PostResultsError
from app.domain.times import format_instant
from app.http.not_modified import matches, weak_etag
from app.http.state import request_state
from app.rest.errors import error_object

_JSON = "application/json"


def envelope_data(
    request: Request, data: dict[str, Any], now: datetime, *, retry_after: int | None
) -> Response:
    """A success, or 304 without a body for a caller that has the same data already.

    The tag covers the data alone, for `meta` is new every time. `retry_after` is in seconds.
    """
    printed = orjson.dumps(data)
    etag = weak_etag(printed)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if_none_match = request.headers.getlist("If-None-Match")
    if if_none_match and matches(", ".join(if_none_match), etag):
        return Response(status_code=304, headers=headers)
    meta = _meta(request.scope, now)
    body = b'{"data":%b,"error":null,"meta":%b}' % (printed, meta)
    return Response(body, headers=headers, media_type=_JSON)


def envelope_done(scope: Scope, data: dict[str, Any], now: datetime, *, status: int) -> Response:
    """What a request changed; nobody keeps it, since asking again would change more."""
    body = b'{"data":%b,"error":null,"meta":%b}' % (orjson.dumps(data), _meta(scope, now))
    return Response(body, status, {"Cache-Control": "no-store"}, _JSON)


def envelope_error(scope: Scope, error: PostResultsError, now: datetime) -> Response:
    """A failure, with the status and the headers that belong to it."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InvalidApiKey):
        headers["WWW-Authenticate"] = "Bearer"
    body = b'{"data":null,"error":%b,"meta":%b}' % (
        orjson.dumps(error_object(error)),
        _meta(scope, now),
    )
    return Response(body, error.http_status, headers, _JSON)


def _meta(scope: Scope, now: datetime) -> bytes:
    return orjson.dumps(
        {"request_id": request_state(scope)["request_id"], "timestamp": format_instant(now)}
    )
