"""The headers of a request, looked up in the list that the server gives. Knows none by name but one.

Starlette's look-ups decode as they go and raise where there is nothing, once for each name.
"""

from collections.abc import Mapping

from starlette.types import Scope

RawHeaders = Mapping[bytes, bytes]
"""By their names in lower case; of several with one name the first."""


def headers_dict(scope: Scope) -> RawHeaders:
    return dict(reversed(scope["headers"]))


def combined_header(scope: Scope, name: bytes) -> str:
    """All lines with this name as one, which says the same (RFC 9110, 5.3); empty if there is none."""
    return b",".join([value for key, value in scope["headers"] if key == name]).decode("latin-1")


def bearer_token(scope: Scope) -> str | None:
    """The token of `Authorization: Bearer …`; None where the header is something else or missing."""
    return parse_bearer(headers_dict(scope).get(b"authorization", b"").decode("latin-1"))


def parse_bearer(authorization: str) -> str | None:
    """The token of such a header's value."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
