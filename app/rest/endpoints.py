"""The table of REST routes: method, path and operation, served under every prefix.

Unknown paths and methods get the router's errors, in the same envelope.
"""

from dataclasses import dataclass
from functools import partial

from app.domain.times import Clock
from app.graphql.schema.context import Context
from app.graphql.service import GraphQLService
from app.http.application import Handler
from app.http.paths import REST_PATH
from app.http.request import HttpRequest
from app.http.responses import BytesResponse
from app.http.routing import Route
from app.rest import accounts, analytics, changes, me, post_mutations, posts, retries, webhooks
from app.rest.envelope import error_response, mutation_response, query_response
from app.rest.errors import first_error
from app.rest.long_poll import parse_wait, wait_for_change
from app.rest.operations import (
    DocumentResult,
    MutationOperation,
    QueryOperation,
    RestOperation,
    Variables,
    read_rest_request,
)

PREFIXES = (REST_PATH, f"/api{REST_PATH}")
"""Path prefixes: the documented one, and the one that existing clients send."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Method of a path, and its operation."""

    method: str
    path: str
    operation: RestOperation


ENDPOINTS = (
    Endpoint("GET", "/posts/{post_id}/results", posts.READ_RESULTS),
    Endpoint("POST", "/posts/bulk", post_mutations.CREATE_POSTS),
    Endpoint("POST", "/posts/check", post_mutations.CHECK_POST),
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
    Endpoint("GET", "/webhooks", webhooks.LIST_WEBHOOKS),
    Endpoint("POST", "/webhooks", webhooks.CREATE_WEBHOOK),
    Endpoint("GET", "/webhooks/{webhook_id}", webhooks.READ_WEBHOOK),
    Endpoint("PATCH", "/webhooks/{webhook_id}", webhooks.UPDATE_WEBHOOK),
    Endpoint("DELETE", "/webhooks/{webhook_id}", webhooks.DELETE_WEBHOOK),
    Endpoint("POST", "/webhooks/{webhook_id}/test", webhooks.TEST_WEBHOOK),
    Endpoint("POST", "/webhooks/{webhook_id}/rotate-secret", webhooks.ROTATE_SECRET),
    Endpoint("GET", "/webhooks/{webhook_id}/deliveries", webhooks.LIST_DELIVERIES),
    Endpoint("POST", "/webhooks/{webhook_id}/redeliver", webhooks.REDELIVER),
)
"""Table of endpoints. The first match wins, so a literal path precedes a path parameter that matches it."""


def rest_routes(
    graphql_service: GraphQLService, clock: Clock, *, max_body_bytes: int
) -> list[Route]:
    """Create the routes of the table under each prefix; `clock` gives the time shown in `meta`."""
    handlers: dict[str, dict[str, Handler]] = {}
    for endpoint in ENDPOINTS:
        operation = endpoint.operation
        handlers.setdefault(endpoint.path, {})[endpoint.method] = (
            QueryHandler(operation, graphql_service, clock)
            if isinstance(operation, QueryOperation)
            else MutationHandler(operation, graphql_service, clock, max_body_bytes)
        )
    return [Route(prefix + path, handlers[path]) for prefix in PREFIXES for path in handlers]


@dataclass(frozen=True, slots=True)
class QueryHandler:
    """Handler of the requests of one GET route."""

    operation: QueryOperation
    service: GraphQLService
    clock: Clock

    async def __call__(self, request: HttpRequest) -> BytesResponse:
        context = await authenticate_and_charge(self.service, request)
        variables = self.operation.read_variables(request)
        if self.operation.supports_long_poll and (wait := parse_wait(request.query())):
            respond = partial(self._respond, request, context, variables)
            return await wait_for_change(request, self.service, context, respond, wait)
        return await self._respond(request, context, variables)

    async def _respond(
        self, request: HttpRequest, context: Context, variables: Variables
    ) -> BytesResponse:
        operation = self.operation
        executed = await self.service.execute(context, operation.document, variables)
        now = self.clock()
        if executed.data is None or executed.errors:
            return error_response(request, first_error(executed.errors), now)
        result = DocumentResult(executed.data, variables, now)
        if (document := operation.follow_up(result)) is not None:
            followed = await self.service.execute(context, document, {})
            result = DocumentResult({**executed.data, **(followed.data or {})}, variables, now)
        # First, because `build_data` may change the data in place.
        seconds = operation.retry_after(result)
        return query_response(request, operation.build_data(result), now, retry_after=seconds)


@dataclass(frozen=True, slots=True)
class MutationHandler:
    """Handler of the requests of one writing route."""

    operation: MutationOperation
    service: GraphQLService
    clock: Clock
    max_body_bytes: int

    async def __call__(self, request: HttpRequest) -> BytesResponse:
        context = await authenticate_and_charge(self.service, request)
        rest_request = await read_rest_request(
            request, context.viewer.key_id, max_body_bytes=self.max_body_bytes
        )
        call = self.operation.build_call(rest_request)
        context.implicit_idempotency_key = call.implicit_idempotency_key
        context.rejected_posts = call.rejected_posts
        context.unknown_members = call.unknown_members
        variables = {"input": call.input}
        executed = await self.service.execute(context, self.operation.document, variables)
        now = self.clock()
        if executed.data is None or executed.errors:
            return error_response(request, first_error(executed.errors), now)
        data = self.operation.build_data(DocumentResult(executed.data, variables, now))
        return mutation_response(request, data, now, status=self.operation.status(data))


async def authenticate_and_charge(service: GraphQLService, request: HttpRequest) -> Context:
    """Authenticate a request of the REST API, and count it for the rate limit of its key."""
    request.api = "rest"
    return await service.authenticate_and_charge(request)
