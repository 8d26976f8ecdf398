"""Operations that ran before: parsed, measured and validated once, from then on only executed. No HTTP."""

from collections import Counter
from collections.abc import AsyncIterable, Collection, Container, Mapping
from functools import cached_property
from inspect import isawaitable

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableNode,
    default_field_resolver,
    default_type_resolver,
    visit,
)
from graphql.execution import create_source_event_stream
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from graphql.language import SKIP, Visitor, VisitorAction
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.graphql import OperationType

from app.domain.errors import LimitExceeded, ValidationFailed
from app.domain.posts import MAX_DESTINATIONS
from app.graphql.ast.fragments import root_field_names
from app.graphql.ast.memo import OperationMemo
from app.graphql.ast.selections import Unsupported
from app.graphql.engine.cost import analyze_cost
from app.graphql.engine.executor import Executor, ResolvedRootFields, RootResult
from app.graphql.engine.lru import SizedLRUCache
from app.graphql.engine.plan import ExecutionPlan, FallBackToExecutor
from app.graphql.engine.validation import add_argument_paths
from app.graphql.engine.variables import VariableCoercer
from app.graphql.schema.context import Context
from app.graphql.schema.mutations import PUBLISHING_FIELD_NAMES
from app.settings import GraphQLLimits


class OperationTypeNotAllowed(Exception):
    """An operation of a kind that does not come in by this way."""


_MEMO_ENTRIES_PER_SELECTION = 4
"""As many as are made for one that nothing is left out of: a function, and what the look-ahead found."""

MAX_OPERATION_CACHE_BYTES = 16 << 20

MAX_SUBSCRIPTION_LENGTH = 16_384
"""Characters of its document, which is kept as long as somebody follows."""

BASE_BYTES_PER_OPERATION = 6_000
BYTES_PER_CHARACTER = 300
"""What a document takes in memory at most for each character of its text: parsed, and with its functions."""


