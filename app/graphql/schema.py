"""The schema, its printed form, and the gate that every document passes before it runs. No HTTP."""

from collections.abc import Iterator
from functools import cache

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    build_schema,
    get_operation_ast,
    lexicographic_sort_schema,
    print_schema,
)
from graphql.execution.values import VariableValues, get_variable_values
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import validate_document
from strawberry.types import ExecutionContext

from app.domain.errors import InvalidInput, ValidationFailed
from app.domain.posts import MAX_DESTINATIONS
from app.graphql import limits
from app.graphql.demand import demand_of
from app.graphql.errors import mark_as_validation
from app.graphql.fragments import root_field_names
from app.graphql.mutations import PUBLISHING_FIELDS, Mutation
from app.graphql.query import Query
from app.graphql.scalars import SCALARS
from app.graphql.types import Account, Destination, Post
from app.graphql.validation import RULES, name_variable_errors
from app.settings import GraphQLLimits

_MAX_VARIABLE_ERRORS = 20


class Schema(strawberry.Schema):
    """Strawberry's schema; what becomes of errors is decided in app.graphql.errors alone."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log nothing here: most errors are the caller's."""


@cache
def make_schema(allowed: GraphQLLimits) -> Schema:
    """The schema with a gate for these limits; made once per process, for it takes a while."""
    schema = Schema(
        query=Query,
        mutation=Mutation,
        types=[Post, Destination, Account],
        config=StrawberryConfig(scalar_map=SCALARS),
        extensions=[lambda: Gate(core_schema(schema), allowed)],
    )
    _drop_null_defaults(core_schema(schema))
    return schema


def core_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """graphql-core's view of the schema, to walk documents with."""
    return schema._schema


def check_document(schema: strawberry.Schema, text: str, allowed: GraphQLLimits) -> None:
    """Refuse what the gate would, whatever the variables; LimitExceeded or a GraphQLError."""
    document = _read_within(text, allowed)
    if errors := validate_document(core_schema(schema), document, RULES):
        raise errors[0]


def _read_within(text: str, allowed: GraphQLLimits) -> DocumentNode:
    document = limits.parse_within(text, allowed)
    limits.refuse_excess(limits.measure(document), allowed)
    return document


def print_sdl(schema: strawberry.Schema) -> str:
    """The schema in its own language, sorted, so that a diff shows changes and nothing else."""
    return print_schema(lexicographic_sort_schema(build_schema(schema.as_str()))) + "\n"


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Take back `= null`, which is what Python's `= None` becomes and says nothing to a reader."""
    for named in schema.type_map.values():
        if isinstance(named, GraphQLInputObjectType):
            inputs = list(named.fields.values())
        elif isinstance(named, GraphQLObjectType):
            inputs = [each for field in named.fields.values() for each in field.args.values()]
        else:
            continue
        for each in inputs:
            if each.default_value is None:
                each.default_value = Undefined


class Gate(SchemaExtension):
    """Refuses a document for what it asks before anything expensive is done with it."""

    def __init__(self, schema: GraphQLSchema, allowed: GraphQLLimits) -> None:
        self._schema = schema
        self._limits = allowed

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        context.graphql_document = _read_within(context.query or "", self._limits)
        operation = self._operation()
        state = context.context.state
        state["operation_type"] = operation.operation.value
        if operation.name:
            state["operation_name"] = operation.name.value
        if operation.operation is OperationType.SUBSCRIPTION:
            raise ValidationFailed("A subscription cannot be answered by one response.")
        # Counted before it is validated, which is dear, and not sooner: now it is known what it is.
        names = root_field_names(context.graphql_document, operation) - {"__typename"}
        if names and names <= PUBLISHING_FIELDS:
            context.context.request_count.as_publishing()
        else:
            context.context.request_count.as_request()
        yield

    def on_validate(self) -> Iterator[None]:
        self.execution_context.validation_rules = RULES
        yield
        mark_as_validation(self.execution_context.pre_execution_errors or ())

    def on_execute(self) -> Iterator[None]:
        """Look at the variables: what is asked for with them, or what is wrong with them."""
        context = self.execution_context
        assert context.graphql_document is not None  # noqa: S101 - set by on_parse
        operation = self._operation()
        variables = context.variables or {}
        asked = demand_of(self._schema, context.graphql_document, operation)
        max_values = context.context.max_values
        if max_values is not None and operation.operation is OperationType.MUTATION:
            max_values = max(max_values, MAX_DESTINATIONS)  # of a post, that can be changed whole
        if max_values is not None:
            asked.refuse_long_lists(variables, max_values)
        coerced = get_variable_values(
            self._schema,
            operation.variable_definitions or (),
            variables,
            max_errors=_MAX_VARIABLE_ERRORS,
        )
        if isinstance(coerced, VariableValues):
            asked.refuse_excess(coerced.coerced, self._limits)
        else:
            errors = name_variable_errors(coerced, asked.variable_places)
            context.result = ExecutionResult(data=None, errors=errors)  # nothing is run
        yield

    def _operation(self) -> OperationDefinitionNode:
        context = self.execution_context
        assert context.graphql_document is not None  # noqa: S101 - set by on_parse
        # Strawberry's own `operation_name` answers with the first operation where none was named.
        operation = get_operation_ast(context.graphql_document, context._provided_operation_name)
        if operation is not None:
            return operation
        definitions = context.graphql_document.definitions
        if not any(isinstance(each, OperationDefinitionNode) for each in definitions):
            raise ValidationFailed("The document has no operation; it needs a query.")
        raise InvalidInput(
            "operationName must name an operation of the document; it may be left out only where the"
            " document has exactly one.",
            argument="operationName",
        )
