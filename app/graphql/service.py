"""Authenticates clients and executes GraphQL operations, for every transport and for REST."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast

from graphql import ExecutionResult
from starlette.requests import HTTPConnection
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidApiKey
from app.graphql.engine.errors import OperationResult, build_result
from app.graphql.engine.executable_schema import OperationRejected, Schema, core_schema
from app.graphql.loading.loaders import ResponseEntryLimit
from app.graphql.response_cache import ResponseCache
from app.graphql.schema.context import AppState, Context
from app.graphql.schema.subscription import PendingEvent
from app.graphql.subscription_stream import (
    DocumentMemoryBudget,
    SubscriptionStream,
    subscription_cache_key,
)
from app.http.concurrency import ConcurrencyLimiter
from app.http.rate_limits import RateLimitCharge, RateLimits
from app.http.request_headers import bearer_token
from app.http.state import RequestState, request_state
from app.services.api_keys import ApiKeyAuthenticator, LastUsedRecorder

QUERY_ONLY = frozenset({OperationType.QUERY})
QUERY_AND_MUTATION = frozenset({OperationType.QUERY, OperationType.MUTATION})
SUBSCRIPTION = frozenset({OperationType.SUBSCRIPTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTimeouts:
    """Timeouts of long-lived connections: WebSockets and event streams."""

    init_timeout: timedelta = timedelta(seconds=10)
    """Time in which a WebSocket client must authenticate."""
    key_recheck_interval: timedelta = timedelta(seconds=30)
    """Interval at which the API key of an open connection is checked; a revoked key closes it."""
    send_timeout: timedelta = timedelta(seconds=30)
    """Time after which a client that reads nothing is disconnected."""
    heartbeat_interval: timedelta = timedelta(seconds=12)
    """Longest silence in an event stream; proxies close streams that are silent for longer."""


@dataclass(slots=True, kw_only=True)
class GraphQLService:
    """Service that creates the context of a request and executes operations in it."""

    schema: Schema
    app_state: AppState
    rate_limits: RateLimits
    authenticator: ApiKeyAuthenticator
    key_usage: LastUsedRecorder
    subscription_limiter: ConcurrencyLimiter
    timeouts: ConnectionTimeouts
    response_cache: ResponseCache
    document_budget: DocumentMemoryBudget = field(default_factory=DocumentMemoryBudget)

    async def context_from_request(
        self,
        request: HTTPConnection,
        *,
        max_list_entries: int | None = None,
        max_values: int | None = None,
    ) -> Context:
        """Authenticate a request by its Authorization header; raises InvalidApiKey if that fails.

        The caller charges the request to its rate limit.
        """
        return await self.authenticate(
            bearer_token(request.scope),
            request.client.host if request.client else None,
            request_state(request.scope),
            max_list_entries=max_list_entries,
            max_values=max_values,
        )

    async def authenticate(
        self,
        token: str | None,
        client_address: str | None,
        state: RequestState,
        *,
        max_list_entries: int | None = None,
        max_values: int | None = None,
    ) -> Context:
        """Authenticate the client by its API key; raises InvalidApiKey if that fails.

        REST needs neither limit: its fixed documents have no recursive lists, and its own parsing
        limits the variables.
        """
        now = self.app_state.clock()
        try:
            viewer = await self.authenticator.authenticate(token, now)
        except InvalidApiKey:
            self.rate_limits.charge_failed_authentication(client_address, state)
            raise
        state["api_key_id"] = viewer.key_id
        state["workspace_id"] = viewer.workspace_id
        self.key_usage.record(viewer, now)
        return Context(
            viewer=viewer,
            app_state=self.app_state,
            state=state,
            entry_limit=ResponseEntryLimit(max_list_entries),
            max_values=max_values,
            rate_limit_charge=RateLimitCharge(self.rate_limits, viewer.key_id, state),
        )

    async def wait_until_revoked(self, token: str) -> None:
        """Wait until this API key is revoked or expires."""
        await self.authenticator.wait_until_revoked(
            token, self.app_state.clock, self.timeouts.key_recheck_interval
        )

    async def execute(
        self,
        context: Context,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        *,
        allowed_types: frozenset[OperationType] = QUERY_AND_MUTATION,
    ) -> OperationResult:
        """Execute a query or mutation; return its errors in the result.

        Raises RateLimitExceeded, and OperationTypeNotAllowed for a type not in `allowed_types`.
        """
        result = await self.execute_or_subscribe(
            context, query, variables, operation_name, allowed_types=allowed_types
        )
        if isinstance(result, SubscriptionStream):
            raise TypeError("use execute_or_subscribe for subscriptions")
        return result

    async def execute_or_subscribe(
        self,
        context: Context,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        *,
        allowed_types: frozenset[OperationType] = QUERY_AND_MUTATION | SUBSCRIPTION,
    ) -> OperationResult | SubscriptionStream:
        """Execute a query or mutation like `execute`, or start a subscription.

        Raises RateLimitExceeded and ServiceUnavailable also for too many open subscriptions.
        """
        raw_variables = variables or {}
        try:
            operation, coerced = self.schema.prepare(
                query, raw_variables, context, operation_name, allowed_types
            )
        except OperationRejected as rejected:
            result = ExecutionResult(None, rejected.errors)
            return build_result(core_schema(self.schema), context, result)
        if operation.operation_type is not OperationType.SUBSCRIPTION:
            result = await operation.execute(context, coerced)
            return build_result(operation.core_schema, context, result)
        self.subscription_limiter.check(context.viewer.key_id)
        self.document_budget.check(operation)
        events = await operation.subscribe(context, coerced)
        if isinstance(events, ExecutionResult):
            return replace(build_result(operation.core_schema, context, events), is_executed=False)
        return SubscriptionStream(
            operation=operation,
            variables=coerced,
            context=context,
            pending_events=cast("AsyncGenerator[PendingEvent, None]", events),
            cache_key=subscription_cache_key(operation, query, raw_variables, context.viewer),
            response_cache=self.response_cache,
            subscription_limiter=self.subscription_limiter,
            document_budget=self.document_budget,
        )
