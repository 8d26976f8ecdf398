"""The REST routes: for each a path, a GraphQL document, its variables and its shape. Nothing else.

Every prefix serves the same table. Unknown paths are refused by the application's router, and methods
that a path does not have as the router refuses them, in the same envelope.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.domain.times import Clock
from app.graphql.service import QUERY_AND_MUTATION, QUERY_ONLY, GraphQLService
from app.http.state import request_state
from app.rest import bodies, documents, mutations, outcomes, parameters, shapes
from app.rest.envelope import error_response, mutation_response, query_response
from app.rest.errors import first_error
from app.rest.long_poll import wait_for_change
from app.rest.requests import DocumentCall, RestRequest, Variables, read_request
from app.rest.shapes import DocumentResult, JsonObject

PREFIXES = ("/v1", "/api/v1")
"""The documented one, and the one that existing clients send."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method of a path, which runs a document."""

    method: str
    path: str
    document: str
    build_call: Callable[[RestRequest], DocumentCall]
    build_response: Callable[[Request, DocumentResult], Response]
    supports_long_poll: bool = False
    """Whether a client may have it held back until there is something new."""


def query_endpoint(
    path: str,
    document: str,
    read_variables: Callable[[Request], Variables],
    build_data: Callable[[DocumentResult], JsonObject],
    retry_after: Callable[[DocumentResult], int | None] = lambda _found: None,
    *,
    supports_long_poll: bool = False,
) -> Endpoint:
    """`retry_after`, in seconds, is for an answer that will change by itself."""

    def build_call(rest_request: RestRequest) -> DocumentCall:
        return DocumentCall(read_variables(rest_request.request))

    def build_response(request: Request, result: DocumentResult) -> Response:
        return query_response(
            request, build_data(result), result.now, retry_after=retry_after(result)
        )

    return Endpoint("GET", path, document, build_call, build_response, supports_long_poll)


def mutation_endpoint(
    method: str,
    path: str,
    document: str,
    build_call: Callable[[RestRequest], DocumentCall],
    build_data: Callable[[DocumentResult], JsonObject],
    status: Callable[[JsonObject], int] = lambda _data: 200,
) -> Endpoint:
    """`status` is that of the answer with these data."""

    def build_response(request: Request, result: DocumentResult) -> Response:
        data = build_data(result)
        return mutation_response(request.scope, data, result.now, status=status(data))

    return Endpoint(method, path, document, build_call, build_response)


ENDPOINTS = (
    query_endpoint(
        "/posts/{post_id}/results",
        documents.POST_RESULTS,
        parameters.post_id_variable,
        shapes.post_results_data,
        shapes.retry_after,
        supports_long_poll=True,
    ),
    mutation_endpoint(
        "POST",
        "/posts/bulk",
        mutations.CREATE_POSTS,
        bodies.create_posts_call,
        outcomes.create_posts_data,
        outcomes.bulk_status,
    ),
    mutation_endpoint(
        "POST",
        "/posts/retry-failed",
        mutations.RETRY_DESTINATIONS,
        bodies.retry_destinations_call,
        outcomes.retry_destinations_data,
    ),
    query_endpoint(
        "/posts/{post_id}", documents.POST, parameters.post_id_variable, shapes.post_data
    ),
    mutation_endpoint(
        "PATCH",
        "/posts/{post_id}",
        mutations.UPDATE_POST,
        bodies.update_post_call,
        outcomes.update_post_data,
    ),
    mutation_endpoint(
        "DELETE",
        "/posts/{post_id}",
        mutations.DELETE_POST,
        bodies.delete_post_call,
        outcomes.delete_post_data,
    ),
    mutation_endpoint(
        "POST",
        "/posts/{post_id}/schedule",
        mutations.SCHEDULE_POST,
        bodies.schedule_post_call,
        outcomes.schedule_post_data,
    ),
    mutation_endpoint(
        "POST",
        "/posts/{post_id}/retry",
        mutations.RETRY_POST,
        bodies.retry_post_call,
        outcomes.retry_post_data,
    ),
    query_endpoint("/posts", documents.POSTS, parameters.post_list_variables, shapes.posts_data),
    mutation_endpoint(
        "POST",
        "/posts",
        mutations.CREATE_POST,
        bodies.create_post_call,
        outcomes.create_post_data,
        lambda _data: 201,
    ),
    query_endpoint("/accounts", documents.ACCOUNTS, parameters.no_variables, shapes.accounts_data),
    query_endpoint(
        "/accounts/{account_id}",
        documents.ACCOUNT,
        parameters.account_id_variable,
        shapes.account_data,
    ),
    query_endpoint(
        "/accounts/{account_id}/health",
        documents.ACCOUNT_HEALTH,
        parameters.account_id_variable,
        shapes.account_health_data,
    ),
    query_endpoint(
        "/changes", documents.CHANGES, parameters.changes_variables, shapes.changes_data
    ),
    query_endpoint("/me", documents.ME, parameters.no_variables, shapes.me_data),
    query_endpoint(
        "/analytics/summary",
        documents.ANALYTICS_SUMMARY,
        parameters.analytics_variables,
        shapes.analytics_summary_data,
    ),
)
"""A path that is spelt out stands before one that it would fit."""


def rest_routes(
    graphql_service: GraphQLService, clock: Clock, *, max_body_bytes: int
) -> list[Route]:
    """The table under each prefix; `clock` tells the time that `meta` prints."""
    paths = dict.fromkeys(call.path for call in ENDPOINTS)
    methods = {
        path: _MethodRouter(
            {
                call.method: _make_handler(call, graphql_service, clock, max_body_bytes)
                for call in ENDPOINTS
                if call.path == path
            }
        )
        for path in paths
    }
    return [Route(prefix + path, methods[path]) for prefix in PREFIXES for path in paths]


class _MethodRouter:
    """All methods of one path; an ASGI app, so that the router gives it every method."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = {**handlers}
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle = self._handlers.get(scope["method"])
        if handle is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self._handlers)})
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)


def _make_handler(
    endpoint: Endpoint, graphql_service: GraphQLService, clock: Clock, max_body_bytes: int
) -> Handler:
    allowed = QUERY_ONLY if endpoint.method == "GET" else QUERY_AND_MUTATION

    async def handle(request: Request) -> Response:
        request_state(request.scope)["api"] = "rest"
        context = await graphql_service.context_from_request(request)
        context.rate_limit_charge.charge_request()
        asked = await read_request(request, context.viewer.key_id, max_body_bytes=max_body_bytes)
        wanted = endpoint.build_call(asked)
        if wanted.implicit_idempotency_key is not None or wanted.rejected_posts:
            context = replace(
                context,
                implicit_idempotency_key=wanted.implicit_idempotency_key,
                rejected_posts=wanted.rejected_posts,
            )

        async def respond() -> Response:
            answer = await graphql_service.execute(
                context, endpoint.document, wanted.variables, allowed_types=allowed
            )
            now = clock()
            if answer.data is None or answer.errors:
                return error_response(request.scope, first_error(answer.errors), now)
            return endpoint.build_response(
                request, DocumentResult(answer.data, wanted.variables, now)
            )

        wait = parameters.parse_wait(request) if endpoint.supports_long_poll else None
        return await (
            wait_for_change(request, graphql_service, context, respond, wait) if wait else respond()
        )

    return handle
