"""The envelope around every REST answer, `{data, error, meta}`, as a response. Knows no endpoint."""

from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from app.domain.errors import InvalidApiKey, PostResultsError
from app.domain.times import format_instant
from app.http.etags import etag_matches, weak_etag
from app.http.request_headers import combined_header
from app.http.responses import BytesResponse
from app.http.state import request_state
from app.rest.errors import error_object

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")


def query_response(
    request: Request, data: dict[str, Any], now: datetime, *, retry_after: int | None
) -> Response:
    """A success, or 304 without a body for a caller that has the same data already.

    The tag covers the data alone, for `meta` is new every time. `retry_after` is in seconds.
    """
    printed = orjson.dumps(data)
    etag = weak_etag(printed)
    headers = [(b"etag", etag.encode()), (b"cache-control", b"private, no-cache")]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    if_none_match = combined_header(request.scope, b"if-none-match")
    if if_none_match and etag_matches(if_none_match, etag):
        response = Response(status_code=304)
        response.raw_headers.extend(headers)
        return response
    meta = _meta(request.scope, now)
    body = b'{"data":%b,"error":null,"meta":%b}' % (printed, meta)
    return BytesResponse(body, 200, (_JSON, *headers))


def mutation_response(
    scope: Scope, data: dict[str, Any], now: datetime, *, status: int
) -> Response:
    """What a request changed; nobody keeps it, since asking again would change more."""
    body = b'{"data":%b,"error":null,"meta":%b}' % (orjson.dumps(data), _meta(scope, now))
    return BytesResponse(body, status, (_JSON, _NO_STORE))


def error_response(scope: Scope, error: PostResultsError, now: datetime) -> Response:
    """A failure, with the status and the headers that belong to it."""
    body = b'{"data":null,"error":%b,"meta":%b}' % (
        orjson.dumps(error_object(error)),
        _meta(scope, now),
    )
    response = BytesResponse(body, error.http_status, (_JSON, _NO_STORE))
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InvalidApiKey):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _meta(scope: Scope, now: datetime) -> bytes:
    return orjson.dumps(
        {"request_id": request_state(scope)["request_id"], "timestamp": format_instant(now)}
    )
