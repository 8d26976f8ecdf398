"""graphql-core's executor, which completes values by compiled functions where it can."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from datetime import timedelta
from inspect import isawaitable
from typing import Any, TypeAlias

from graphql import (
    GraphQLFieldResolver,
    GraphQLLeafType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    get_named_type,
    get_nullable_type,
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
from app.graphql.engine.codegen import is_json
from app.graphql.engine.compiler import Completer, compile_completer
from app.graphql.engine.estimates import estimate_bytes, estimate_operation_time, estimate_time
from app.graphql.loading.response_limit import ResponseLimit, drop_frames
from app.graphql.schema.context import Context
from app.runtime.computations import is_in_thread, run_in_thread

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


class CountingExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor, which counts the bytes of the response and encodes its JSON values.

    Raises ResponseTooLarge once a query's response is refused.
    """

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        if isinstance(result, Collection):
            self.context_value.response_limit.count_items(
                result, self._bytes_per_item(return_type, field_details_list)
            )
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

    def complete_leaf_value(  # type: ignore[override]  # static in graphql-core
        self, return_type: GraphQLLeafType, result: Any
    ) -> Any:
        limit: ResponseLimit = self.context_value.response_limit
        completed = super().complete_leaf_value(return_type, result)
        if is_json(return_type):
            return limit.encode_json(completed)
        return limit.count_text(completed) if type(completed) is str else completed

    def handle_field_error(
        self,
        raw_error: Exception,
        return_type: GraphQLOutputType,
        field_details_list: list[FieldDetails],
        path: Path,
    ) -> None:
        """Record or propagate the error; that of a refused response reaches the root and cancels the rest."""
        limit: ResponseLimit = self.context_value.response_limit
        if limit.is_refused:
            drop_frames(raw_error)
            limit.raise_if_refused()
        super().handle_field_error(raw_error, return_type, field_details_list, path)

    def _bytes_per_item(
        self, list_type: GraphQLList[Any], field_details_list: list[FieldDetails]
    ) -> int:
        nodes = [details.node for details in field_details_list]
        return memoize(
            self.operation,
            ("bytes", *map(id, nodes)),
            lambda: estimate_bytes(
                self._field_collector,
                get_named_type(list_type),
                [node.selection_set for node in nodes],
            ),
        )

    @property
    def _field_collector(self) -> FieldCollector:
        return FieldCollector(self.schema, self.fragment_definitions)


class Executor(CountingExecutor):
    """Executor that falls back to graphql-core if a compiled function is missing or fails.

    graphql-core then reports the error. Completing a value twice is safe: its only side effects are the
    counts of the response limit, which are rolled back. Objects and lists of large responses are completed
    in threads.
    """

    _inline_time = timedelta(0)
    """Estimated time of the lists so far."""

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        if not is_in_thread() and is_large(self.context_value, self._time_per_value):
            return self._complete_in_thread(
                Executor.complete_object_value,
                return_type,
                field_details_list,
                info,
                path,
                result,
                position_context,
            )
        limit: ResponseLimit = self.context_value.response_limit
        limit.raise_if_refused()
        complete = self._get_completer(return_type, field_details_list)
        if complete is not None:
            try:
                return limit.rollback_on_error(
                    complete, result, self.variable_values.coerced, limit
                )
            except Exception:
                if limit.is_refused:
                    raise
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
        if not is_in_thread() and isinstance(result, Collection):
            is_compiled = complete is not None
            self._inline_time += len(result) * self._time_per_item(
                item_type, field_details_list, is_compiled=is_compiled
            )
            if self._inline_time > _MAX_INLINE_TIME or is_large(
                self.context_value,
                self._time_per_value if is_compiled else self._field_count * _TIME_PER_FIELD,
            ):
                return self._complete_in_thread(
                    Executor.complete_list_value,
                    return_type,
                    field_details_list,
                    info,
                    path,
                    result,
                    position_context,
                )
        if complete is not None:
            limit: ResponseLimit = self.context_value.response_limit
            bytes_per_item = self._bytes_per_item(return_type, field_details_list)
            try:
                return limit.rollback_on_error(
                    _complete_items,
                    complete,
                    result,
                    bytes_per_item,
                    self.variable_values.coerced,
                    limit,
                )
            except Exception:
                if limit.is_refused:
                    raise
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

    async def _complete_in_thread(self, complete_value: Callable[..., Any], *arguments: Any) -> Any:
        """Complete a value in a thread, with loaders that belong to its event loop."""
        executor = copy(self)
        executor.context_value = self.context_value.for_thread()

        async def complete() -> Any:
            completed = complete_value(executor, *arguments)
            return await completed if isawaitable(completed) else completed

        return await run_in_thread(complete)

    @property
    def _field_count(self) -> int:
        """Number of fields of the operation."""
        return memoize(
            self.operation,
            "fields",
            lambda: count_fields([self.operation.selection_set], self.fragment_definitions),
        )

    @property
    def _time_per_value(self) -> timedelta:
        """Estimated time in which compiled functions complete each field of the operation once."""
        return memoize(
            self.operation,
            "time",
            lambda: estimate_operation_time(self._field_collector, self.operation),
        )

    def _time_per_item(
        self, item_type: Any, field_details_list: list[FieldDetails], *, is_compiled: bool
    ) -> timedelta:
        """Return the estimated time to complete one item of a list, with all fields below it."""
        nodes = [details.node for details in field_details_list]
        selection_sets = [node.selection_set for node in nodes]
        return memoize(
            self.operation,
            ("time", *map(id, nodes)),
            lambda: (
                estimate_time(self._field_collector, item_type, selection_sets)
                if is_compiled
                else count_fields(selection_sets, self.fragment_definitions) * _TIME_PER_FIELD
            ),
        )

    def _get_completer(
        self, object_type: GraphQLObjectType, field_details_list: Sequence[FieldDetails]
    ) -> Completer | None:
        nodes = [details.node for details in field_details_list]

        def compile_or_none() -> Completer | None:
            try:
                return compile_completer(self._field_collector, object_type, nodes)
            except NotCompilable:
                return None

        return memoize(self.operation, (object_type.name, *map(id, nodes)), compile_or_none)


_TIME_PER_FIELD = timedelta(microseconds=40)
"""Measured time in which graphql-core completes a field."""

_MAX_INLINE_TIME = timedelta(milliseconds=10)
"""Estimated time for which the lists of an operation are completed in the event loop."""

_MAX_INLINE_BOUND = timedelta(milliseconds=20)
"""Upper bound of the time for all lists: as if each value had all fields of the operation. Most have few."""


def is_large(context: Context, time_per_value: timedelta) -> bool:
    """Return whether an operation has too many values to complete all of its lists in the event loop."""
    return context.value_count * time_per_value > _MAX_INLINE_BOUND


def _complete_items(
    completer: Completer,
    values: Sequence[object],
    bytes_per_value: int,
    variables: Variables,
    limit: ResponseLimit,
) -> list[object]:
    return [
        completer(value, variables, limit) for value in limit.count_items(values, bytes_per_value)
    ]
