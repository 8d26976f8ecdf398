"""The table of REST routes: method, path and operation, served under every prefix.

Unknown paths and methods get the router's errors, in the same envelope.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.domain.times import Clock
from app.graphql.service import GraphQLService
from app.http.paths import REST_PATH
from app.http.request_scope import read_client, request_state
from app.rest import accounts, analytics, changes, me, post_mutations, posts, retries
from app.rest.envelope import error_response
from app.rest.errors import first_error
from app.rest.long_poll import parse_wait, wait_for_change
from app.rest.operations import DocumentResult, RestOperation, read_rest_request

PREFIXES = (REST_PATH, f"/api{REST_PATH}")
"""Path prefixes: the documented one, and the one that existing clients send."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Method of a path, and its operation."""

    method: str
    path: str
    operation: RestOperation


ENDPOINTS = (
    Endpoint("GET", "/posts/{post_id}/results", posts.READ_RESULTS),
    Endpoint("POST", "/posts/bulk", post_mutations.CREATE_POSTS),
    Endpoint("POST", "/posts/retry-failed", retries.RETRY_FAILED),
    Endpoint("GET", "/posts/{post_id}", posts.READ_POST),
    Endpoint("PATCH", "/posts/{post_id}", post_mutations.UPDATE_POST),
    Endpoint("DELETE", "/posts/{post_id}", post_mutations.DELETE_POST),
    Endpoint("POST", "/posts/{post_id}/schedule", post_mutations.SCHEDULE_POST),
    Endpoint("POST", "/posts/{post_id}/retry", retries.RETRY_POST),
    Endpoint("GET", "/posts", posts.LIST_POSTS),
    Endpoint("POST", "/posts", post_mutations.CREATE_POST),
    Endpoint("GET", "/accounts", accounts.LIST_ACCOUNTS),
    Endpoint("GET", "/accounts/{account_id}", accounts.READ_ACCOUNT),
    Endpoint("GET", "/accounts/{account_id}/health", accounts.READ_ACCOUNT_HEALTH),
    Endpoint("GET", "/changes", changes.READ_CHANGES),
    Endpoint("GET", "/me", me.READ_ME),
    Endpoint("GET", "/analytics/summary", analytics.READ_SUMMARY),
)
"""Table of endpoints. The first match wins, so a literal path precedes a path parameter that matches it."""


def rest_routes(
    graphql_service: GraphQLService, clock: Clock, *, max_body_bytes: int
) -> list[Route]:
    """Create the routes of the table under each prefix; `clock` gives the time shown in `meta`."""
    paths = dict.fromkeys(endpoint.path for endpoint in ENDPOINTS)
    methods = {
        path: _MethodRouter(
            {
                endpoint.method: _make_handler(endpoint, graphql_service, clock, max_body_bytes)
                for endpoint in ENDPOINTS
                if endpoint.path == path
            }
        )
        for path in paths
    }
    return [Route(prefix + path, methods[path]) for prefix in PREFIXES for path in paths]


class _MethodRouter:
    """ASGI app that dispatches the methods of one path, so that the router passes every method."""

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
    operation = endpoint.operation

    async def handle(request: Request) -> Response:
        state = request_state(request.scope)
        state["api"] = "rest"
        context = await graphql_service.authenticate(read_client(request.scope), state, limits=None)
        context.rate_limit_charge.charge_request()
        call = operation.build_call(
            await read_rest_request(request, context.viewer.key_id, max_body_bytes=max_body_bytes)
        )
        if call.implicit_idempotency_key is not None or call.rejected_posts:
            context = replace(
                context,
                implicit_idempotency_key=call.implicit_idempotency_key,
                rejected_posts=call.rejected_posts,
            )

        async def respond() -> Response:
            result = await graphql_service.execute(context, operation.document, call.variables)
            now = clock()
            if result.data is None or result.errors:
                return error_response(request.scope, first_error(result.errors), now)
            return operation.build_response(
                request, DocumentResult(result.data, call.variables, now)
            )

        wait = parse_wait(request) if operation.supports_long_poll else None
        return await (
            wait_for_change(request, graphql_service, context, respond, wait) if wait else respond()
        )

    return handle
