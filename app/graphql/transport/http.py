"""GraphQL over HTTP by GET and POST.

Status codes follow https://graphql.github.io/graphql-over-http/draft/. A malformed request (no JSON, no
query) gets a 4xx under either media type. A well-formed request whose document is not executed gets the
status of its error under application/graphql-response+json ("Status Codes"), and 200 under
application/json ("Legacy Watershed"), as older clients expect.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.domain.errors import (
    DocumentError,
    InvalidJson,
    MethodNotAllowed,
    PostResultsError,
    RequestError,
    concrete_errors,
)
from app.graphql.engine.errors import error_entry
from app.graphql.engine.operation_request import OperationRequest, read_operation_request
from app.graphql.engine.prepared_operation import OperationTypeNotAllowed
from app.graphql.service import QUERY_AND_MUTATION, QUERY_ONLY, SUBSCRIPTION_ONLY, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.transport.sse import EVENT_STREAM, SSEResponse, stream_single_result
from app.http.body import read_body, read_json_object, require_json
from app.http.request_scope import (
    combined_header,
    headers_dict,
    json_weight,
    parse_accept,
    read_client,
    read_query_string,
    record_error,
    request_state,
)
from app.http.responses import BytesResponse, add_error_headers

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"

_STATUS_BY_CODE = {error.code.name: error.http_status for error in concrete_errors()}


def graphql_error_response(scope: Scope, error: PostResultsError) -> Response:
    """Build the response of a request that is rejected before its execution."""
    media_type = _negotiate_response(scope).media_type
    is_document_error = isinstance(error, DocumentError)
    response = _json_response(
        {"errors": [error_entry(error, request_state(scope)["request_id"])]},
        status=200 if is_document_error and media_type == JSON else error.http_status,
        media_type=media_type,
    )
    add_error_headers(response, error)
    return response


class GraphQLEndpoint:
    """ASGI app for GET and POST; a browser that navigates to its URL gets the GraphiQL page."""

    def __init__(
        self,
        service: GraphQLService,
        *,
        graphiql_page: Callable[[], Response],
        max_body_bytes: int,
    ) -> None:
        self._service = service
        self._graphiql_page = graphiql_page
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request_state(scope)["api"] = "graphql"
        try:
            response = await self._respond(request)
        except RequestError as error:
            record_error(scope, error)
            response = graphql_error_response(scope, error)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in ("GET", "POST"):
            return _method_not_allowed(request, f"{request.method} is not allowed", "GET, POST")
        if _is_browser_navigation(request):
            return self._graphiql_page()
        negotiated = _negotiate_response(request.scope)
        allowed_types = QUERY_ONLY if request.method == "GET" else QUERY_AND_MUTATION
        if negotiated.accepts_sse:
            allowed_types |= SUBSCRIPTION_ONLY
        client = read_client(request.scope)
        try:
            result = await self._service.run(
                client,
                request_state(request.scope),
                partial(self._read_request, request),
                allowed_types,
            )
        except OperationTypeNotAllowed:
            return _method_not_allowed(request, "GET allows only queries", "POST")
        if isinstance(result, SubscriptionStream):
            return SSEResponse(result.responses(), self._service, client)
        if negotiated.accepts_only_sse:
            return SSEResponse(stream_single_result(result), self._service, client)
        status = 200
        if not result.is_executed and negotiated.media_type == GRAPHQL_RESPONSE:
            status = _STATUS_BY_CODE[result.errors[0]["extensions"]["code"]]
        return _json_response(
            result.to_response_body(), status=status, media_type=negotiated.media_type
        )

    async def _read_request(self, request: Request) -> OperationRequest:
        if request.method == "GET":
            return _parse_query_string(request)
        require_json(headers_dict(request.scope))
        body = await read_body(request, self._max_body_bytes)
        return read_operation_request(read_json_object(body))


def _is_browser_navigation(request: Request) -> bool:
    """Return True for a browser that navigates to the URL; it has no API key, and a 401 would not help."""
    return (
        request.method == "GET"
        and request.query_params.keys().isdisjoint(("query", "documentId", "extensions"))
        and parse_accept(combined_header(request.scope, b"accept")).get("text/html", 0) > 0
    )


def _parse_query_string(request: Request) -> OperationRequest:
    parameters: dict[str, object] = dict(read_query_string(request))
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


def _negotiate_response(scope: Scope) -> _NegotiatedResponse:
    return _parse_accept(combined_header(scope, b"accept"))


@lru_cache(maxsize=32)
def _parse_accept(header: str) -> _NegotiatedResponse:
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


def _method_not_allowed(request: Request, problem: str, allowed_methods: str) -> Response:
    error = MethodNotAllowed(f"{problem}; use {allowed_methods}.")
    record_error(request.scope, error)
    response = graphql_error_response(request.scope, error)
    response.headers["Allow"] = allowed_methods
    return response


def _json_response(body: Mapping[str, Any], *, status: int, media_type: str) -> Response:
    content_type = f"{media_type}; charset=utf-8".encode()
    return BytesResponse(
        orjson.dumps(body),
        status,
        ((b"cache-control", b"no-store"), (b"content-type", content_type)),
    )
