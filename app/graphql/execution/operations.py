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
from app.graphql.context import Context
from app.graphql.demand import demand_of
from app.graphql.execution.executor import Executor, Outcome, Outcomes
from app.graphql.execution.plan import Incomplete, Plan
from app.graphql.execution.remembered import Remembered
from app.graphql.execution.selections import Surprise
from app.graphql.execution.variables import Variables
from app.graphql.fragments import root_field_names
from app.graphql.mutations import PUBLISHING_FIELDS
from app.graphql.recent import Recent
from app.graphql.validation import name_variable_errors
from app.settings import GraphQLLimits


class KindNotAllowed(Exception):
    """An operation of a kind that does not come in by this way."""


_MADE_FOR_A_SELECTION = 4
"""As many as are made for one that nothing is left out of: a function, and what the look-ahead found."""

MAX_BYTES = 16 << 20

MAX_SUBSCRIPTION_LENGTH = 16_384
"""Characters of its document, which is kept as long as somebody follows."""

BYTES_OF_AN_OPERATION = 6_000
BYTES_OF_A_CHARACTER = 300
"""What a document takes in memory at most for each character of its text: parsed, and with its functions."""


class Operation:
    """One that passed the gate, with what is known of it whatever its variables are."""

    def __init__(
        self,
        schema: strawberry.Schema,
        text: str,
        document: DocumentNode,
        definition: OperationDefinitionNode,
        *,
        is_fast: bool,
    ) -> None:
        """Where not `is_fast`, graphql-core and Strawberry alone run it."""
        self.kind = OperationType(definition.operation.value)
        self.name = definition.name.value if definition.name else None
        self._schema = schema
        self._core: GraphQLSchema = schema._schema
        self._length = len(text)
        self._is_fast = is_fast
        self._document = document
        self._definition = definition
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._demand = demand_of(self._core, document, definition)
        names = root_field_names(document, definition) - {"__typename"}
        self._is_publishing = bool(names) and names <= PUBLISHING_FIELDS
        self._remembered = Remembered(definition, most=_MADE_FOR_A_SELECTION * text.count("{"))

    def begin(self, context: Context, kinds: Container[OperationType], *, is_known: bool) -> None:
        """Note what is run, and count it: RateLimitExceeded if it is one too many.

        A subscription has a limit of its own only once it `is_known`: to validate one is as dear as to
        answer a query. KindNotAllowed for one of another kind, ValidationFailed for what one response
        cannot answer, LimitExceeded for what would be kept for too long.
        """
        state = context.state
        state["operation_type"] = self.kind.value
        if self.name is not None:
            state["operation_name"] = self.name
        if self.kind is OperationType.SUBSCRIPTION and self.kind not in kinds:
            raise ValidationFailed(_NOT_IN_ONE_RESPONSE)
        if self.kind is OperationType.SUBSCRIPTION and is_known:
            context.request_count.as_subscription()
        elif self._is_publishing:
            context.request_count.as_publishing()
        else:
            context.request_count.as_request()
        if self.kind not in kinds:
            raise KindNotAllowed
        if self.kind is OperationType.SUBSCRIPTION and self._length > MAX_SUBSCRIPTION_LENGTH:
            raise LimitExceeded(
                f"The document of a subscription may have {MAX_SUBSCRIPTION_LENGTH:,} characters; it has"
                f" {self._length:,}."
            )

    @property
    def bytes(self) -> int:
        """What it takes in memory at most."""
        return bytes_of(self._length)

    def coerced(
        self, context: Context, given: Mapping[str, object], limits: GraphQLLimits
    ) -> VariableValues | list[GraphQLError]:
        """The values of the variables, or what is wrong with them; LimitExceeded for asking too much."""
        max_values = context.max_values
        if max_values is not None and self.kind is OperationType.MUTATION:
            max_values = max(max_values, MAX_DESTINATIONS)  # of a post, that can be changed whole
        if max_values is not None:
            self._demand.refuse_long_lists(given, max_values)
        coerced = self._variables.coerced(given)
        if not isinstance(coerced, VariableValues):
            return name_variable_errors(coerced, self._demand.variable_places)
        self._demand.refuse_excess(coerced.coerced, limits)
        return coerced

    async def execute(self, context: Context, variables: VariableValues) -> ExecutionResult:
        """As graphql-core does, which has nothing left to prepare, and little to do."""
        if self._plan is None:
            return await self._execute(context, variables, {})
        try:
            return ExecutionResult(await self._plan.run(context, variables), None)
        except Incomplete as incomplete:
            return await self._execute(context, variables, incomplete.outcomes)

    async def events(
        self, context: Context, variables: VariableValues
    ) -> AsyncIterable[object] | ExecutionResult:
        """What a subscription is told of, one after the other; or why there is nothing to follow."""
        stream = create_source_event_stream(self._executor(context, variables, {}))
        if isawaitable(stream):
            stream = await stream
        return stream

    async def respond_to(
        self, event: object, context: Context, variables: VariableValues
    ) -> ExecutionResult:
        """What a subscription answers to one thing that it was told of."""
        return await self._execute(context, variables, {}, event)

    @cached_property
    def resuming_variables(self) -> Collection[str]:
        """Those that say from where a subscription goes on, and nothing else: its answers are the same."""
        uses = _Uses()
        visit(self._document, uses)
        return {
            argument.value.name.value
            for each in self._definition.selection_set.selections
            if isinstance(each, FieldNode)
            for argument in each.arguments or ()
            if argument.name.value == "after"
            and isinstance(argument.value, VariableNode)
            and uses.of[argument.value.name.value] == 1
        }

    @cached_property
    def _variables(self) -> Variables:
        return Variables(self._core, self._definition.variable_definitions or ())

    @cached_property
    def _plan(self) -> Plan | None:
        """None where only graphql-core can run it."""
        if self.kind is not OperationType.QUERY or not self._is_fast:
            return None
        converter = self._schema.schema_converter
        try:
            return Plan(self._core, converter, self._fragments, self._definition)
        except Surprise:
            return None

    async def _execute(
        self,
        context: Context,
        variables: VariableValues,
        outcomes: Mapping[str, Outcome],
        root: object = None,
    ) -> ExecutionResult:
        result = self._executor(context, variables, outcomes, root).execute_operation()
        if isawaitable(result):
            result = await result
        assert isinstance(result, ExecutionResult)  # noqa: S101 - nothing is delivered in parts
        return result

    def _executor(
        self,
        context: Context,
        variables: VariableValues,
        outcomes: Mapping[str, Outcome],
        root: object = None,
    ) -> StrawberryGraphQLCoreExecutionContext:
        executor_class = Executor if self._is_fast else StrawberryGraphQLCoreExecutionContext
        return executor_class(
            self._core,
            self._fragments,
            {name: FragmentDetails(each, None) for name, each in self._fragments.items()},
            root,
            context,
            self._definition,
            variables,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            middleware_manager=Outcomes(outcomes) if outcomes else None,
            is_awaitable=isawaitable,
        )


_NOT_IN_ONE_RESPONSE = (
    "A subscription cannot be answered by one response. Ask for it over a WebSocket with the protocol"
    " graphql-transport-ws, or by POST with 'Accept: text/event-stream'."
)


def bytes_of(length: int) -> int:
    """What an operation takes in memory at most whose document has so many characters."""
    return BYTES_OF_AN_OPERATION + length * BYTES_OF_A_CHARACTER


class _Uses(Visitor):
    """Counts how often each variable is used."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()

    def enter_variable_definition(self, *_: object) -> VisitorAction:
        return SKIP

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.of[node.name.value] += 1


class Operations:
    """Those that ran last, by their text and the name that was asked for."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._recent: Recent[tuple[str, str | None], Operation] = Recent(
            max_bytes, lambda key, _: bytes_of(len(key[0]))
        )

    def get(self, text: str, name: str | None) -> Operation | None:
        return self._recent.get((text, name))

    def put(self, text: str, name: str | None, operation: Operation) -> None:
        self._recent.put((text, name), operation)
