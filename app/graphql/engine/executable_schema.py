"""The executable schema: checks, validates and caches operations, and prints the SDL."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import strawberry
from cachetools import LRUCache
from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    build_schema,
    lexicographic_sort_schema,
    print_schema,
)
from graphql.execution.values import VariableValues
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import validate_document
from strawberry.types.graphql import OperationType

from app.domain.errors import InvalidInput, RequestError, ValidationFailed
from app.graphql.ast.document_index import DocumentIndex, IndexedDefinition
from app.graphql.engine.errors import add_validation_code
from app.graphql.engine.limits import (
    DocumentStats,
    collect_stats,
    enforce_limits,
    parse_document,
)
from app.graphql.engine.prepared_operation import Document, PreparedOperation
from app.graphql.engine.validation import VALIDATION_RULES
from app.graphql.schema.accounts import Account
from app.graphql.schema.context import Context, Info
from app.graphql.schema.destinations import Destination
from app.graphql.schema.mutations import Mutation
from app.graphql.schema.posts import Post
from app.graphql.schema.query import Query
from app.graphql.schema.scalars import SCALARS
from app.graphql.schema.subscription import Subscription
from app.runtime.computations import compute
from app.settings import GraphQLLimits

_MAX_OPERATION_CACHE_BYTES = 16 << 20


class OperationRejected(Exception):
    """Rejection of an operation before its execution; `errors` are those of the response."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


class Schema(strawberry.Schema):
    """Strawberry's schema with document limits and a cache of prepared operations."""

    limits: GraphQLLimits
    """Limits of the documents of clients and of REST."""
    use_fast_path: bool
    operation_cache: LRUCache[tuple[str, str | None], PreparedOperation]
    """Cache of valid operations by document text and operation name; empty without the fast path."""

    @property
    def graphql_schema(self) -> GraphQLSchema:
        """graphql-core's schema, which Strawberry wraps."""
        return self._schema

    async def prepare(
        self,
        document: Document,
        raw_variables: Mapping[str, object],
        context: Context,
        operation_name: str | None,
        allowed_types: frozenset[OperationType],
    ) -> tuple[PreparedOperation, VariableValues]:
        """Check, charge and coerce an operation.

        Raises OperationRejected, or OperationTypeNotAllowed for a type not in `allowed_types`.
        """
        try:
            operation = self._find_cached(document, operation_name)
            if operation is None:
                operation = await self._prepare_new(
                    document, context, operation_name, allowed_types
                )
            else:  # known to be valid
                operation.admit(context, allowed_types, is_cached=True)
            coerced = await operation.coerce_variables(context, raw_variables)
        except RequestError as error:
            raise OperationRejected([GraphQLError(str(error), original_error=error)]) from None
        except GraphQLError as error:
            raise OperationRejected([error]) from None
        if not isinstance(coerced, VariableValues):
            raise OperationRejected(coerced)
        return operation, coerced

    async def _prepare_new(
        self,
        document: Document,
        context: Context,
        operation_name: str | None,
        allowed_types: frozenset[OperationType],
    ) -> PreparedOperation:
        operation, index = await compute(self._analyze, document, operation_name)
        # Charged before validation, which is expensive, but after parsing, which gives the type.
        operation.admit(context, allowed_types, is_cached=False)
        if errors := await compute(
            validate_document, self.graphql_schema, index.document, VALIDATION_RULES
        ):
            add_validation_code(errors)
            raise OperationRejected(errors)
        # Requests with the same document share the memory of the first one that was prepared.
        if (cached := self._find_cached(document, operation_name)) is not None:
            return cached
        with suppress(ValueError):  # larger than the whole cache
            self.operation_cache[document.text, operation_name] = operation
        return operation

    def _find_cached(
        self, document: Document, operation_name: str | None
    ) -> PreparedOperation | None:
        operation = self.operation_cache.get((document.text, operation_name))
        return operation if operation and operation.limits is document.limits else None

    def _analyze(
        self, document: Document, operation_name: str | None
    ) -> tuple[PreparedOperation, DocumentIndex]:
        """Parse a document and analyze its operation; raises RequestError or GraphQLError."""
        index, stats = _parse_and_check(document.text, document.limits)
        operation = PreparedOperation(
            self.graphql_schema,
            self.schema_converter,
            document,
            index,
            stats,
            _find_operation(index, operation_name),
            use_fast_path=self.use_fast_path,
        )
        return operation, index


@cache
def create_schema(graphql_limits: GraphQLLimits, *, use_fast_path: bool = True) -> Schema:
    """Create the schema with these limits, once per process since it takes a while.

    The fast path caches operations and replaces graphql-core by compiled functions where possible.
    """
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Post, Destination, Account],
        config=StrawberryConfig(scalar_map=SCALARS, info_class=Info),
    )
    schema.limits = graphql_limits
    schema.use_fast_path = use_fast_path
    schema.operation_cache = LRUCache(
        _MAX_OPERATION_CACHE_BYTES if use_fast_path else 0,
        getsizeof=lambda operation: operation.estimated_bytes,
    )
    _drop_null_defaults(schema.graphql_schema)
    return schema


def check_document(schema: Schema, text: str, graphql_limits: GraphQLLimits) -> None:
    """Raise LimitExceeded or GraphQLError for a document that is rejected with any variables."""
    index, _ = _parse_and_check(text, graphql_limits)
    if errors := validate_document(schema.graphql_schema, index.document, VALIDATION_RULES):
        raise errors[0]


def _parse_and_check(
    text: str, graphql_limits: GraphQLLimits
) -> tuple[DocumentIndex, DocumentStats]:
    index = DocumentIndex(parse_document(text, graphql_limits))
    stats = collect_stats(index)
    enforce_limits(stats, graphql_limits)
    return index, stats


def print_sdl(schema: Schema) -> str:
    """Print the schema as SDL, sorted, so that a diff shows only real changes."""
    return print_schema(lexicographic_sort_schema(build_schema(schema.as_str()))) + "\n"


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Remove `= null` defaults: Strawberry makes them from `= None`, and they mean nothing."""
    for named_type in schema.type_map.values():
        if isinstance(named_type, GraphQLInputObjectType):
            inputs = list(named_type.fields.values())
        elif isinstance(named_type, GraphQLObjectType):
            inputs = [
                argument for field in named_type.fields.values() for argument in field.args.values()
            ]
        else:
            continue
        for value in inputs:
            if value.default_value is None:
                value.default_value = Undefined


def _find_operation(index: DocumentIndex, name: str | None) -> IndexedDefinition:
    operation = index.find_operation(name)
    if operation is not None:
        return operation
    if not index.operations:
        raise ValidationFailed("The document has no operation; it needs a query.")
    raise InvalidInput(
        "operationName must name an operation of the document; it may be left out only where the"
        " document has exactly one.",
        argument="operationName",
    )
