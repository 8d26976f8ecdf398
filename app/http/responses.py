"""Complete responses, their pieces, and the headers of errors."""

from collections.abc import Iterator, Sequence
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

PIECE_BYTES = 16 * 1024
"""Largest part of a response that is passed to the server's connection in one message.

The connection copies what it cannot send. A larger response waits outside, where its bytes are shared.
"""


class BytesResponse(NamedTuple):
    """Response of a given body and raw headers, without Content-Length."""

    body: bytes
    status: int
    headers: Sequence[RawHeader]


def split(*parts: bytes) -> Iterator[bytes]:
    """Yield the parts one after the other, those that are larger than a piece in pieces."""
    for part in parts:
        for start in range(0, len(part), PIECE_BYTES):
            yield part[start : start + PIECE_BYTES]


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
