"""graphql-core's executor, which completes values by compiled functions where it can."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from graphql import (
    GraphQLFieldResolver,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    get_nullable_type,
)
from graphql.execution import MiddlewareManager
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.graphql.ast.selections import FieldCollector, NotCompilable, Variables, memoize
from app.graphql.engine.compiler import Completer, compile_completer

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
        if isinstance(item_type, GraphQLObjectType) and type(result) is list:
            complete = self._get_completer(item_type, field_details_list)
            if complete is not None:
                try:
                    return self.context_value.entry_limit.rollback_on_error(
                        _complete_items, complete, result, self.variable_values.coerced
                    )
                except Exception:  # noqa: BLE001, S110 - graphql-core reports it
                    pass
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
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


def _complete_items(
    completer: Completer, values: Sequence[object], variables: Variables
) -> list[object]:
    return [completer(value, variables) for value in values]
