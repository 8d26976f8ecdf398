"""graphql-core's executor, which completes what needs no resolver by functions made for it. No documents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from graphql import (
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    get_nullable_type,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.graphql.execution.completion import Complete, completion
from app.graphql.execution.remembered import once
from app.graphql.execution.selections import Selections, Surprise


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Wherever a function does not fit, or fails, graphql-core completes the value, and says what is wrong.

    It may do so after a function has begun, for completing changes nothing.
    """

    _now: datetime | None = None

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        complete = self._function(return_type, field_details_list)
        if complete is not None:
            try:
                return complete(result, self._time(), self.variable_values.coerced)
            except Exception:  # noqa: BLE001, S110 - said below
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
        named = get_nullable_type(return_type.of_type)
        if isinstance(named, GraphQLObjectType) and type(result) is list:
            complete = self._function(named, field_details_list)
            if complete is not None:
                now, given = self._time(), self.variable_values.coerced
                try:
                    return [complete(each, now, given) for each in result]
                except Exception:  # noqa: BLE001, S110 - said below
                    pass
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

    def _time(self) -> datetime:
        """Of the answer, for what depends on it."""
        if self._now is None:
            self._now = self.context_value.clock()
        return self._now

    def _function(
        self, named: GraphQLObjectType, field_details_list: Sequence[FieldDetails]
    ) -> Complete | None:
        nodes = [each.node for each in field_details_list]

        def make() -> Complete | None:
            try:
                return completion(Selections(self.schema, self.fragment_definitions), named, nodes)
            except Surprise:
                return None

        return once(self.operation, (named.name, *map(id, nodes)), make)