class PreparedOperation:
    """One that passed the gate, with what is known of it whatever its variables are."""

    def __init__(
        self,
        schema: strawberry.Schema,
        text: str,
        document: DocumentNode,
        definition: OperationDefinitionNode,
        *,
        use_fast_path: bool,
    ) -> None:
        """Where not `is_fast`, graphql-core and Strawberry alone run it."""
        self.operation_type = OperationType(definition.operation.value)
        self.name = definition.name.value if definition.name else None
        self._schema = schema
        self._core_schema: GraphQLSchema = schema._schema
        self._length = len(text)
        self._use_fast_path = use_fast_path
        self._document = document
        self._definition = definition
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._cost = analyze_cost(self._core_schema, document, definition)
        names = root_field_names(document, definition) - {"__typename"}
        self._is_publishing = bool(names) and names <= PUBLISHING_FIELD_NAMES
        self._memo = OperationMemo(
            definition, max_entries=_MEMO_ENTRIES_PER_SELECTION * text.count("{")
        )

    def check_and_charge(
        self, context: Context, allowed_types: Container[OperationType], *, is_cached: bool
    ) -> None:
        """Note what is run, and count it: RateLimitExceeded if it is one too many.

        A subscription has a limit of its own only once it `is_known`: to validate one is as dear as to
        answer a query. KindNotAllowed for one of another kind, ValidationFailed for what one response
        cannot answer, LimitExceeded for what would be kept for too long.
        """
        state = context.state
        state["operation_type"] = self.operation_type.value
        if self.name is not None:
            state["operation_name"] = self.name
        if (
            self.operation_type is OperationType.SUBSCRIPTION
            and self.operation_type not in allowed_types
        ):
            raise ValidationFailed(_SUBSCRIPTION_NEEDS_STREAM)
        if self.operation_type is OperationType.SUBSCRIPTION and is_cached:
            context.rate_limit_charge.charge_subscription()
        elif self._is_publishing:
            context.rate_limit_charge.charge_publishing()
        else:
            context.rate_limit_charge.charge_request()
        if self.operation_type not in allowed_types:
            raise OperationTypeNotAllowed
        if (
            self.operation_type is OperationType.SUBSCRIPTION
            and self._length > MAX_SUBSCRIPTION_LENGTH
        ):
            raise LimitExceeded(
                f"The document of a subscription may have {MAX_SUBSCRIPTION_LENGTH:,} characters; it has"
                f" {self._length:,}."
            )

    @property
    def estimated_bytes(self) -> int:
        """What it takes in memory at most."""
        return estimate_bytes(self._length)

    def coerce_variables(
        self, context: Context, raw_variables: Mapping[str, object], limits: GraphQLLimits
    ) -> VariableValues | list[GraphQLError]:
        """The values of the variables, or what is wrong with them; LimitExceeded for asking too much."""
        max_values = context.max_values
        if max_values is not None and self.operation_type is OperationType.MUTATION:
            max_values = max(max_values, MAX_DESTINATIONS)  # of a post, that can be changed whole
        if max_values is not None:
            self._cost.check_list_sizes(raw_variables, max_values)
        coerced = self._variable_coercer.coerce(raw_variables)
        if not isinstance(coerced, VariableValues):
            return add_argument_paths(coerced, self._cost.variable_paths)
        self._cost.check_node_limit(coerced.coerced, limits)
        return coerced

    async def execute(self, context: Context, variables: VariableValues) -> ExecutionResult:
        """As graphql-core does, which has nothing left to prepare, and little to do."""
        if self._execution_plan is None:
            return await self._run_executor(context, variables, {})
        try:
            return ExecutionResult(await self._execution_plan.run(context, variables), None)
        except FallBackToExecutor as incomplete:
            return await self._run_executor(context, variables, incomplete.root_results)

    async def subscribe(
        self, context: Context, variables: VariableValues
    ) -> AsyncIterable[object] | ExecutionResult:
        """What a subscription is told of, one after the other; or why there is nothing to follow."""
        stream = create_source_event_stream(self._build_executor(context, variables, {}))
        if isawaitable(stream):
            stream = await stream
        return stream

    async def execute_event(
        self, event: object, context: Context, variables: VariableValues
    ) -> ExecutionResult:
        """What a subscription answers to one thing that it was told of."""
        return await self._run_executor(context, variables, {}, event)

    @cached_property
    def cursor_variables(self) -> Collection[str]:
        """Those that say from where a subscription goes on, and nothing else: its answers are the same."""
        uses = _VariableUseCounter()
        visit(self._document, uses)
        return {
            argument.value.name.value
            for each in self._definition.selection_set.selections
            if isinstance(each, FieldNode)
            for argument in each.arguments or ()
            if argument.name.value == "after"
            and isinstance(argument.value, VariableNode)
            and uses.counts[argument.value.name.value] == 1
        }

    @cached_property
    def _variable_coercer(self) -> VariableCoercer:
        return VariableCoercer(self._core_schema, self._definition.variable_definitions or ())

    @cached_property
    def _execution_plan(self) -> ExecutionPlan | None:
        """None where only graphql-core can run it."""
        if self.operation_type is not OperationType.QUERY or not self._use_fast_path:
            return None
        converter = self._schema.schema_converter
        try:
            return ExecutionPlan(self._core_schema, converter, self._fragments, self._definition)
        except Unsupported:
            return None

    async def _run_executor(
        self,
        context: Context,
        variables: VariableValues,
        root_results: Mapping[str, RootResult],
        root_value: object = None,
    ) -> ExecutionResult:
        result = self._build_executor(
            context, variables, root_results, root_value
        ).execute_operation()
        if isawaitable(result):
            result = await result
        assert isinstance(result, ExecutionResult)  # noqa: S101 - nothing is delivered in parts
        return result

    def _build_executor(
        self,
        context: Context,
        variables: VariableValues,
        root_results: Mapping[str, RootResult],
        root_value: object = None,
    ) -> StrawberryGraphQLCoreExecutionContext:
        executor_class = Executor if self._use_fast_path else StrawberryGraphQLCoreExecutionContext
        return executor_class(
            self._core_schema,
            self._fragments,
            {name: FragmentDetails(each, None) for name, each in self._fragments.items()},
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


_SUBSCRIPTION_NEEDS_STREAM = (
    "A subscription cannot be answered by one response. Ask for it over a WebSocket with the protocol"
    " graphql-transport-ws, or by POST with 'Accept: text/event-stream'."
)


def estimate_bytes(characters: int) -> int:
    """What an operation takes in memory at most whose document has so many characters."""
    return BASE_BYTES_PER_OPERATION + characters * BYTES_PER_CHARACTER


class _VariableUseCounter(Visitor):
    """Counts how often each variable is used."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def enter_variable_definition(self, *_: object) -> VisitorAction:
        return SKIP

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.counts[node.name.value] += 1


class OperationCache:
    """Those that ran last, by their text and the name that was asked for."""

    def __init__(self, max_bytes: int = MAX_OPERATION_CACHE_BYTES) -> None:
        self._cache: SizedLRUCache[tuple[str, str | None], PreparedOperation] = SizedLRUCache(
            max_bytes, lambda key, _: estimate_bytes(len(key[0]))
        )

    def get(self, text: str, operation_name: str | None) -> PreparedOperation | None:
        return self._cache.get((text, operation_name))

    def put(self, text: str, operation_name: str | None, operation: PreparedOperation) -> None:
        self._cache.put((text, operation_name), operation)
