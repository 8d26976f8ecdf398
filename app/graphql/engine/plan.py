"""How a query runs without graphql-core: its resolvers are called, and one function completes the answer.

Each root field's permissions are asked, and its resolver is called with a real `Info`, as Strawberry
does. Where anything goes wrong, graphql-core's executor goes on with what the resolvers have told.
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
from app.graphql.engine.arguments import ArgumentBuilder
from app.graphql.engine.compiler import compile_root_completer
from app.graphql.engine.executor import RootResult
from app.graphql.loading.field_sources import STRAWBERRY_DEFINITION
from app.graphql.schema.context import Context, Info
from app.graphql.schema.permissions import HasScope

_RESOLVE_INFO_HELPERS = GraphQLResolveInfoHelpers(
    gather=lambda awaitables: asyncio.gather(*awaitables), track=lambda _awaitables: None
)


class FallBackToExecutor(Exception):
    """Something went wrong; `outcomes` is what the root fields' resolvers told, by response key."""

    def __init__(self, root_results: Mapping[str, RootResult]) -> None:
        super().__init__()
        self.root_results = root_results


class ExecutionPlan:
    """Of one query, made once."""

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        fragments: dict[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> None:
        """Surprise for a query that only graphql-core can run."""
        root = schema.query_type
        assert root is not None  # noqa: S101 - ours has one
        selections = FieldCollector(schema, fragments)
        selected = selections.collect_fields(root, [operation.selection_set])
        self._complete = compile_root_completer(selections, root, selected)
        document = _OperationInfo(schema, fragments, root, operation)
        self._fields = [
            _RootField(document, converter, key, each)
            for key, each in selected.items()
            if each.name != "__typename"
        ]

    async def run(self, context: Context, variables: VariableValues) -> dict[str, Any]:
        """The data; Incomplete where graphql-core has to go on."""
        outcomes: dict[str, RootResult] = {}
        try:
            asked = [each for each in self._fields if each.is_included(variables.coerced)]
        except Unsupported:
            raise FallBackToExecutor(outcomes) from None
        if len(asked) == 1:
            outcomes[asked[0].key] = await asked[0].resolve(context, variables)
        else:
            told = await asyncio.gather(*(each.resolve(context, variables) for each in asked))
            outcomes.update(zip((each.key for each in asked), told, strict=True))
        if any(isinstance(each, Exception) for each in outcomes.values()):
            raise FallBackToExecutor(outcomes)
        try:
            return context.list_limit.rollback_on_error(self._complete, outcomes, variables.coerced)
        except Exception:  # noqa: BLE001 - whatever it is, graphql-core meets it again
            raise FallBackToExecutor(outcomes) from None


class _OperationInfo(NamedTuple):
    """What is the same for all fields."""

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
        self._core_field: GraphQLField = operation_info.root.fields[selected_field.name]
        self._strawberry_field: StrawberryField = self._core_field.extensions[STRAWBERRY_DEFINITION]
        self._path = Path(None, key, operation_info.root.name)
        self._info_class = converter.config.info_class
        self._permissions = _field_permissions(self._strawberry_field)
        self._argument_builder = ArgumentBuilder(
            converter, self._core_field, self._strawberry_field, selected_field.nodes[0]
        )
        resolver = self._strawberry_field.base_resolver
        if resolver is None or resolver.root_parameter or resolver.parent_parameter:
            raise Unsupported
        self._resolver = resolver.wrapped_func
        self._is_async = resolver.is_async
        self._self_arguments = (None,) if resolver.self_parameter else ()
        self._info_parameter = resolver.info_parameter.name if resolver.info_parameter else None

    def is_included(self, variables: Variables) -> bool:
        return all(holds(variables) for holds in self._selected_field.conditions)

    async def resolve(self, context: Context, variables: VariableValues) -> RootResult:
        """What its resolver returns, or why it does not."""
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
        except Exception as error:  # noqa: BLE001 - graphql-core is told of it
            return error

    def _build_info(self, context: Context, variables: VariableValues) -> Info:
        document = self._operation_info
        core = GraphQLResolveInfo(
            self._selected_field.name,
            self._selected_field.nodes,
            self._core_field.type,
            document.root,
            self._path,
            document.schema,
            document.fragments,
            None,
            document.operation,
            variables,
            context,
            is_awaitable,
            None,
            _RESOLVE_INFO_HELPERS,
        )
        return self._info_class(_raw_info=core, _field=self._strawberry_field)


def _field_permissions(field: StrawberryField) -> list[HasScope]:
    """Those of a field that has nothing else around its resolver."""
    found: list[HasScope] = []
    for extension in field.extensions:
        if not isinstance(extension, PermissionExtension) or extension.fail_silently:
            raise Unsupported
        for permission in extension.permissions:
            if not isinstance(permission, HasScope):
                raise Unsupported
            found.append(permission)
    return found
