"""Data of a request in its ASGI scope: shared state, client, headers and query string.

Starlette's accessors decode the list of headers on every look-up and raise for a missing name.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict
from urllib.parse import unquote_to_bytes

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Scope

from app.domain.errors import InvalidInput, PostResultsError
from app.domain.ids import ApiKeyId, WorkspaceId

RawHeaders = Mapping[bytes, bytes]
"""Headers by lower-case name; the first of several with one name."""

_JSON_MEDIA_RANGES = ("application/json", "application/*", "*/*")
"""Media ranges that include JSON, the most specific one first."""

_NO_PARAMETERS = QueryParams()
"""Result for requests without parameters; shared, because they are frequent and building one takes time."""


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """State of a rate limit; at `resets_at` (Unix seconds) the full limit is available again."""

    limit: int
    remaining: int
    resets_at: int


class RequestState(TypedDict, total=False):
    """Keys of `scope["state"]`, each set by the layer that learns the fact and logged by the middleware."""

    request_id: str
    """Id of the request, set by the logging middleware."""
    api: str
    """API that was called: `graphql`, `rest`, …; a label of metrics, so one of a few words."""
    route: str
    """Path template; defaults to the one that Starlette's router matched."""
    api_key_id: ApiKeyId
    workspace_id: WorkspaceId
    rate_limit_status: RateLimitStatus
    operation_name: str
    """Name of the GraphQL operation, chosen by the client."""
    operation_type: str
    """`query`, `mutation` or `subscription`."""
    error_codes: list[str]
    """Codes of the errors in the response, in lower case for every API; see `record_error`."""
    disable_timeout: Callable[[], None]
    """Function that disables the timeout of this request, for a response that stays open."""
    is_latency_measured: bool
    """False for long polls and streams, whose duration says nothing about the server."""


def request_state(scope: Scope) -> RequestState:
    """Return the mutable state of a request."""
    state: RequestState = scope.setdefault("state", {})
    return state


def record_error(scope: Scope, error: PostResultsError) -> None:
    """Add the code of an error in the response to the request's state."""
    request_state(scope).setdefault("error_codes", []).append(error.code.value)


class Client(NamedTuple):
    """Client of a request, not authenticated yet."""

    token: str | None
    """API key; None if the client sent none."""
    address: str | None
    """IP address; None for a Unix socket."""


def read_client(scope: Scope) -> Client:
    """Read the client from the Authorization header and the connection."""
    authorization = headers_dict(scope).get(b"authorization", b"").decode("latin-1")
    connection = scope.get("client")
    return Client(parse_bearer(authorization), connection[0] if connection else None)


def headers_dict(scope: Scope) -> RawHeaders:
    """Return all headers of the request."""
    return dict(reversed(scope["headers"]))


def combined_header(scope: Scope, name: bytes) -> str:
    """Return all lines of one header, joined by commas (RFC 9110, 5.3); empty if it is missing."""
    return b",".join([value for key, value in scope["headers"] if key == name]).decode("latin-1")


def parse_bearer(authorization: str) -> str | None:
    """Return the token of an Authorization header's value; None for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


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


def read_query_string(request: Request[Any]) -> QueryParams:
    """Parse the parameters of the URL; raises InvalidInput unless they are UTF-8.

    Starlette would replace bytes that are not UTF-8 by other characters.
    """
    if not request.scope["query_string"]:
        return _NO_PARAMETERS
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise InvalidInput("The query string must be UTF-8, percent-encoded.") from None
    return request.query_params
