"""Execution plan of a query: calls the root resolvers and one compiled function, without graphql-core.

Like Strawberry, the plan checks the permissions of each root field. If anything fails, graphql-core's
executor continues with the results of the resolvers.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from graphql import (
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
)
from graphql.execution.values import VariableValues
from strawberry.permission import PermissionExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from app.graphql.ast.selections import (
    FieldCollector,
    NotCompilable,
    SelectedField,
    Variables,
)
from app.graphql.engine.coercion import ArgumentBuilder
from app.graphql.engine.compiler import compile_root_completer
from app.graphql.engine.estimates import estimate_operation_time
from app.graphql.engine.executor import RootResult, is_large
from app.graphql.loading.field_sources import STRAWBERRY_DEFINITION
from app.graphql.schema.context import Context
from app.graphql.schema.lookahead import Selection
from app.graphql.schema.permissions import HasScope
from app.runtime.computations import compute


class FallBackToExecutor(Exception):
    """Failure of a plan; `root_results` holds the results of root resolvers by response key."""

    def __init__(self, root_results: Mapping[str, RootResult]) -> None:
        super().__init__()
        self.root_results = root_results


class ExecutionPlan:
    """Plan of one query, built once and run for each request."""

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        fragments: dict[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> None:
        """Build the plan; raises NotCompilable for a query that only graphql-core can execute."""
        root = schema.query_type
        assert root is not None  # noqa: S101 - the schema has a query type
        field_collector = FieldCollector(schema, fragments)
        selected_fields = field_collector.collect_fields(root, [operation.selection_set])
        self._complete = compile_root_completer(field_collector, root, selected_fields)
        self._fields = [
            _RootField(field_collector, converter, root, operation, key, selected)
            for key, selected in selected_fields.items()
            if selected.name != "__typename"
        ]
        self._time_per_value = estimate_operation_time(field_collector, operation)
        self._is_unconditional = all(field.is_unconditional for field in self._fields)

    async def run(self, context: Context, variables: VariableValues) -> dict[str, Any]:
        """Execute the query and return its data.

        Raises ResponseTooLarge if the response is refused, and FallBackToExecutor if anything else fails.
        """
        fields = self._fields
        if not self._is_unconditional:
            try:
                fields = [field for field in fields if field.is_included(variables.coerced)]
            except NotCompilable:
                raise FallBackToExecutor({}) from None
        if len(fields) == 1:
            results = {fields[0].key: await fields[0].resolve(context, variables)}
        else:
            values = await asyncio.gather(*(field.resolve(context, variables) for field in fields))
            results = {field.key: value for field, value in zip(fields, values, strict=True)}
        for value in results.values():
            if isinstance(value, Exception):
                raise FallBackToExecutor(results)
        limit = context.response_limit
        complete = partial(
            limit.rollback_on_error, self._complete, results, variables.coerced, limit
        )
        try:
            if is_large(context, self._time_per_value):
                return await compute(complete)
            return complete()
        except Exception:
            if limit.is_refused:
                raise
            # graphql-core raises and formats the same error.
            raise FallBackToExecutor(results) from None


class _PlannedInfo:
    """The part of `Info` that resolvers use, without the objects of graphql-core."""

    __slots__ = ("context", "selection", "variable_values")

    def __init__(self, context: Context, selection: Selection, variable_values: Variables) -> None:
        self.context = context
        self.selection = selection
        self.variable_values = variable_values


class _RootField:
    def __init__(
        self,
        field_collector: FieldCollector,
        converter: GraphQLCoreConverter,
        root: GraphQLObjectType,
        operation: OperationDefinitionNode,
        key: str,
        selected_field: SelectedField,
    ) -> None:
        self.key = key
        self.is_unconditional = selected_field.is_unconditional
        self._selected_field = selected_field
        graphql_field: GraphQLField = root.fields[selected_field.name]
        strawberry_field: StrawberryField = graphql_field.extensions[STRAWBERRY_DEFINITION]
        self._selection = Selection(
            field_collector,
            root,
            [operation.selection_set],
            cast("GraphQLObjectType", get_named_type(graphql_field.type)),
            selected_field.nodes,
        )
        self._permissions = _field_permissions(strawberry_field)
        self._argument_builder = ArgumentBuilder(
            converter, graphql_field, strawberry_field, selected_field.nodes[0]
        )
        resolver = strawberry_field.base_resolver
        if resolver is None or resolver.root_parameter or resolver.parent_parameter:
            raise NotCompilable
        self._resolver = cast("Callable[..., Any]", resolver.wrapped_func)
        self._is_async = resolver.is_async
        self._self_arguments = (None,) if resolver.self_parameter else ()
        self._info_parameter = resolver.info_parameter.name if resolver.info_parameter else None

    def is_included(self, variables: Variables) -> bool:
        return all(
            condition.is_satisfied(variables) for condition in self._selected_field.conditions
        )

    async def resolve(self, context: Context, variables: VariableValues) -> RootResult:
        """Return the result of the resolver, or its exception."""
        try:
            for permission in self._permissions:
                if not permission.allows(context.viewer):
                    permission.on_unauthorized()
            arguments = self._argument_builder.build(variables)
            if self._info_parameter is not None:
                arguments[self._info_parameter] = _PlannedInfo(
                    context, self._selection, variables.coerced
                )
            value = self._resolver(*self._self_arguments, **arguments)
            return await value if self._is_async else value
        except Exception as error:  # noqa: BLE001 - passed on to graphql-core
            return error


def _field_permissions(field: StrawberryField) -> list[HasScope]:
    """Return the permissions of a field; raises NotCompilable if it has any other extension."""
    permissions: list[HasScope] = []
    for extension in field.extensions:
        if not isinstance(extension, PermissionExtension) or extension.fail_silently:
            raise NotCompilable
        for permission in extension.permissions:
            if not isinstance(permission, HasScope):
                raise NotCompilable
            permissions.append(permission)
    return permissions
