"""Responses that are sent in one step, and the headers of errors."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from starlette.responses import Response as StarletteResponse

from app.domain.errors import (
    InvalidApiKey,
    InvalidHost,
    MethodNotAllowed,
    PostResultsError,
    TooManyConnections,
)

RawHeader: TypeAlias = tuple[bytes, bytes]


class BytesResponse(NamedTuple):
    """Response of a given body and raw headers, without Content-Length."""

    body: bytes
    status: int
    headers: Sequence[RawHeader]


Response: TypeAlias = BytesResponse | StarletteResponse


def error_headers(error: PostResultsError) -> list[RawHeader]:
    """Return the headers that an error has in every API, such as Retry-After."""
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, InvalidApiKey):
        # required with every 401: RFC 9110, 15.5.2
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))  # required with every 405: 15.5.6
    if isinstance(error, TooManyConnections | InvalidHost):
        headers.append((b"connection", b"close"))
    return headers
