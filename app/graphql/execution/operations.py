"""Operations that ran before: parsed, measured and validated once, from then on only executed. No HTTP."""

from collections.abc import Mapping
from functools import cached_property
from inspect import isawaitable

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    default_field_resolver,
    default_type_resolver,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from strawberry.types.graphql import OperationType

from app.domain.errors import ValidationFailed
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

_MADE_FOR_A_SELECTION = 4
"""As many as are made for one that nothing is left out of: a function, and what the look-ahead found."""

MAX_BYTES = 16 << 20

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
    ) -> None:
        self.kind = OperationType(definition.operation.value)
        self._schema = schema
        self._core: GraphQLSchema = schema._schema
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

    def begin(self, context: Context) -> None:
        """Note what is run, and count it: RateLimitExceeded if it is one too many.

        ValidationFailed for what one response cannot answer.
        """
        state = context.state
        state["operation_type"] = self.kind.value
        if self._definition.name:
            state["operation_name"] = self._definition.name.value
        if self.kind is OperationType.SUBSCRIPTION:
            raise ValidationFailed("A subscription cannot be answered by one response.")
        if self._is_publishing:
            context.request_count.as_publishing()
        else:
            context.request_count.as_request()

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

    @cached_property
    def _variables(self) -> Variables:
        return Variables(self._core, self._definition.variable_definitions or ())

    @cached_property
    def _plan(self) -> Plan | None:
        """None where only graphql-core can run it."""
        if self.kind is not OperationType.QUERY:
            return None
        converter = self._schema.schema_converter
        try:
            return Plan(self._core, converter, self._fragments, self._definition)
        except Surprise:
            return None

    async def _execute(
        self, context: Context, variables: VariableValues, outcomes: Mapping[str, Outcome]
    ) -> ExecutionResult:
        executor = Executor(
            self._core,
            self._fragments,
            {name: FragmentDetails(each, None) for name, each in self._fragments.items()},
            None,
            context,
            self._definition,
            variables,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            middleware_manager=Outcomes(outcomes) if outcomes else None,
            is_awaitable=isawaitable,
        )
        result = executor.execute_operation()
        if isawaitable(result):
            result = await result
        assert isinstance(result, ExecutionResult)  # noqa: S101 - nothing is delivered in parts
        return result


class Operations:
    """Those that ran last, by their text and the name that was asked for."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._recent: Recent[tuple[str, str | None], Operation] = Recent(
            max_bytes, lambda key, _: BYTES_OF_AN_OPERATION + len(key[0]) * BYTES_OF_A_CHARACTER
        )

    def get(self, text: str, name: str | None) -> Operation | None:
        return self._recent.get((text, name))

    def put(self, text: str, name: str | None, operation: Operation) -> None:
        self._recent.put((text, name), operation)
