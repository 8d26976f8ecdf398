"""The schema, its printed form, and the gate that every document passes before it runs. No HTTP."""

from collections.abc import Iterator, Mapping
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
    Undefined,
    build_schema,
    get_operation_ast,
    lexicographic_sort_schema,
    print_schema,
)
from graphql.execution.values import VariableValues
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import validate_document
from strawberry.types import ExecutionContext
from strawberry.types import ExecutionResult as StrawberryResult
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidInput, RequestError, ValidationFailed
from app.graphql import limits
from app.graphql.context import Context
from app.graphql.errors import mark_as_validation
from app.graphql.execution.executor import Executor
from app.graphql.execution.operations import Operation, Operations
from app.graphql.mutations import Mutation
from app.graphql.query import Query
from app.graphql.scalars import SCALARS
from app.graphql.types import Account, Destination, Post
from app.graphql.validation import RULES
from app.settings import GraphQLLimits


class Schema(strawberry.Schema):
    """Strawberry's schema; what becomes of errors is decided in app.graphql.errors alone."""

    allowed: GraphQLLimits
    operations: Operations | None = None
    """Those that need not be prepared again; None where graphql-core alone runs everything."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log nothing here: most errors are the caller's."""

    async def answer(
        self,
        text: str,
        variables: Mapping[str, object],
        context: Context,
        operation_name: str | None,
        allowed: frozenset[OperationType],
    ) -> ExecutionResult | StrawberryResult:
        """Run an operation: at once if it is known, else after all that the gate does with it."""
        known = self.operations.get(text, operation_name) if self.operations else None
        if known is None or known.kind not in allowed:
            return await self.execute(
                text,
                variable_values=dict(variables),
                context_value=context,
                operation_name=operation_name,
                allowed_operation_types=allowed,
            )
        try:
            known.begin(context)
            coerced = known.coerced(context, variables, self.allowed)
        except RequestError as error:
            return ExecutionResult(None, [GraphQLError(str(error), original_error=error)])
        if not isinstance(coerced, VariableValues):
            return ExecutionResult(None, coerced)
        return await known.execute(context, coerced)


@cache
def make_schema(allowed: GraphQLLimits, *, is_fast: bool = True) -> Schema:
    """The schema with a gate for these limits; made once per process, for it takes a while.

    `is_fast` says whether functions made for a document take the place of graphql-core where they can.
    """
    schema = Schema(
        query=Query,
        mutation=Mutation,
        types=[Post, Destination, Account],
        config=StrawberryConfig(scalar_map=SCALARS),
        extensions=[lambda: Gate(schema, allowed)],
        execution_context_class=Executor if is_fast else None,
    )
    schema.allowed = allowed
    if is_fast:
        schema.operations = Operations()
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

    def __init__(self, schema: Schema, allowed: GraphQLLimits) -> None:
        self._schema = schema
        self._limits = allowed

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        text = context.query or ""
        context.graphql_document = document = _read_within(text, self._limits)
        self._operation = Operation(self._schema, text, document, self._definition())
        # Counted before it is validated, which is dear, and not sooner: now it is known what it is.
        self._operation.begin(context.context)
        yield

    def on_validate(self) -> Iterator[None]:
        self.execution_context.validation_rules = RULES
        yield
        mark_as_validation(self.execution_context.pre_execution_errors or ())

    def on_execute(self) -> Iterator[None]:
        """Look at the variables; a document that comes so far need not be looked at again."""
        context = self.execution_context
        if self._schema.operations is not None:
            name = context._provided_operation_name
            self._schema.operations.put(context.query or "", name, self._operation)
        coerced = self._operation.coerced(context.context, context.variables or {}, self._limits)
        if not isinstance(coerced, VariableValues):
            context.result = ExecutionResult(data=None, errors=coerced)  # nothing is run
        yield

    def _definition(self) -> OperationDefinitionNode:
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
