"""Authenticates clients and executes GraphQL operations, for every transport and for REST."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast

from graphql import ExecutionResult
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidApiKey, RequestError
from app.domain.sessions import Credential, ProxyIdentity, SessionToken
from app.graphql.engine.errors import OperationResult, build_result
from app.graphql.engine.executable_schema import OperationRejected, Schema
from app.graphql.engine.operation_request import OperationRequest
from app.graphql.engine.persisted_documents import DocumentStore
from app.graphql.engine.prepared_operation import Document
from app.graphql.loading.response_limit import ResponseLimit
from app.graphql.schema.context import AppState, Context
from app.graphql.schema.subscription import PendingEvent
from app.graphql.subscription_stream import (
    ResponseCache,
    SubscriptionStream,
    create_document_budget,
    create_waiting_budget,
    subscription_cache_key,
)
from app.http.concurrency import ConcurrencyLimiter
from app.http.memory_budget import MemoryBudget
from app.http.request import ApiRequest
from app.services.api_keys import ApiKeyAuthenticator, LastUsedRecorder

QUERY_ONLY = frozenset({OperationType.QUERY})
QUERY_AND_MUTATION = frozenset({OperationType.QUERY, OperationType.MUTATION})
SUBSCRIPTION_ONLY = frozenset({OperationType.SUBSCRIPTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTimeouts:
    """Timeouts of long-lived connections: WebSockets, event streams and exports."""

    init_timeout: timedelta = timedelta(seconds=10)
    """Time in which a WebSocket client must authenticate."""
    key_recheck_interval: timedelta = timedelta(seconds=30)
    """Interval at which the API key of an open connection is checked; a revoked key closes it."""
    proxy_check_interval: timedelta = timedelta(hours=1)
    """Time after which the connection of a person whom a proxy has signed in is closed.

    The proxy checks the person again when the client reconnects.
    """
    send_timeout: timedelta = timedelta(seconds=30)
    """Time after which a client that reads nothing is disconnected."""
    export_slot_timeout: timedelta = timedelta(seconds=30)
    """Longest wait of an export for a slot."""
    export_stall_timeout: timedelta = timedelta(minutes=2)
    """Time after which an export whose client reads nothing is aborted.

    The connection of a client that reads slowly moves forward only once a buffer has some room again.
    """
    slow_client_period: timedelta = timedelta(seconds=60)
    """Time after which a slow reader of an export or a large response is disconnected, if others wait."""
    heartbeat_interval: timedelta = timedelta(seconds=12)
    """Longest silence in an event stream; proxies close streams that are silent for longer."""


@dataclass(slots=True, kw_only=True)
class GraphQLService:
    """Service that runs the operations of all transports and of REST."""

    schema: Schema
    document_store: DocumentStore
    app_state: AppState
    authenticator: ApiKeyAuthenticator
    key_usage: LastUsedRecorder
    subscription_limiter: ConcurrencyLimiter
    timeouts: ConnectionTimeouts
    response_cache: ResponseCache
    document_budget: MemoryBudget = field(default_factory=create_document_budget)
    waiting_budget: MemoryBudget = field(default_factory=create_waiting_budget)
    """Limit of the responses that wait to be sent on long-lived connections."""

    async def run(
        self,
        request: ApiRequest,
        read_request: Callable[[], Awaitable[OperationRequest]],
        allowed_types: frozenset[OperationType],
    ) -> OperationResult | SubscriptionStream:
        """Run the operation of one request from authentication to its result or stream.

        `read_request` is called once the client is authenticated and below its rate limits. Raises what
        it raises, InvalidApiKey, RateLimitExceeded, ServiceUnavailable for too many open subscriptions,
        OperationTypeNotAllowed for a type not in `allowed_types`, and a RequestError without a document.
        """
        context = await self.authenticate(request)
        rate_limits, workspace = self.app_state.rate_limits, context.viewer.workspace_id
        rate_limits.check_all_exhausted(
            request, may_subscribe=OperationType.SUBSCRIPTION in allowed_types
        )
        try:
            operation_request = await read_request()
            document = self.document_store.resolve(operation_request, workspace)
            context.response_limit = ResponseLimit(
                document.limits.list_entries, document.limits.response_bytes
            )
            context.max_argument_values = document.limits.ids
            result = await self.execute_or_subscribe(
                context,
                document,
                operation_request.variables or {},
                operation_request.operation_name,
                allowed_types=allowed_types,
            )
        except RequestError:
            rate_limits.charge_request(request)  # does nothing if the operation was charged
            raise
        if isinstance(result, SubscriptionStream) or result.is_executed:
            self.document_store.store(operation_request, workspace)
        rate_limits.charge_request(request)  # a document that was rejected early was not charged
        return result

    async def authenticate(self, request: ApiRequest) -> Context:
        """Authenticate a request by its credential; raises InvalidApiKey or UserNotAllowed if that fails.

        The context limits neither lists nor variables. REST needs no limits: its fixed documents have no
        recursive lists, and its own parsing limits the variables.
        """
        now = self.app_state.clock()
        try:
            viewer = await self.authenticator.authenticate(request.token, now)
        except InvalidApiKey:
            # Ended sessions are not counted: open tabs would use up the limit of failed sign-ins.
            if not isinstance(request.token, SessionToken):
                self.app_state.rate_limits.charge_failed_authentication(request)
            raise
        request.api_key_id = viewer.key_id
        request.workspace_id = viewer.workspace_id
        request.session_id = None if viewer.session is None else viewer.session.id
        self.key_usage.record(viewer, now)
        return Context(
            viewer=viewer,
            app_state=self.app_state,
            reader=self.app_state.database.reader(viewer.workspace_id),
            request=request,
            response_limit=ResponseLimit(None, None),
            max_argument_values=None,
        )

    async def authenticate_and_charge(self, request: ApiRequest) -> Context:
        """Authenticate a request, and count it for the rate limit of its key or session.

        Raises what `authenticate` raises, and RateLimitExceeded.
        """
        context = await self.authenticate(request)
        self.app_state.rate_limits.charge_request(request)
        return context

    async def wait_until_revoked(self, token: Credential) -> None:
        """Wait until a valid key or session is revoked or expires, or a proxy must check a person again."""
        is_proxied = isinstance(token, ProxyIdentity)
        seconds = self.timeouts.proxy_check_interval.total_seconds() if is_proxied else None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.authenticator.wait_until_revoked(
                    token, self.app_state.clock, self.timeouts.key_recheck_interval, self.key_usage
                )

    async def execute(
        self, context: Context, query: str, variables: Mapping[str, object]
    ) -> OperationResult:
        """Execute a query or mutation; return its errors in the result. Raises RateLimitExceeded."""
        document = Document(query, self.schema.limits)
        try:
            operation, coerced = await self.schema.prepare(
                document, variables, context, None, QUERY_AND_MUTATION
            )
        except OperationRejected as rejected:
            return self._rejection(context, rejected)
        return await operation.execute(context, coerced)

    async def execute_or_subscribe(
        self,
        context: Context,
        document: Document,
        variables: Mapping[str, object],
        operation_name: str | None = None,
        *,
        allowed_types: frozenset[OperationType],
    ) -> OperationResult | SubscriptionStream:
        """Execute a query or mutation like `execute`, or start a subscription.

        Raises RateLimitExceeded and ServiceUnavailable also for too many open subscriptions, and
        OperationTypeNotAllowed for a type not in `allowed_types`.
        """
        try:
            operation, coerced = await self.schema.prepare(
                document, variables, context, operation_name, allowed_types
            )
        except OperationRejected as rejected:
            return self._rejection(context, rejected)
        if operation.operation_type is not OperationType.SUBSCRIPTION:
            return await operation.execute(context, coerced)
        key_id = context.viewer.key_id
        self.subscription_limiter.check(key_id)
        self.document_budget.check(key_id, {operation: operation.estimated_bytes})
        events = await operation.subscribe(context, coerced)
        if isinstance(events, ExecutionResult):
            return replace(
                build_result(operation.graphql_schema, context, events), is_executed=False
            )
        return SubscriptionStream(
            operation=operation,
            variables=coerced,
            context=replace(context, request=context.request.for_events()),
            pending_events=cast("AsyncGenerator[PendingEvent, None]", events),
            cache_key=subscription_cache_key(operation, document.text, variables, context.viewer),
            response_cache=self.response_cache,
            subscription_limiter=self.subscription_limiter,
            document_budget=self.document_budget,
        )

    def _rejection(self, context: Context, rejected: OperationRejected) -> OperationResult:
        result = ExecutionResult(None, rejected.errors)
        return build_result(self.schema.graphql_schema, context, result)
