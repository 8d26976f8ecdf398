"""The GraphQL door: who asks, what runs, and GraphQL over HTTP for GET and POST. REST comes in here too.

https://graphql.github.io/graphql-over-http/draft/ says which status answers what. A request that is
not well formed (no JSON, no query) is refused with a 4xx under either media type. A document that is
well asked for but not run has the status of its error under application/graphql-response+json
("Status Codes"), and 200 under application/json ("Legacy Watershed"), as older clients expect.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import orjson
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from app.domain.errors import (
    DocumentError,
    InvalidApiKey,
    InvalidInput,
    InvalidJson,
    MethodNotAllowed,
    PostResultsError,
    RateLimitExceeded,
    RequestError,
    concrete_errors,
)
from app.graphql.context import Context, Shared
from app.graphql.documents import DocumentRequest, Documents, read_document_request
from app.graphql.errors import Answer, error_entries, error_entry, public_cause
from app.graphql.loaders import ListEntries
from app.graphql.schema import Schema, core_schema
from app.http.body import read_body, read_json_object, require_json
from app.http.headers import first_headers, whole_header
from app.http.preferences import preferences
from app.http.query_string import read_query_string
from app.http.rate_limits import RateLimits, RequestCount
from app.http.responses import BytesResponse
from app.http.state import note_error, request_state
from app.services.api_keys import Keys, KeyUsage

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"

QUERY_ONLY = frozenset({OperationType.QUERY})
QUERY_AND_MUTATION = frozenset({OperationType.QUERY, OperationType.MUTATION})

_STATUS_OF_CODE = {error.code.name: error.http_status for error in concrete_errors()}


@dataclass(slots=True, kw_only=True)
class GraphQLDoor:
    """Opens a context for a request and runs operations in it."""

    schema: Schema
    shared: Shared
    rate_limits: RateLimits
    keys: Keys
    key_usage: KeyUsage

    async def context_for(
        self,
        request: Request,
        *,
        max_list_entries: int | None = None,
        max_values: int | None = None,
    ) -> Context:
        """Authenticate the request, or raise InvalidApiKey; its door has it counted.

        Documents of our own need neither limit: no list in them leads back to itself, and their
        variables were measured when they were read.
        """
        state = request_state(request.scope)
        now = self.shared.clock()
        try:
            viewer = await self.keys.authenticate(_bearer_token(request), now)
        except InvalidApiKey:
            address = request.client.host if request.client else None
            self.rate_limits.check_failed_authentication(address, state)
            raise
        state["api_key_id"] = viewer.key_id
        state["workspace_id"] = viewer.workspace_id
        self.key_usage.note(viewer, now)
        return Context(
            viewer=viewer,
            shared=self.shared,
            state=state,
            list_entries=ListEntries(max_list_entries),
            max_values=max_values,
            request_count=RequestCount(self.rate_limits, viewer.key_id, state),
        )

    async def run(
        self,
        context: Context,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        *,
        allowed: frozenset[OperationType] = QUERY_AND_MUTATION,
    ) -> Answer:
        """Run one operation; what is wrong with it is in the answer, not raised.

        But for RateLimitExceeded, if it is one too many: it is not the document that is refused.
        """
        result = await self.schema.answer(query, variables or {}, context, operation_name, allowed)
        refusal = context.list_entries.refusal
        if not result.errors and refusal is None:
            return Answer(executed=True, data=result.data, errors=[])
        errors = result.errors or []
        for cause in (public_cause(each) for each in errors if each.path is None):
            if isinstance(cause, RateLimitExceeded):
                raise cause
        if refusal is not None:
            # Every list that was still to come has failed of it as well; once is enough.
            others = [each for each in errors if public_cause(each) is not refusal]
            if context.state.get("operation_type") == OperationType.MUTATION.value:
                # What was changed stays changed, and is told but for these lists.
                first = next(each for each in errors if public_cause(each) is refusal)
                errors = [*others, first]
            else:
                result.data, errors = None, [GraphQLError(str(refusal), original_error=refusal)]
        entries = error_entries(errors, core_schema(self.schema), context.state["request_id"])
        # One spelling for both doors, and each code once: a list of many ids may fail many times.
        codes = dict.fromkeys(entry["extensions"]["code"].lower() for entry in entries)
        context.state["error_codes"] = list(codes)
        return Answer(
            # A failure that reached the root has a path; without one nothing was run.
            executed=result.data is not None or any(error.path is not None for error in errors),
            data=result.data,
            errors=entries,
        )


def graphql_error(scope: Scope, error: PostResultsError) -> Response:
    """An error at the door, in the form that GraphQL clients read."""
    media_type = _media_type(scope)
    is_not_run = isinstance(error, DocumentError)
    response = _respond(
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
        door: GraphQLDoor,
        documents: Documents,
        *,
        page: Callable[[], Response],
        max_body_bytes: int,
        max_list_entries: int,
        max_values: int,
    ) -> None:
        self._door = door
        self._documents = documents
        self._page = page
        self._max_body_bytes = max_body_bytes
        self._max_list_entries = max_list_entries
        self._max_values = max_values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request_state(scope)["door"] = "graphql"
        try:
            response = await self._respond(request)
        except RequestError as error:
            note_error(scope, error)
            response = graphql_error(scope, error)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in ("GET", "POST"):
            return _method_not_allowed(
                request, f"{request.method} is not possible here", "GET, POST"
            )
        if _is_a_persons_visit(request):
            return self._page()
        context = await self._door.context_for(
            request, max_list_entries=self._max_list_entries, max_values=self._max_values
        )
        context.request_count.as_unknown()
        try:
            response = await self._answer(request, context)
        except RequestError:
            context.request_count.as_request()
            raise
        context.request_count.as_request()  # for a document that could not be read counts too
        return response

    async def _answer(self, request: Request, context: Context) -> Response:
        if request.method == "GET":
            asked, allowed = _from_query_string(request), QUERY_ONLY
        else:
            asked, allowed = await self._from_body(request), QUERY_AND_MUTATION
        workspace = context.viewer.workspace_id
        query = self._documents.find(asked.document, workspace)
        try:
            answer = await self._door.run(
                context, query, asked.variables, asked.operation_name, allowed=allowed
            )
        except InvalidOperationTypeError:
            return _method_not_allowed(request, "Only a query can be sent by GET", "POST")
        if answer.executed:
            self._documents.remember(asked.document, workspace)
        media_type = _media_type(request.scope)
        status = 200
        if not answer.executed and media_type == GRAPHQL_RESPONSE:
            status = _STATUS_OF_CODE[answer.errors[0]["extensions"]["code"]]
        return _respond(answer.body(), status=status, media_type=media_type)

    async def _from_body(self, request: Request) -> "_Asked":
        require_json(first_headers(request.scope))
        return _asked(read_json_object(await read_body(request, self._max_body_bytes)))


@dataclass(frozen=True, slots=True)
class _Asked:
    document: DocumentRequest
    variables: Mapping[str, object] | None
    operation_name: str | None


def _is_a_persons_visit(request: Request) -> bool:
    """A browser that was pointed here; it has no key, and a 401 would not help its user."""
    return (
        request.method == "GET"
        and request.query_params.keys().isdisjoint(("query", "documentId", "extensions"))
        and preferences(whole_header(request.scope, b"accept")).get("text/html", 0) > 0
    )


def _from_query_string(request: Request) -> _Asked:
    parameters: dict[str, object] = dict(read_query_string(request))
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = _json_of_query_string(name, str(parameters[name]))
    if parameters.get("operationName") == "":
        parameters["operationName"] = None
    return _asked(parameters)


def _json_of_query_string(name: str, text: str) -> dict[str, object] | None:
    # In a URL an empty value is how a form leaves something out.
    if text in ("", "null"):
        return None
    try:
        return read_json_object(text.encode())
    except InvalidJson:
        problem = f"{name} must be a JSON object of moderate depth and size."
        raise InvalidJson(problem, argument=name) from None


def _asked(parameters: Mapping[str, object]) -> _Asked:
    """Check the parameters of GraphQL over HTTP; unknown ones are ignored."""
    variables = parameters.get("variables")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise InvalidInput("operationName must be a string.", argument="operationName")
    for name in ("variables", "extensions"):
        value = parameters.get(name)
        if value is not None and not isinstance(value, dict):
            raise InvalidInput(f"{name} must be a JSON object.", argument=name)
    document = read_document_request(parameters)
    return _Asked(document, cast("Mapping[str, object] | None", variables), operation_name)


def _bearer_token(request: Request) -> str | None:
    """The token of `Authorization: Bearer …`; None where the header is something else or missing."""
    header = first_headers(request.scope).get(b"authorization", b"").decode("latin-1")
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _media_type(scope: Scope) -> str:
    """graphql-response+json for those who name it and prefer it or do not mind, else JSON.

    Who accepts anything, or nothing that can be had, gets JSON ("Legacy Watershed").
    """
    return _preferred(whole_header(scope, b"accept"))


@lru_cache(maxsize=32)
def _preferred(accept: str) -> str:
    accepted = preferences(accept)
    named = accepted.get(GRAPHQL_RESPONSE, 0)
    ranges = (JSON, "application/*", "*/*")
    plain = next((accepted[each] for each in ranges if each in accepted), 0)
    return GRAPHQL_RESPONSE if named > 0 and named >= plain else JSON


def _method_not_allowed(request: Request, problem: str, allowed: str) -> Response:
    error = MethodNotAllowed(f"{problem}; use {allowed}.")
    note_error(request.scope, error)
    response = graphql_error(request.scope, error)
    response.headers["Allow"] = allowed
    return response


def _respond(body: Mapping[str, Any], *, status: int, media_type: str) -> Response:
    content_type = f"{media_type}; charset=utf-8".encode()
    return BytesResponse(
        orjson.dumps(body),
        status,
        ((b"cache-control", b"no-store"), (b"content-type", content_type)),
    )
