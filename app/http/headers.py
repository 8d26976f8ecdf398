"""Parses headers and the query string of a request."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from starlette.datastructures import QueryParams

from app.domain.errors import InvalidInput

_JSON_MEDIA_RANGES = ("application/json", "application/*", "*/*")
"""Media ranges that include JSON, the most specific one first."""

_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""Value of a Host header: a name or an address, and an optional port (RFC 9110, 7.2)."""

_NO_PARAMETERS = QueryParams()
"""Result for requests without parameters; shared, because they are frequent and building one takes time."""


def host_problem(hosts: Sequence[bytes], http_version: str) -> str | None:
    """Return the problem with the Host headers of a request, as a sentence; None if they are valid.

    A recipient that took the other of two would see another server (RFC 9112, 3.2).
    """
    if len(hosts) > 1:
        return f"The request has {len(hosts)} Host headers. Send exactly one."
    if not hosts:
        return None if http_version == "1.0" else "The request has no Host header. Send one."
    if not _HOST.fullmatch(hosts[0]):
        return "The Host header is not the name of a server, optionally with a port."
    return None


def parse_bearer(authorization: str) -> str | None:
    """Return the token of an Authorization header's value; None for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def find_cookie(headers: Mapping[bytes, bytes], name: str) -> str | None:
    """Return the value of the first cookie with the name."""
    for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return None


@lru_cache(maxsize=32)
def parse_accept(header: str) -> Mapping[str, float]:
    """Parse the weights of an Accept-* header (RFC 9110, 12.4.2) by lower-case name; skip malformed items."""
    weights: dict[str, float] = {}
    for item in header.split(","):
        name, parameters = parse_parameters(item)
        with suppress(ValueError):
            weights[name] = float(parameters.get("q", "1"))
    return weights


def json_weight(accepted: Mapping[str, float]) -> float:
    """Weight of JSON in a parsed Accept header: that of the most specific media range, or 0."""
    return next((accepted[name] for name in _JSON_MEDIA_RANGES if name in accepted), 0)


def parse_parameters(text: str) -> tuple[str, dict[str, str]]:
    """Split `text/html; charset="utf-8"` into the lower-case value and its parameters."""
    name, *parameters = (part.strip() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return name.lower(), {key.lower(): value.strip('"') for key, _, value in pairs}


def parse_query_string(query_string: bytes) -> QueryParams:
    """Parse the parameters of the URL; raises InvalidInput unless they are UTF-8.

    Starlette would replace bytes that are not UTF-8 by other characters.
    """
    if not query_string:
        return _NO_PARAMETERS
    try:
        unquote_to_bytes(query_string).decode()
    except UnicodeDecodeError:
        raise InvalidInput("The query string must be UTF-8, percent-encoded.") from None
    return QueryParams(query_string)
