"""Operations that ran before: parsed, measured and validated once, from then on only executed. No HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isawaitable

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
from graphql.execution.values import VariableValues, get_variable_values
from strawberry.types.graphql import OperationType

from app.domain.errors import ValidationFailed
from app.domain.posts import MAX_DESTINATIONS
from app.graphql.context import Context
from app.graphql.demand import Demand, demand_of
from app.graphql.execution.executor import Executor
from app.graphql.execution.remembered import Remembered
from app.graphql.fragments import root_field_names
from app.graphql.mutations import PUBLISHING_FIELDS
from app.graphql.recent import Recent
from app.graphql.validation import name_variable_errors
from app.settings import GraphQLLimits

_MAX_VARIABLE_ERRORS = 20

MAX_BYTES = 16 << 20

BYTES_OF_A_CHARACTER = 300
"""What a document takes in memory for each character of its text: parsed, and with its functions."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One that passed the gate, with what is known of it whatever its variables are."""

    kind: OperationType
    definition: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    demand: Demand
    is_publishing: bool
    """Whether it does nothing but publish."""
    remembered: Remembered
    """Kept together with it."""

    @classmethod
    def of(
        cls, schema: GraphQLSchema, document: DocumentNode, definition: OperationDefinitionNode
    ) -> "Operation":
        fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        names = root_field_names(document, definition) - {"__typename"}
        return cls(
            OperationType(definition.operation.value),
            definition,
            fragments,
            demand_of(schema, document, definition),
            is_publishing=bool(names) and names <= PUBLISHING_FIELDS,
            remembered=Remembered(definition),
        )

    def begin(self, context: Context) -> None:
        """Note what is run, and count it: RateLimitExceeded if it is one too many.

        ValidationFailed for what one response cannot answer.
        """
        state = context.state
        state["operation_type"] = self.kind.value
        if self.definition.name:
            state["operation_name"] = self.definition.name.value
        if self.kind is OperationType.SUBSCRIPTION:
            raise ValidationFailed("A subscription cannot be answered by one response.")
        if self.is_publishing:
            context.request_count.as_publishing()
        else:
            context.request_count.as_request()

    def coerced(
        self,
        schema: GraphQLSchema,
        context: Context,
        given: Mapping[str, object],
        limits: GraphQLLimits,
    ) -> VariableValues | list[GraphQLError]:
        """The values of the variables, or what is wrong with them; LimitExceeded for asking too much."""
        max_values = context.max_values
        if max_values is not None and self.kind is OperationType.MUTATION:
            max_values = max(max_values, MAX_DESTINATIONS)  # of a post, that can be changed whole
        if max_values is not None:
            self.demand.refuse_long_lists(given, max_values)
        coerced = get_variable_values(
            schema,
            self.definition.variable_definitions or (),
            dict(given),
            max_errors=_MAX_VARIABLE_ERRORS,
        )
        if not isinstance(coerced, VariableValues):
            return name_variable_errors(coerced, self.demand.variable_places)
        self.demand.refuse_excess(coerced.coerced, limits)
        return coerced

    async def execute(
        self, schema: GraphQLSchema, context: Context, variables: VariableValues
    ) -> ExecutionResult:
        """As graphql-core does, which has nothing left to prepare."""
        executor = Executor(
            schema,
            dict(self.fragments),
            {name: FragmentDetails(each, None) for name, each in self.fragments.items()},
            None,
            context,
            self.definition,
            variables,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
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
            max_bytes, lambda key, _: len(key[0]) * BYTES_OF_A_CHARACTER
        )

    def get(self, text: str, name: str | None) -> Operation | None:
        return self._recent.get((text, name))

    def put(self, text: str, name: str | None, operation: Operation) -> None:
        self._recent.put((text, name), operation)
