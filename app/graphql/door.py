"""The door that every operation comes in by: who asks, and what becomes of what they ask. No transport."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from graphql import ExecutionResult, GraphQLError
from starlette.requests import HTTPConnection
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidApiKey, RateLimitExceeded
from app.graphql.context import Context, Shared
from app.graphql.errors import Answer, error_entries, public_cause
from app.graphql.loaders import ListEntries
from app.graphql.schema import Refused, Schema, core_schema
from app.graphql.streams.answers import SharedAnswers
from app.graphql.streams.documents import OpenDocuments
from app.graphql.streams.stream import Stream
from app.graphql.streams.times import Times
from app.graphql.subscription import Told
from app.http.headers import bearer_token
from app.http.places import Places
from app.http.rate_limits import RateLimits, RequestCount
from app.http.state import RequestState, request_state
from app.services.api_keys import Keys, KeyUsage

QUERY_ONLY = frozenset({OperationType.QUERY})
QUERY_AND_MUTATION = frozenset({OperationType.QUERY, OperationType.MUTATION})
SUBSCRIPTION = frozenset({OperationType.SUBSCRIPTION})


@dataclass(slots=True, kw_only=True)
class GraphQLDoor:
    """Opens a context for a request and runs operations in it."""

    schema: Schema
    shared: Shared
    rate_limits: RateLimits
    keys: Keys
    key_usage: KeyUsage
    places: Places
    times: Times
    answers: SharedAnswers
    open_documents: OpenDocuments = field(default_factory=OpenDocuments)

    async def context_for(
        self,
        request: HTTPConnection,
        *,
        max_list_entries: int | None = None,
        max_values: int | None = None,
    ) -> Context:
        """Authenticate the request by its header, or raise InvalidApiKey; its door has it counted."""
        return await self.context_of(
            bearer_token(request.scope),
            request.client.host if request.client else None,
            request_state(request.scope),
            max_list_entries=max_list_entries,
            max_values=max_values,
        )

    async def context_of(
        self,
        token: str | None,
        address: str | None,
        state: RequestState,
        *,
        max_list_entries: int | None = None,
        max_values: int | None = None,
    ) -> Context:
        """Authenticate whoever has this token, or raise InvalidApiKey.

        Documents of our own need neither limit: no list in them leads back to itself, and their
        variables were measured when they were read.
        """
        now = self.shared.clock()
        try:
            viewer = await self.keys.authenticate(token, now)
        except InvalidApiKey:
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

    async def until_refused(self, token: str) -> None:
        """Return when whoever came in with this token is not to stay."""
        await self.keys.until_refused(token, self.shared.clock, self.times.keys_rechecked_after)

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
        answer = await self.open(context, query, variables, operation_name, allowed=allowed)
        if isinstance(answer, Stream):
            raise TypeError("a subscription is opened, and not run")
        return answer

    async def open(
        self,
        context: Context,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        *,
        allowed: frozenset[OperationType] = QUERY_AND_MUTATION | SUBSCRIPTION,
    ) -> Answer | Stream:
        """As `run`; a subscription is begun, and has its answers one after the other.

        RateLimitExceeded or ServiceUnavailable also where too many of them are open.
        """
        given = variables or {}
        try:
            operation, coerced = self.schema.admit(query, given, context, operation_name, allowed)
        except Refused as refused:
            return self._answer(context, ExecutionResult(None, refused.errors))
        if operation.kind is not OperationType.SUBSCRIPTION:
            return self._answer(context, await operation.execute(context, coerced))
        self.places.check(context.viewer.key_id)
        self.open_documents.check(operation)
        told = await operation.events(context, coerced)
        if isinstance(told, ExecutionResult):
            return replace(self._answer(context, told), executed=False)
        return Stream(
            operation,
            query,
            given,
            coerced,
            context,
            cast("AsyncGenerator[Told, None]", told),
            shared=self.answers,
            places=self.places,
            documents=self.open_documents,
            to_answer=self._answer,
        )

    def _answer(self, context: Context, result: ExecutionResult) -> Answer:
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
