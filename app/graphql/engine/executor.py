"""graphql-core's executor, which completes values by compiled functions where it can."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from graphql import (
    GraphQLFieldResolver,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    get_nullable_type,
    is_introspection_type,
)
from graphql.execution import MiddlewareManager
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.graphql.ast.selections import (
    FieldCollector,
    NotCompilable,
    Variables,
    count_fields,
    memoize,
)
from app.graphql.engine.compiler import Completer, compile_completer, is_row_backed
from app.graphql.schema.context import Context
from app.runtime.computations import compute, is_in_thread

RootResult: TypeAlias = object
"""Return value of a root field's resolver, or the exception that it raised."""


class ResolvedRootFields(MiddlewareManager):
    """Middleware that reuses the results of root fields that were resolved before."""

    def __init__(self, root_results: Mapping[str, RootResult]) -> None:
        """Take the results by response key."""
        super().__init__()
        self._root_results = root_results

    def get_field_resolver(self, field_resolver: GraphQLFieldResolver) -> GraphQLFieldResolver:
        def resolve(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
            key = info.path.key
            if info.path.prev is None and key in self._root_results:
                return self._root_results[str(key)]
            return field_resolver(source, info, **arguments)

        return resolve


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Executor that falls back to graphql-core if a compiled function is missing or fails.

    graphql-core then reports the error. Completing a value twice is safe: its only side effect is the
    count of list entries, which is rolled back.
    """

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        complete = None
        if is_row_backed(return_type) or not is_large(self.context_value, self._field_count):
            complete = self._get_completer(return_type, field_details_list)
        if complete is not None:
            try:
                return self.context_value.entry_limit.rollback_on_error(
                    complete, result, self.variable_values.coerced
                )
            except Exception:  # noqa: BLE001, S110 - graphql-core reports it
                pass
        return super().complete_object_value(
            return_type, field_details_list, info, path, result, position_context
        )

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        item_type = get_nullable_type(return_type.of_type)
        complete = None
        if isinstance(item_type, GraphQLObjectType) and type(result) is list:
            complete = self._get_completer(item_type, field_details_list)
        # Items with fields that wait for loaders are completed together: parts would split their batches.
        if (
            isinstance(result, Collection)  # introspection returns views of dictionaries
            and not is_in_thread.get()
            and isinstance(item_type, GraphQLObjectType)
            and (complete is not None or is_introspection_type(item_type))
        ):
            max_fields = _MAX_PART_FIELDS if complete is None else _MAX_COMPILED_PART_FIELDS
            part_size = max(1, max_fields // self._count_fields(field_details_list))
            if len(result) > part_size:
                return self._complete_in_parts(
                    part_size,
                    return_type,
                    field_details_list,
                    info,
                    path,
                    [*result],
                    position_context,
                )
        if type(result) is list and complete is not None:
            try:
                return self.context_value.entry_limit.rollback_on_error(
                    _complete_items, complete, result, self.variable_values.coerced
                )
            except Exception:  # noqa: BLE001, S110 - graphql-core reports it
                pass
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

    async def _complete_in_parts(
        self,
        part_size: int,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        values: Sequence[object],
        position_context: Any,
    ) -> list[object]:
        """Complete a long list in parts, each in a thread; no field of its items is awaitable."""
        completed: list[object] = []
        for start in range(0, len(values), part_size):
            await compute(
                self._complete_part,
                completed,
                values[start : start + part_size],
                return_type.of_type,
                field_details_list,
                info,
                path,
                position_context,
            )
        return completed

    def _complete_part(
        self,
        completed: list[object],
        values: Sequence[object],
        item_type: GraphQLOutputType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        position_context: Any,
    ) -> None:
        """Append the completed values of a part."""
        for index, value in enumerate(values, start=len(completed)):
            self.complete_list_item_value(
                value,
                completed,
                item_type,
                field_details_list,
                info,
                path.add_key(index, None),
                position_context,
            )

    @property
    def _field_count(self) -> int:
        """Number of fields of the operation."""
        return memoize(
            self.operation,
            "fields",
            lambda: count_fields([self.operation.selection_set], self.fragment_definitions),
        )

    def _count_fields(self, field_details_list: list[FieldDetails]) -> int:
        """Return the number of fields below a field, with those in fragments."""
        nodes = [details.node for details in field_details_list]
        return memoize(
            self.operation,
            ("fields", *map(id, nodes)),
            lambda: count_fields((node.selection_set for node in nodes), self.fragment_definitions),
        )

    def _get_completer(
        self, object_type: GraphQLObjectType, field_details_list: Sequence[FieldDetails]
    ) -> Completer | None:
        nodes = [details.node for details in field_details_list]

        def compile_or_none() -> Completer | None:
            try:
                return compile_completer(
                    FieldCollector(self.schema, self.fragment_definitions), object_type, nodes
                )
            except NotCompilable:
                return None

        return memoize(self.operation, (object_type.name, *map(id, nodes)), compile_or_none)


def is_large(context: Context, field_count: int) -> bool:
    """Return whether a compiled function must not complete an operation with all of its lists at once."""
    return context.value_count * field_count > _MAX_INLINE_FIELDS


_MAX_INLINE_FIELDS = 100_000
"""Values that were read × fields of the operation: an upper bound, as most values have few of the fields."""

_MAX_PART_FIELDS = 250
"""Fields that graphql-core completes in one piece, in about 10 ms."""

_MAX_COMPILED_PART_FIELDS = 5_000
"""Fields that a compiled function completes in one piece, in about 5 ms."""


def _complete_items(
    completer: Completer, values: Sequence[object], variables: Variables
) -> list[object]:
    return [completer(value, variables) for value in values]
