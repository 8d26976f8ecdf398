"""An operation that is parsed, analyzed and validated once, then executed any number of times."""

import sys
from collections.abc import AsyncIterable, Collection, Container, Mapping
from datetime import timedelta
from functools import cached_property, partial
from inspect import isawaitable
from typing import NamedTuple

from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableNode,
    default_field_resolver,
    default_type_resolver,
)
from graphql.execution import create_source_event_stream
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.graphql import OperationType

from app.domain.errors import (
    LimitExceeded,
    ResponseTooLarge,
    ServiceUnavailable,
    ValidationFailed,
)
from app.domain.posts import MAX_DESTINATIONS
from app.graphql.ast.document_index import DocumentIndex, IndexedDefinition
from app.graphql.ast.selections import FieldCollector, NotCompilable, OperationMemo
from app.graphql.engine.coercion import VariableCoercer
from app.graphql.engine.compiler import RootCompleter, compile_root_completer
from app.graphql.engine.cost import analyze_cost
from app.graphql.engine.errors import OperationResult, build_result, encode_if_large, public_cause
from app.graphql.engine.estimates import estimate_operation_time
from app.graphql.engine.executor import (
    CountingExecutor,
    Executor,
    ResolvedRootFields,
    RootResult,
    is_large,
)
from app.graphql.engine.limits import DocumentStats
from app.graphql.engine.plan import ExecutionPlan, FallBackToExecutor
from app.graphql.engine.validation import add_argument_paths
from app.graphql.loading.response_limit import drop_frames
from app.graphql.schema.context import Context
from app.graphql.schema.mutations import PUBLISHING_FIELD_NAMES
from app.runtime.computations import compute
from app.settings import GraphQLLimits


class OperationTypeNotAllowed(Exception):
    """Rejection of an operation whose type the transport does not allow."""


_MEMO_ENTRIES_PER_SELECTION_SET = 6
"""Entries of a selection set without conditions: its compiled function, its estimates and its lookaheads."""

_MAX_SUBSCRIPTION_LENGTH = 16_384
"""Limit of a subscription's document in characters; it stays in memory while the subscription is open."""

_BASE_BYTES, _BYTES_PER_TOKEN, _BYTES_PER_FIELD = 15_000, 450, 900
"""Measured memory of an operation: of any, of its AST per token, and of its compiled functions per field."""


class Document(NamedTuple):
    """Text of a GraphQL document, and the limits that apply to its operations."""

    text: str
    limits: GraphQLLimits


