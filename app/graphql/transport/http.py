"""GraphQL over HTTP by GET and POST.

Status codes follow https://graphql.github.io/graphql-over-http/draft/. A malformed request (no JSON, no
query) gets a 4xx under either media type. A well-formed request whose document is not executed gets the
status of its error under application/graphql-response+json ("Status Codes"), and 200 under
application/json ("Legacy Watershed"), as older clients expect.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.domain.errors import (
    DocumentError,
    InvalidInput,
    InvalidJson,
    MethodNotAllowed,
    PostResultsError,
    RequestError,
    concrete_errors,
)
from app.graphql.engine.errors import error_entry
from app.graphql.engine.persisted_documents import (
    DocumentRequest,
    DocumentStore,
    read_document_request,
)
from app.graphql.engine.prepared import OperationTypeNotAllowed
from app.graphql.schema.context import Context
from app.graphql.service import QUERY_AND_MUTATION, QUERY_ONLY, SUBSCRIPTION, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.transport.sse import EVENT_STREAM, SSEResponse, stream_single_result
from app.http.body import read_body, read_json_object, require_json
from app.http.request_headers import (
    bearer_token,
    combined_header,
    headers_dict,
    json_weight,
    parse_accept,
    read_query_string,
)
from app.http.responses import BytesResponse, add_error_headers
from app.http.state import record_error, request_state

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"

_STATUS_BY_CODE = {error.code.name: error.http_status for error in concrete_errors()}


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """Request parameters of GraphQL over HTTP, which WebSockets share."""

    document: DocumentRequest
    variables: Mapping[str, object] | None
    operation_name: str | None


def read_operation_request(parameters: Mapping[str, object]) -> OperationRequest:
    """Read the request parameters; raises InvalidInput for a wrong type. Unknown ones are ignored."""
    variables = parameters.get("variables")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise InvalidInput("operationName must be a string.", argument="operationName")
    for name in ("variables", "extensions"):
        value = parameters.get(name)
        if value is not None and not isinstance(value, dict):
            raise InvalidInput(f"{name} must be a JSON object.", argument=name)
    document = read_document_request(parameters)
    return OperationRequest(
        document, cast("Mapping[str, object] | None", variables), operation_name
    )


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
        document_store: DocumentStore,
        *,
        graphiql_page: Callable[[], Response],
        max_body_bytes: int,
        max_list_entries: int,
        max_values: int,
    ) -> None:
        self._service = service
        self._document_store = document_store
        self._graphiql_page = graphiql_page
        self._max_body_bytes = max_body_bytes
        self._max_list_entries = max_list_entries
        self._max_values = max_values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request_state(scope)["api"] = "graphql"
        try:
            response = await self._handle(request)
        except RequestError as error:
            record_error(scope, error)
            response = graphql_error_response(scope, error)
        await response(scope, receive, send)

    async def _handle(self, request: Request) -> Response:
        if request.method not in ("GET", "POST"):
            return _method_not_allowed(request, f"{request.method} is not allowed", "GET, POST")
        if _is_browser_navigation(request):
            return self._graphiql_page()
        context = await self._service.context_from_request(
            request, max_list_entries=self._max_list_entries, max_values=self._max_values
        )
        context.rate_limit_charge.precheck(
            may_subscribe=_negotiate_response(request.scope).accepts_sse
        )
        try:
            response = await self._execute(request, context)
        except RequestError:
            context.rate_limit_charge.charge_request()
            raise
        context.rate_limit_charge.charge_request()  # charges an unparsable document; no-op if already charged
        return response

    async def _execute(self, request: Request, context: Context) -> Response:
        if request.method == "GET":
            operation, allowed_types = _parse_query_string(request), QUERY_ONLY
        else:
            operation, allowed_types = await self._read_body_request(request), QUERY_AND_MUTATION
        workspace = context.viewer.workspace_id
        query = self._document_store.resolve(operation.document, workspace)
        negotiated = _negotiate_response(request.scope)
        if negotiated.accepts_sse:
            allowed_types |= SUBSCRIPTION
        try:
            result = await self._service.execute_or_subscribe(
                context,
                query,
                operation.variables,
                operation.operation_name,
                allowed_types=allowed_types,
            )
        except OperationTypeNotAllowed:
            return _method_not_allowed(request, "GET allows only queries", "POST")
        if isinstance(result, SubscriptionStream) or result.is_executed:
            self._document_store.store(operation.document, workspace)
        if isinstance(result, SubscriptionStream):
            return self._sse_response(request, result.responses())
        if negotiated.accepts_only_sse:
            return self._sse_response(request, stream_single_result(result))
        status = 200
        if not result.is_executed and negotiated.media_type == GRAPHQL_RESPONSE:
            status = _STATUS_BY_CODE[result.errors[0]["extensions"]["code"]]
        return _json_response(
            result.to_response_body(), status=status, media_type=negotiated.media_type
        )

    def _sse_response(self, request: Request, responses: AsyncGenerator[str, None]) -> SSEResponse:
        token = bearer_token(request.scope) or ""
        return SSEResponse(
            responses,
            self._service.timeouts,
            self._service.app_state.shutdown_event.wait,
            partial(self._service.wait_until_revoked, token),
        )

    async def _read_body_request(self, request: Request) -> OperationRequest:
        require_json(headers_dict(request.scope))
        return read_operation_request(
            read_json_object(await read_body(request, self._max_body_bytes))
        )


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
