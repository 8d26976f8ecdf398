"""GraphQL over HTTP by GET and POST.

Status codes follow https://graphql.github.io/graphql-over-http/draft/. A malformed request (no JSON, no
query) gets a 4xx under either media type. A well-formed request whose document is not executed gets the
status of its error under application/graphql-response+json ("Status Codes"), and 200 under
application/json ("Legacy Watershed"), as older clients expect.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import NamedTuple

import orjson
from starlette.datastructures import QueryParams

from app.domain.errors import (
    DocumentError,
    InvalidJson,
    MethodNotAllowed,
    PostResultsError,
    concrete_errors,
)
from app.graphql.engine.errors import error_entry, to_json
from app.graphql.engine.operation_request import OperationRequest, read_operation_request
from app.graphql.engine.prepared_operation import OperationTypeNotAllowed
from app.graphql.service import QUERY_AND_MUTATION, QUERY_ONLY, SUBSCRIPTION_ONLY, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.transport.sse import EVENT_STREAM, SSEResponse, stream_single_result
from app.http.body import is_json, read_body, read_json_object, require_json
from app.http.headers import json_weight, parse_accept
from app.http.request import HttpRequest
from app.http.responses import BytesResponse, RawHeader, Response, error_headers
from app.http.session_cookies import ReadSession
from app.runtime.computations import compute

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"

_MAX_INLINE_BODY_BYTES = 64 << 10
"""Length of a body that is parsed in the event loop, in at most 10 ms: it may consist of empty lists."""

_STATUS_BY_CODE = {error.code.name: error.http_status for error in concrete_errors()}


def graphql_error_response(accept: str, request_id: str, error: PostResultsError) -> BytesResponse:
    """Build the response, for an Accept header, to a request that is rejected before its execution."""
    media_type = _choose_format(accept).media_type
    is_document_error = isinstance(error, DocumentError)
    return _json_response(
        orjson.dumps({"errors": [error_entry(error, request_id)]}),
        status=200 if is_document_error and media_type == JSON else error.http_status,
        media_type=media_type,
        headers=error_headers(error),
    )


class GraphQLEndpoint:
    """Handler of GET and POST; a browser that navigates to its URL gets the GraphiQL page."""

    def __init__(
        self,
        service: GraphQLService,
        *,
        graphiql_page: Callable[[], Response],
        read_session: ReadSession,
        max_body_bytes: int,
    ) -> None:
        """Create a handler; `read_session` returns the session that may authenticate a POST."""
        self._service = service
        self._graphiql_page = graphiql_page
        self._read_session = read_session
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: HttpRequest) -> Response:
        request.api = "graphql"
        if request.method not in ("GET", "POST"):
            raise _method_not_allowed_error(f"{request.method} is not allowed", "GET, POST")
        # Only JSON, because a form of another page can send other types without asking the server before.
        if request.token is None and request.method == "POST" and is_json(request):
            request.token = self._read_session(request.scope, request.headers)
        if request.method == "GET" and _is_browser_navigation(request):
            return self._graphiql_page()
        negotiated = _choose_format(request.combined_header(b"accept"))
        allowed_types = QUERY_ONLY if request.method == "GET" else QUERY_AND_MUTATION
        if negotiated.accepts_sse:
            allowed_types |= SUBSCRIPTION_ONLY
        try:
            result = await self._service.run(
                request, partial(self._read_request, request), allowed_types
            )
        except OperationTypeNotAllowed:
            raise _method_not_allowed_error("GET allows only queries", "POST") from None
        if isinstance(result, SubscriptionStream):
            return SSEResponse(result.responses(), self._service, request)
        if negotiated.accepts_only_sse:
            return SSEResponse(stream_single_result(result), self._service, request)
        status = 200
        if not result.is_executed and negotiated.media_type == GRAPHQL_RESPONSE:
            status = _STATUS_BY_CODE[result.errors[0]["extensions"]["code"]]
        return _json_response(to_json(result), status=status, media_type=negotiated.media_type)

    async def _read_request(self, request: HttpRequest) -> OperationRequest:
        if request.method == "GET":
            return _read_get_parameters(request)
        require_json(request)
        body = await read_body(request, self._max_body_bytes)
        if len(body) <= _MAX_INLINE_BODY_BYTES:
            return read_operation_request(read_json_object(body))
        return read_operation_request(await compute(read_json_object, body))


def _is_browser_navigation(request: HttpRequest) -> bool:
    """Return whether a browser navigates to the URL; it gets GraphiQL, because it cannot send an API key."""
    parameters = QueryParams(request.scope["query_string"])
    return (
        parameters.keys().isdisjoint(("query", "documentId", "extensions"))
        and parse_accept(request.combined_header(b"accept")).get("text/html", 0) > 0
    )


def _read_get_parameters(request: HttpRequest) -> OperationRequest:
    parameters: dict[str, object] = dict(request.query())
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = _parse_json_parameter(name, str(parameters[name]))
    if parameters.get("operationName") == "":
        parameters["operationName"] = None
    return read_operation_request(parameters)


def _parse_json_parameter(name: str, text: str) -> dict[str, object] | None:
    # HTML forms send an empty value for a field that is not filled in.
    if text in ("", "null"):
        return None
    try:
        return read_json_object(text.encode())
    except InvalidJson:
        problem = f"{name} must be a JSON object of moderate depth and size."
        raise InvalidJson(problem, argument=name) from None


class _NegotiatedResponse(NamedTuple):
    """Response format chosen from the Accept header."""

    media_type: str
    """Media type: graphql-response+json if the client names it and does not prefer JSON, else JSON.

    A client that accepts anything, or nothing that is available, gets JSON ("Legacy Watershed").
    """
    accepts_sse: bool
    """True if the client names text/event-stream; a wildcard does not count."""
    accepts_only_sse: bool
    """True if a single response must be an event stream too: the client does not accept JSON."""


@lru_cache(maxsize=32)
def _choose_format(header: str) -> _NegotiatedResponse:
    qualities = parse_accept(header)
    graphql_response = qualities.get(GRAPHQL_RESPONSE, 0)
    json = json_weight(qualities)
    accepts_sse = qualities.get(EVENT_STREAM, 0) > 0
    prefers_graphql_response = graphql_response > 0 and graphql_response >= json
    return _NegotiatedResponse(
        media_type=GRAPHQL_RESPONSE if prefers_graphql_response else JSON,
        accepts_sse=accepts_sse,
        accepts_only_sse=accepts_sse and graphql_response <= 0 and json <= 0,
    )


def _method_not_allowed_error(problem: str, allowed: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{problem}; use {allowed}.", allowed=allowed)


def _json_response(
    body: bytes, *, status: int, media_type: str, headers: Iterable[RawHeader] = ()
) -> BytesResponse:
    content_type = f"{media_type}; charset=utf-8".encode()
    return BytesResponse(
        body,
        status,
        ((b"cache-control", b"no-store"), (b"content-type", content_type), *headers),
    )