class PreparedOperation:
    """An operation with its cost, variable coercer and execution plan."""

    def __init__(
        self,
        graphql_schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        document: Document,
        index: DocumentIndex,
        stats: DocumentStats,
        operation: IndexedDefinition,
        *,
        use_fast_path: bool,
    ) -> None:
        """Analyze an operation of the indexed document, whose stats are `stats`.

        Without the fast path, only graphql-core and Strawberry execute it.
        """
        definition = operation.node
        assert isinstance(definition, OperationDefinitionNode)  # noqa: S101 - from `index.operations`
        self.operation_type = OperationType(definition.operation.value)
        self.name = definition.name.value if definition.name else None
        self.limits = document.limits
        self.graphql_schema = graphql_schema
        self._converter = converter
        self._length = len(document.text)
        self.estimated_bytes = (
            _BASE_BYTES
            + sys.getsizeof(document.text)
            + _BYTES_PER_TOKEN * index.document.token_count
            + _BYTES_PER_FIELD * stats.fields
        )
        """Estimate of the memory that the operation takes once it was executed: 0.8 to 2.5 times as much."""
        self._use_fast_path = use_fast_path
        self._definition = definition
        self._fragments = {
            node.name.value: node
            for node in index.document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._cost = analyze_cost(self.graphql_schema, index, operation)
        self.cursor_variables = _cursor_variables(index, definition)
        """Variables used only as `after`: they choose where a subscription resumes, not its responses."""
        names = index.root_field_names(operation) - {"__typename"}
        self._is_publishing = bool(names) and names <= PUBLISHING_FIELD_NAMES
        self._memo = OperationMemo(
            definition, max_entries=_MEMO_ENTRIES_PER_SELECTION_SET * document.text.count("{")
        )
        """Results of `memoize` for this operation; this reference keeps them in memory."""

    def admit(
        self, context: Context, allowed_types: Container[OperationType], *, is_cached: bool
    ) -> None:
        """Admit the operation: record it for log and metrics, check its type, and charge its rate limit.

        A subscription is charged to its own limit only if it is cached: validating a new one costs as
        much as answering a query. Raises RateLimitExceeded, OperationTypeNotAllowed, ValidationFailed
        for a subscription over a single-response transport, and LimitExceeded for a subscription whose
        document is too long.
        """
        request, rate_limits = context.request, context.app_state.rate_limits
        request.operation_type = self.operation_type.value
        request.operation_name = self.name
        is_subscription = self.operation_type is OperationType.SUBSCRIPTION
        if is_subscription and self.operation_type not in allowed_types:
            raise ValidationFailed(_SUBSCRIPTION_NEEDS_STREAM)
        if is_subscription and is_cached:
            rate_limits.charge_subscription(request)
        elif self._is_publishing:
            rate_limits.charge_publishing(request)
        else:
            rate_limits.charge_request(request)
        if self.operation_type not in allowed_types:
            raise OperationTypeNotAllowed
        if is_subscription and self._length > _MAX_SUBSCRIPTION_LENGTH:
            raise LimitExceeded(
                f"The document of a subscription has {self._length:,} characters; at most"
                f" {_MAX_SUBSCRIPTION_LENGTH:,} are allowed."
            )

    async def coerce_variables(
        self, context: Context, raw_variables: Mapping[str, object]
    ) -> VariableValues | list[GraphQLError]:
        """Return the coerced variables, or the errors of invalid ones.

        Raises LimitExceeded for too long lists and for too many nodes. Lists and objects are coerced in a
        thread: there may be hundreds of thousands of values.
        """
        if any(isinstance(value, (list, dict)) for value in raw_variables.values()):
            return await compute(self._coerce_variables, context, raw_variables)
        return self._coerce_variables(context, raw_variables)

    def _coerce_variables(
        self, context: Context, raw_variables: Mapping[str, object]
    ) -> VariableValues | list[GraphQLError]:
        max_argument_values = context.max_argument_values
        if max_argument_values is not None and self.operation_type is OperationType.MUTATION:
            # A mutation may replace all destinations of a post.
            max_argument_values = max(max_argument_values, MAX_DESTINATIONS)
        if max_argument_values is not None:
            self._cost.check_argument_sizes(raw_variables, max_argument_values)
        coerced = self._variable_coercer.coerce(raw_variables)
        if not isinstance(coerced, VariableValues):
            return add_argument_paths(coerced, self._cost.variable_paths)
        self._cost.check_node_limit(coerced.coerced, self.limits)
        return coerced

    async def execute(self, context: Context, variables: VariableValues) -> OperationResult:
        """Execute a query or mutation; a query with a too large response is answered by an error."""
        limit = context.response_limit
        limit.allows_partial_data = self.operation_type is OperationType.MUTATION
        return await encode_if_large(
            self.graphql_schema, context, await self._execute(context, variables)
        )

    async def _execute(self, context: Context, variables: VariableValues) -> OperationResult:
        """Execute a query or mutation, by its plan if it has one, else by graphql-core."""
        root_results: Mapping[str, RootResult] = {}
        if "_execution_plan" not in vars(self):  # where it is cached
            # Compiling the functions of a document takes as long as its validation.
            await compute(lambda: self._execution_plan)
        if self._execution_plan is not None:
            try:
                data = await self._execution_plan.run(context, variables)
            except FallBackToExecutor as fallback:
                root_results = fallback.root_results
            except ResponseTooLarge:
                return build_result(self.graphql_schema, context, ExecutionResult())
            else:
                return OperationResult(is_executed=True, data=data, errors=[])
        result = await self._run_executor(context, variables, root_results)
        return build_result(self.graphql_schema, context, result)

    async def subscribe(
        self, context: Context, variables: VariableValues
    ) -> AsyncIterable[object] | ExecutionResult:
        """Start a subscription; return its source events, or the errors that prevent the start."""
        stream = create_source_event_stream(self._build_executor(context, variables, {}))
        if isawaitable(stream):
            stream = await stream
        return stream

    async def execute_event(
        self, payload: object, context: Context, variables: VariableValues
    ) -> OperationResult:
        """Complete the payload of an event; a response that is too large is replaced by an error.

        Raises ServiceUnavailable if the database was unavailable to any field.
        """
        return await encode_if_large(
            self.graphql_schema, context, await self._execute_event(payload, context, variables)
        )

    async def _execute_event(
        self, payload: object, context: Context, variables: VariableValues
    ) -> OperationResult:
        """Complete the payload by a compiled function if there is one, else by graphql-core."""
        if self._event_plan is not None:
            plan = self._event_plan
            limit = context.response_limit
            complete = partial(
                limit.rollback_on_error,
                plan.complete,
                dict.fromkeys(plan.response_keys, payload),
                variables.coerced,
                limit,
            )
            try:
                is_large_event = is_large(context, plan.time_per_value)
                data = await compute(complete) if is_large_event else complete()
            except Exception:  # noqa: BLE001 - graphql-core raises and formats the same error
                if limit.is_refused:
                    return build_result(self.graphql_schema, context, ExecutionResult())
            else:
                return OperationResult(is_executed=True, data=data, errors=[])
        result = await self._run_executor(context, variables, {}, payload)
        for error in result.errors or ():
            if isinstance(cause := public_cause(error), ServiceUnavailable):
                raise cause
        return build_result(self.graphql_schema, context, result)

    @cached_property
    def _variable_coercer(self) -> VariableCoercer:
        return VariableCoercer(self.graphql_schema, self._definition.variable_definitions or ())

    @cached_property
    def _execution_plan(self) -> ExecutionPlan | None:
        """Plan of a query; None if only graphql-core can execute the operation."""
        if self.operation_type is not OperationType.QUERY or not self._use_fast_path:
            return None
        try:
            return ExecutionPlan(
                self.graphql_schema, self._converter, self._fragments, self._definition
            )
        except NotCompilable:
            return None

    @cached_property
    def _event_plan(self) -> "_EventPlan | None":
        """Plan of a subscription; None if only graphql-core can execute it."""
        if not self._use_fast_path:
            return None
        root = self.graphql_schema.subscription_type
        assert root is not None  # noqa: S101 - the schema has a subscription type
        field_collector = FieldCollector(self.graphql_schema, self._fragments)
        try:
            selected_fields = field_collector.collect_fields(root, [self._definition.selection_set])
            complete = compile_root_completer(field_collector, root, selected_fields)
        except NotCompilable:
            return None
        time_per_value = estimate_operation_time(field_collector, self._definition)
        return _EventPlan(selected_fields, complete, time_per_value)

    async def _run_executor(
        self,
        context: Context,
        variables: VariableValues,
        root_results: Mapping[str, RootResult],
        root_value: object = None,
    ) -> ExecutionResult:
        executor = self._build_executor(context, variables, root_results, root_value)
        try:
            result = executor.execute_operation()
            if isawaitable(result):
                result = await result
        except ResponseTooLarge as error:
            drop_frames(error)
            return ExecutionResult()  # `build_result` adds the error
        assert isinstance(result, ExecutionResult)  # noqa: S101 - without @defer there is one result
        return result

    def _build_executor(
        self,
        context: Context,
        variables: VariableValues,
        root_results: Mapping[str, RootResult],
        root_value: object = None,
    ) -> CountingExecutor:
        executor_class = Executor if self._use_fast_path else CountingExecutor
        return executor_class(
            self.graphql_schema,
            self._fragments,
            {name: FragmentDetails(node, None) for name, node in self._fragments.items()},
            root_value,
            context,
            self._definition,
            variables,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            middleware_manager=ResolvedRootFields(root_results) if root_results else None,
            is_awaitable=isawaitable,
        )


class _EventPlan(NamedTuple):
    """Root fields of a subscription, which all complete the payload of an event."""

    response_keys: Collection[str]
    complete: RootCompleter
    time_per_value: timedelta


_SUBSCRIPTION_NEEDS_STREAM = (
    "A subscription cannot be answered by one response. Ask for it over a WebSocket with the protocol"
    " graphql-transport-ws, or by POST with 'Accept: text/event-stream'."
)


def _cursor_variables(index: DocumentIndex, operation: OperationDefinitionNode) -> Collection[str]:
    return {
        argument.value.name.value
        for field in operation.selection_set.selections
        if isinstance(field, FieldNode)
        for argument in field.arguments or ()
        if argument.name.value == "after"
        and isinstance(argument.value, VariableNode)
        and index.variable_uses[argument.value.name.value] == 1
    }
