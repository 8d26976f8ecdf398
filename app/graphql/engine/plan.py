"""Execution plan of a query: calls the root resolvers and one compiled function, without graphql-core.

Like Strawberry, the plan checks the permissions of each root field and passes its resolver a real `Info`.
If anything fails, graphql-core's executor continues with the results of the resolvers.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, is_awaitable
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry.permission import PermissionExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from app.graphql.ast.selections import FieldCollector, SelectedField, Unsupported, Variables
from app.graphql.engine.coercion import ArgumentBuilder
from app.graphql.engine.compiler import compile_root_completer
from app.graphql.engine.executor import RootResult
from app.graphql.loading.field_sources import STRAWBERRY_DEFINITION
from app.graphql.schema.context import Context, Info
from app.graphql.schema.permissions import HasScope

_RESOLVE_INFO_HELPERS = GraphQLResolveInfoHelpers(
    gather=lambda awaitables: asyncio.gather(*awaitables), track=lambda _awaitables: None
)


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
        """Build the plan; raises Unsupported for a query that only graphql-core can execute."""
        root = schema.query_type
        assert root is not None  # noqa: S101 - the schema has a query type
        field_collector = FieldCollector(schema, fragments)
        selected_fields = field_collector.collect_fields(root, [operation.selection_set])
        self._complete = compile_root_completer(field_collector, root, selected_fields)
        operation_info = _OperationInfo(schema, fragments, root, operation)
        self._fields = [
            _RootField(operation_info, converter, key, selected)
            for key, selected in selected_fields.items()
            if selected.name != "__typename"
        ]

    async def run(self, context: Context, variables: VariableValues) -> dict[str, Any]:
        """Execute the query and return its data; raises FallBackToExecutor if anything fails."""
        results: dict[str, RootResult] = {}
        try:
            fields = [field for field in self._fields if field.is_included(variables.coerced)]
        except Unsupported:
            raise FallBackToExecutor(results) from None
        if len(fields) == 1:
            results[fields[0].key] = await fields[0].resolve(context, variables)
        else:
            values = await asyncio.gather(*(field.resolve(context, variables) for field in fields))
            results.update(zip((field.key for field in fields), values, strict=True))
        if any(isinstance(result, Exception) for result in results.values()):
            raise FallBackToExecutor(results)
        try:
            return context.entry_limit.rollback_on_error(self._complete, results, variables.coerced)
        except Exception:  # noqa: BLE001 - graphql-core raises and formats the same error
            raise FallBackToExecutor(results) from None


class _OperationInfo(NamedTuple):
    """Values shared by all root fields."""

    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    root: GraphQLObjectType
    operation: OperationDefinitionNode


class _RootField:
    def __init__(
        self,
        operation_info: _OperationInfo,
        converter: GraphQLCoreConverter,
        key: str,
        selected_field: SelectedField,
    ) -> None:
        self.key = key
        self._operation_info = operation_info
        self._selected_field = selected_field
        self._graphql_field: GraphQLField = operation_info.root.fields[selected_field.name]
        self._strawberry_field: StrawberryField = self._graphql_field.extensions[
            STRAWBERRY_DEFINITION
        ]
        self._path = Path(None, key, operation_info.root.name)
        self._info_class = converter.config.info_class
        self._permissions = _field_permissions(self._strawberry_field)
        self._argument_builder = ArgumentBuilder(
            converter, self._graphql_field, self._strawberry_field, selected_field.nodes[0]
        )
        resolver = self._strawberry_field.base_resolver
        if resolver is None or resolver.root_parameter or resolver.parent_parameter:
            raise Unsupported
        self._resolver = resolver.wrapped_func
        self._is_async = resolver.is_async
        self._self_arguments = (None,) if resolver.self_parameter else ()
        self._info_parameter = resolver.info_parameter.name if resolver.info_parameter else None

    def is_included(self, variables: Variables) -> bool:
        return all(
            condition.is_satisfied(variables) for condition in self._selected_field.conditions
        )

    async def resolve(self, context: Context, variables: VariableValues) -> RootResult:
        """Return the result of the resolver, or its exception."""
        info = self._build_info(context, variables)
        try:
            for permission in self._permissions:
                if not permission.has_permission(None, info):
                    permission.on_unauthorized()
            arguments = self._argument_builder.build(variables)
            if self._info_parameter is not None:
                arguments[self._info_parameter] = info
            value = self._resolver(*self._self_arguments, **arguments)
            return await value if self._is_async else value
        except Exception as error:  # noqa: BLE001 - passed on to graphql-core
            return error

    def _build_info(self, context: Context, variables: VariableValues) -> Info:
        operation_info = self._operation_info
        resolve_info = GraphQLResolveInfo(
            self._selected_field.name,
            self._selected_field.nodes,
            self._graphql_field.type,
            operation_info.root,
            self._path,
            operation_info.schema,
            operation_info.fragments,
            None,
            operation_info.operation,
            variables,
            context,
            is_awaitable,
            None,
            _RESOLVE_INFO_HELPERS,
        )
        return self._info_class(_raw_info=resolve_info, _field=self._strawberry_field)


def _field_permissions(field: StrawberryField) -> list[HasScope]:
    """Return the permissions of a field; raises Unsupported if it has any other extension."""
    permissions: list[HasScope] = []
    for extension in field.extensions:
        if not isinstance(extension, PermissionExtension) or extension.fail_silently:
            raise Unsupported
        for permission in extension.permissions:
            if not isinstance(permission, HasScope):
                raise Unsupported
            permissions.append(permission)
    return permissions
