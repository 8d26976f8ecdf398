"""GraphQL over HTTP, for GET and POST. Who asks and what runs is the door's, in app.graphql.door.

https://graphql.github.io/graphql-over-http/draft/ says which status answers what. A request that is
not well formed (no JSON, no query) is refused with a 4xx under either media type. A document that is
well asked for but not run has the status of its error under application/graphql-response+json
("Status Codes"), and 200 under application/json ("Legacy Watershed"), as older clients expect.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.domain.errors import (
    DocumentError,
    InvalidApiKey,
    InvalidJson,
    MethodNotAllowed,
    PostResultsError,
    RequestError,
    concrete_errors,
)
from app.graphql.engine.errors import error_entry
from app.graphql.engine.persisted_documents import DocumentStore
from app.graphql.engine.prepared import OperationTypeNotAllowed
from app.graphql.schema.context import Context
from app.graphql.service import QUERY_AND_MUTATION, QUERY_ONLY, SUBSCRIPTION, GraphQLService
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.transport.requests import OperationRequest, read_operation_request
from app.graphql.transport.sse import EVENT_STREAM, SSEResponse, stream_single_result
from app.http.body import read_body, read_json_object, require_json
from app.http.request_headers import (
    bearer_token,
    combined_header,
    headers_dict,
    parse_accept,
    read_query_string,
)
from app.http.responses import BytesResponse
from app.http.state import record_error, request_state

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
_JSON_MEDIA_RANGES = (JSON, "application/*", "*/*")

_STATUS_BY_CODE = {error.code.name: error.http_status for error in concrete_errors()}


def graphql_error_response(scope: Scope, error: PostResultsError) -> Response:
    """An error at the door, in the form that GraphQL clients read."""
    media_type = _negotiate_response(scope).media_type
    is_not_run = isinstance(error, DocumentError)
    response = _json_response(
        {"errors": [error_entry(error, request_state(scope)["request_id"])]},
        status=200 if is_not_run and media_type == JSON else error.http_status,
        media_type=media_type,
    )
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InvalidApiKey):
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2: every 401 says how
    return response


class GraphQLEndpoint:
    """GET and POST of one path; an ASGI app. A browser that comes without a query gets the page."""

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
            return _method_not_allowed(
                request, f"{request.method} is not possible here", "GET, POST"
            )
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
        context.rate_limit_charge.charge_request()  # for a document that could not be read counts too
        return response

    async def _execute(self, request: Request, context: Context) -> Response:
        if request.method == "GET":
            asked, allowed = _parse_query_string(request), QUERY_ONLY
        else:
            asked, allowed = await self._read_body_request(request), QUERY_AND_MUTATION
        workspace = context.viewer.workspace_id
        query = self._document_store.resolve(asked.document, workspace)
        accepted = _negotiate_response(request.scope)
        if accepted.accepts_sse:
            allowed |= SUBSCRIPTION
        try:
            answer = await self._service.execute_or_subscribe(
                context, query, asked.variables, asked.operation_name, allowed_types=allowed
            )
        except OperationTypeNotAllowed:
            return _method_not_allowed(request, "Only a query can be sent by GET", "POST")
        if isinstance(answer, SubscriptionStream) or answer.is_executed:
            self._document_store.store(asked.document, workspace)
        if isinstance(answer, SubscriptionStream):
            return self._sse_response(request, answer.responses())
        if accepted.accepts_only_sse:
            return self._sse_response(request, stream_single_result(answer))
        status = 200
        if not answer.is_executed and accepted.media_type == GRAPHQL_RESPONSE:
            status = _STATUS_BY_CODE[answer.errors[0]["extensions"]["code"]]
        return _json_response(
            answer.to_response_body(), status=status, media_type=accepted.media_type
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
    """A browser that was pointed here; it has no key, and a 401 would not help its user."""
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
    # In a URL an empty value is how a form leaves something out.
    if text in ("", "null"):
        return None
    try:
        return read_json_object(text.encode())
    except InvalidJson:
        problem = f"{name} must be a JSON object of moderate depth and size."
        raise InvalidJson(problem, argument=name) from None


class _NegotiatedResponse(NamedTuple):
    """How a client wants to be answered."""

    media_type: str
    """graphql-response+json for those who name it and prefer it or do not mind, else JSON.

    Who accepts anything, or nothing that can be had, gets JSON ("Legacy Watershed").
    """
    accepts_sse: bool
    """Whether it names server-sent events; whoever accepts anything would not know what to do with them."""
    accepts_only_sse: bool
    """Clients that can read both name JSON too, and get it where there is one answer."""


def _negotiate_response(scope: Scope) -> _NegotiatedResponse:
    return _parse_accept(combined_header(scope, b"accept"))


@lru_cache(maxsize=32)
def _parse_accept(header: str) -> _NegotiatedResponse:
    accepted = parse_accept(header)
    named = accepted.get(GRAPHQL_RESPONSE, 0)
    plain = next((accepted[each] for each in _JSON_MEDIA_RANGES if each in accepted), 0)
    events = accepted.get(EVENT_STREAM, 0) > 0
    return _NegotiatedResponse(
        media_type=GRAPHQL_RESPONSE if named > 0 and named >= plain else JSON,
        accepts_sse=events,
        accepts_only_sse=events and named <= 0 and plain <= 0,
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
