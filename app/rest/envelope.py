"""Responses of the REST API: the envelope `{data, error, meta}` around data or an error."""

import hashlib
import re
from datetime import datetime
from typing import Any

import orjson

from app.domain.errors import PostResultsError
from app.domain.times import format_instant
from app.http.request import HttpRequest
from app.http.responses import BytesResponse, error_headers
from app.rest.errors import error_object

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_ETAG_BYTES = 16
_OPAQUE_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
"""Quoted part of an entity tag (RFC 9110, 8.8.3)."""


def query_response(
    request: HttpRequest, data: dict[str, Any], now: datetime, *, retry_after: int | None
) -> BytesResponse:
    """Respond with data and their entity tag, or with 304 if the client has the same data.

    The tag covers the data only: `meta` differs in every response. `retry_after` is in seconds.
    """
    data_json = orjson.dumps(data)
    etag = weak_etag(data_json)
    headers = [(b"etag", etag.encode()), (b"cache-control", b"private, no-cache")]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    if_none_match = request.combined_header(b"if-none-match")
    if if_none_match and etag_matches(if_none_match, etag):
        return BytesResponse(b"", 304, headers)
    meta = _meta(request, now)
    body = b'{"data":%b,"error":null,"meta":%b}' % (data_json, meta)
    return BytesResponse(body, 200, (_JSON, *headers))


def mutation_response(
    request: HttpRequest, data: dict[str, Any], now: datetime, *, status: int
) -> BytesResponse:
    """Respond with the result of a write, which must not be cached."""
    body = b'{"data":%b,"error":null,"meta":%b}' % (orjson.dumps(data), _meta(request, now))
    return BytesResponse(body, status, (_JSON, _NO_STORE))


def error_response(request: HttpRequest, error: PostResultsError, now: datetime) -> BytesResponse:
    """Respond with an error, its HTTP status and its headers."""
    body = b'{"data":null,"error":%b,"meta":%b}' % (
        orjson.dumps(error_object(error)),
        _meta(request, now),
    )
    return BytesResponse(body, error.http_status, (_JSON, _NO_STORE, *error_headers(error)))


def weak_etag(data: bytes) -> str:
    """Tag of a response's content: equal for equal bytes."""
    return f'W/"{hashlib.sha256(data).hexdigest()[: 2 * _ETAG_BYTES]}"'


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """True if an If-None-Match header (RFC 9110, 13.1.2; lines joined by commas) names this tag.

    Tags are compared weakly: only the quoted part counts. `*` matches every tag.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return etag.removeprefix("W/") in _OPAQUE_TAG.findall(if_none_match)


def _meta(request: HttpRequest, now: datetime) -> bytes:
    return orjson.dumps({"request_id": request.request_id, "timestamp": format_instant(now)})
