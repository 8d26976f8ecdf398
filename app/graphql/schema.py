"""The schema, its printed form, and the gate that every document passes before it runs. No HTTP."""

from collections.abc import Mapping
from functools import cache

import strawberry
from graphql import (
    DocumentNode,
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
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import validate_document
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidInput, RequestError, ValidationFailed
from app.graphql import limits
from app.graphql.context import Context
from app.graphql.errors import mark_as_validation
from app.graphql.execution.operations import Operation, Operations
from app.graphql.mutations import Mutation
from app.graphql.query import Query
from app.graphql.scalars import SCALARS
from app.graphql.subscription import Subscription
from app.graphql.types import Account, Destination, Post
from app.graphql.validation import RULES
from app.settings import GraphQLLimits


class Refused(Exception):
    """An operation that does not run, and why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


class Schema(strawberry.Schema):
    """Strawberry's schema, and the gate that every operation passes before it runs."""

    allowed: GraphQLLimits
    is_fast: bool
    operations: Operations
    """Those that passed before; none is kept where not `is_fast`."""

    def admit(
        self,
        text: str,
        variables: Mapping[str, object],
        context: Context,
        operation_name: str | None,
        kinds: frozenset[OperationType],
    ) -> tuple[Operation, VariableValues]:
        """What may run, once it is counted; Refused for what may not.

        KindNotAllowed for an operation of another kind.
        """
        try:
            operation = self._operation(text, context, operation_name, kinds)
            coerced = operation.coerced(context, variables, self.allowed)
        except RequestError as error:
            raise Refused([GraphQLError(str(error), original_error=error)]) from None
        except GraphQLError as error:
            raise Refused([error]) from None
        if not isinstance(coerced, VariableValues):
            raise Refused(coerced)
        return operation, coerced

    def _operation(
        self,
        text: str,
        context: Context,
        name: str | None,
        kinds: frozenset[OperationType],
    ) -> Operation:
        """One that ran before is known to be valid; any other is looked at from all sides."""
        known = self.operations.get(text, name)
        if known is not None:
            known.begin(context, kinds, is_known=True)
            return known
        document = _read_within(text, self.allowed)
        definition = _definition(document, name)
        operation = Operation(self, text, document, definition, is_fast=self.is_fast)
        # Counted before it is validated, which is dear, and not sooner: now it is known what it is.
        operation.begin(context, kinds, is_known=False)
        if errors := validate_document(core_schema(self), document, RULES):
            mark_as_validation(errors)
            raise Refused(errors)
        self.operations.put(text, name, operation)
        return operation


@cache
def make_schema(allowed: GraphQLLimits, *, is_fast: bool = True) -> Schema:
    """The schema with a gate for these limits; made once per process, for it takes a while.

    `is_fast` says whether functions made for a document take the place of graphql-core where they can.
    """
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Post, Destination, Account],
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    schema.allowed = allowed
    schema.is_fast = is_fast
    schema.operations = Operations() if is_fast else Operations(max_bytes=0)
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


def _definition(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operation = get_operation_ast(document, name)
    if operation is not None:
        return operation
    if not any(isinstance(each, OperationDefinitionNode) for each in document.definitions):
        raise ValidationFailed("The document has no operation; it needs a query.")
    raise InvalidInput(
        "operationName must name an operation of the document; it may be left out only where the"
        " document has exactly one.",
        argument="operationName",
    )
