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
from app.graphql.engine import limits
from app.graphql.engine.errors import add_validation_code
from app.graphql.engine.prepared import OperationCache, PreparedOperation
from app.graphql.engine.validation import VALIDATION_RULES
from app.graphql.schema.context import Context
from app.graphql.schema.mutations import Mutation
from app.graphql.schema.query import Query
from app.graphql.schema.scalars import SCALARS
from app.graphql.schema.subscription import Subscription
from app.graphql.schema.types import Account, Destination, Post
from app.settings import GraphQLLimits


class OperationRejected(Exception):
    """An operation that does not run, and why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


class Schema(strawberry.Schema):
    """Strawberry's schema, and the gate that every operation passes before it runs."""

    limits: GraphQLLimits
    use_fast_path: bool
    operation_cache: OperationCache
    """Those that passed before; none is kept where not `is_fast`."""

    def prepare(
        self,
        text: str,
        raw_variables: Mapping[str, object],
        context: Context,
        operation_name: str | None,
        allowed_types: frozenset[OperationType],
    ) -> tuple[PreparedOperation, VariableValues]:
        """What may run, once it is counted; Refused for what may not.

        KindNotAllowed for an operation of another kind.
        """
        try:
            operation = self._get_or_prepare_operation(text, context, operation_name, allowed_types)
            coerced = operation.coerce_variables(context, raw_variables, self.limits)
        except RequestError as error:
            raise OperationRejected([GraphQLError(str(error), original_error=error)]) from None
        except GraphQLError as error:
            raise OperationRejected([error]) from None
        if not isinstance(coerced, VariableValues):
            raise OperationRejected(coerced)
        return operation, coerced

    def _get_or_prepare_operation(
        self,
        text: str,
        context: Context,
        operation_name: str | None,
        allowed_types: frozenset[OperationType],
    ) -> PreparedOperation:
        """One that ran before is known to be valid; any other is looked at from all sides."""
        known = self.operation_cache.get(text, operation_name)
        if known is not None:
            known.check_and_charge(context, allowed_types, is_cached=True)
            return known
        document = _parse_and_check(text, self.limits)
        definition = _operation_definition(document, operation_name)
        operation = PreparedOperation(
            self, text, document, definition, use_fast_path=self.use_fast_path
        )
        # Counted before it is validated, which is dear, and not sooner: now it is known what it is.
        operation.check_and_charge(context, allowed_types, is_cached=False)
        if errors := validate_document(core_schema(self), document, VALIDATION_RULES):
            add_validation_code(errors)
            raise OperationRejected(errors)
        self.operation_cache.put(text, operation_name, operation)
        return operation


@cache
def create_schema(graphql_limits: GraphQLLimits, *, use_fast_path: bool = True) -> Schema:
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
    schema.limits = graphql_limits
    schema.use_fast_path = use_fast_path
    schema.operation_cache = OperationCache() if use_fast_path else OperationCache(max_bytes=0)
    _drop_null_defaults(core_schema(schema))
    return schema


def core_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """graphql-core's view of the schema, to walk documents with."""
    return schema._schema


def check_document(schema: strawberry.Schema, text: str, graphql_limits: GraphQLLimits) -> None:
    """Refuse what the gate would, whatever the variables; LimitExceeded or a GraphQLError."""
    document = _parse_and_check(text, graphql_limits)
    if errors := validate_document(core_schema(schema), document, VALIDATION_RULES):
        raise errors[0]


def _parse_and_check(text: str, graphql_limits: GraphQLLimits) -> DocumentNode:
    document = limits.parse_document(text, graphql_limits)
    limits.enforce_limits(limits.collect_stats(document), graphql_limits)
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


def _operation_definition(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
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
