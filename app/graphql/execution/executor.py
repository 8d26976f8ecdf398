"""graphql-core's executor, which completes what needs no resolver by functions made for it. No documents."""

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

from app.graphql.execution.completion import Complete, completion
from app.graphql.execution.remembered import once
from app.graphql.execution.selections import Given, Selections, Surprise

Outcome: TypeAlias = object
"""What a resolver told: a value, or the exception that it ended with."""


class Outcomes(MiddlewareManager):
    """Of root fields that were resolved before: graphql-core takes what they told, and asks all others."""

    def __init__(self, known: Mapping[str, Outcome]) -> None:
        """By response key."""
        super().__init__()
        self._known = known

    def get_field_resolver(self, field_resolver: GraphQLFieldResolver) -> GraphQLFieldResolver:
        def resolve(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
            key = info.path.key
            if info.path.prev is None and key in self._known:
                return self._known[str(key)]
            return field_resolver(source, info, **arguments)

        return resolve


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Wherever a function does not fit, or fails, graphql-core completes the value, and says what is wrong.

    It may do so after a function has begun, for completing changes nothing but the count of entries.
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
        complete = self._function(return_type, field_details_list)
        if complete is not None:
            try:
                return self.context_value.list_entries.unless_failed(
                    complete, result, self.variable_values.coerced
                )
            except Exception:  # noqa: BLE001, S110 - said above
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
                try:
                    return self.context_value.list_entries.unless_failed(
                        _complete_each, complete, result, self.variable_values.coerced
                    )
                except Exception:  # noqa: BLE001, S110 - said above
                    pass
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

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


def _complete_each(complete: Complete, values: Sequence[object], given: Given) -> list[object]:
    return [complete(each, given) for each in values]
