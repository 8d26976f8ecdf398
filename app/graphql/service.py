"""The door that every operation comes in by: who asks, and what becomes of what they ask. No transport."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from graphql import ExecutionResult, GraphQLError
from starlette.requests import HTTPConnection
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidApiKey, RateLimitExceeded
from app.graphql.document_budget import DocumentMemoryBudget
from app.graphql.engine.errors import OperationResult, error_entries, public_cause
from app.graphql.engine.executable_schema import OperationRejected, Schema, core_schema
from app.graphql.loading.loaders import ListSizeLimit
from app.graphql.response_cache import ResponseCache
from app.graphql.schema.context import AppState, Context
from app.graphql.schema.subscription import PendingEvent
from app.graphql.subscription_stream import SubscriptionStream
from app.graphql.timeouts import ConnectionTimeouts
from app.http.concurrency import ConcurrencyLimiter
from app.http.rate_limits import RateLimitCharge, RateLimits
from app.http.request_headers import bearer_token
from app.http.state import RequestState, request_state
from app.services.api_keys import ApiKeyAuthenticator, LastUsedRecorder

QUERY_ONLY = frozenset({OperationType.QUERY})
QUERY_AND_MUTATION = frozenset({OperationType.QUERY, OperationType.MUTATION})
SUBSCRIPTION = frozenset({OperationType.SUBSCRIPTION})


@dataclass(slots=True, kw_only=True)
class GraphQLService:
    """Opens a context for a request and runs operations in it."""

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
        """Authenticate the request by its header, or raise InvalidApiKey; its door has it counted."""
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
        """Authenticate whoever has this token, or raise InvalidApiKey.

        Documents of our own need neither limit: no list in them leads back to itself, and their
        variables were measured when they were read.
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
            list_limit=ListSizeLimit(max_list_entries),
            max_values=max_values,
            rate_limit_charge=RateLimitCharge(self.rate_limits, viewer.key_id, state),
        )

    async def wait_until_revoked(self, token: str) -> None:
        """Return when whoever came in with this token is not to stay."""
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
        """Run one operation; what is wrong with it is in the answer, not raised.

        But for RateLimitExceeded, if it is one too many: it is not the document that is refused.
        """
        answer = await self.execute_or_subscribe(
            context, query, variables, operation_name, allowed_types=allowed_types
        )
        if isinstance(answer, SubscriptionStream):
            raise TypeError("a subscription is opened, and not run")
        return answer

    async def execute_or_subscribe(
        self,
        context: Context,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        *,
        allowed_types: frozenset[OperationType] = QUERY_AND_MUTATION | SUBSCRIPTION,
    ) -> OperationResult | SubscriptionStream:
        """As `run`; a subscription is begun, and has its answers one after the other.

        RateLimitExceeded or ServiceUnavailable also where too many of them are open.
        """
        given = variables or {}
        try:
            operation, coerced = self.schema.prepare(
                query, given, context, operation_name, allowed_types
            )
        except OperationRejected as refused:
            return self._build_result(context, ExecutionResult(None, refused.errors))
        if operation.operation_type is not OperationType.SUBSCRIPTION:
            return self._build_result(context, await operation.execute(context, coerced))
        self.subscription_limiter.check(context.viewer.key_id)
        self.document_budget.check(operation)
        told = await operation.subscribe(context, coerced)
        if isinstance(told, ExecutionResult):
            return replace(self._build_result(context, told), is_executed=False)
        return SubscriptionStream(
            operation,
            query,
            given,
            coerced,
            context,
            cast("AsyncGenerator[PendingEvent, None]", told),
            response_cache=self.response_cache,
            subscription_limiter=self.subscription_limiter,
            document_budget=self.document_budget,
            build_result=self._build_result,
        )

    def _build_result(self, context: Context, result: ExecutionResult) -> OperationResult:
        refusal = context.list_limit.error
        if not result.errors and refusal is None:
            return OperationResult(is_executed=True, data=result.data, errors=[])
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
        return OperationResult(
            # A failure that reached the root has a path; without one nothing was run.
            is_executed=result.data is not None or any(error.path is not None for error in errors),
            data=result.data,
            errors=entries,
        )
