"""A resolver is given what graphql-core and Strawberry make of a field's arguments, by a shorter way."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
import strawberry
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, parse
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from app.graphql.engine.arguments import ArgumentBuilder
from app.graphql.engine.executable_schema import core_schema
from app.graphql.loading.field_sources import STRAWBERRY_DEFINITION


@strawberry.enum
class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@strawberry.input
class Filter:
    color: Color | None = None
    names: list[str] | None = None


@strawberry.type
class Query:
    @strawberry.field
    def x(
        self,
        page_size: int | None = strawberry.UNSET,
        color: Color = Color.BLUE,
        sure: str = "s",
        filter: Filter | None = None,  # noqa: A002
        ids: list[strawberry.ID] | None = None,
        maybe: strawberry.Maybe[int] = None,
    ) -> int:
        raise NotImplementedError

    @strawberry.field
    def y(self, key: strawberry.ID, color: Color | None = strawberry.UNSET) -> int:
        raise NotImplementedError


SCHEMA = strawberry.Schema(Query)
CORE_SCHEMA = core_schema(SCHEMA)


def resolve_arguments(
    declared: str, field: str, variable_values: Mapping[str, object]
) -> tuple[ArgumentBuilder, dict[str, Any] | GraphQLError, VariableValues]:
    """The arguments, what graphql-core and Strawberry make of them, and the variables."""
    declared = f"({declared})" if declared else ""
    (operation,) = parse(f"query {declared} {{ {field} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    (node,) = operation.selection_set.selections
    assert isinstance(node, FieldNode)
    variables = get_variable_values(CORE_SCHEMA, operation.variable_definitions or (), dict(variable_values))
    assert isinstance(variables, VariableValues)
    assert CORE_SCHEMA.query_type is not None
    core = CORE_SCHEMA.query_type.fields[node.name.value]
    converter, own = SCHEMA.schema_converter, core.extensions[STRAWBERRY_DEFINITION]
    assert isinstance(own, StrawberryField)
    expected: dict[str, Any] | GraphQLError
    try:
        expected = convert_arguments(
            get_argument_values(core, node, variables),
            own.arguments,
            scalar_registry=converter.scalar_registry,
            config=converter.config,
        )
    except GraphQLError as error:
        expected = error
    return ArgumentBuilder(converter, core, own, node), expected, variables


@pytest.mark.parametrize(
    ("declared", "field", "given"),
    [
        ("", "x", {}),
        ("", 'x(pageSize: 3, color: RED, sure: "t")', {}),
        ("", 'x(pageSize: null, color: BLUE, sure: "")', {}),
        ("$n: Int, $c: Color!", "x(pageSize: $n, color: $c)", {"n": 2, "c": "RED"}),
        ("$n: Int", "x(pageSize: $n)", {}),
        ("$n: Int", "x(pageSize: $n)", {"n": None}),
        ("$c: Color", "x(color: $c)", {}),
        ("$f: Filter", "x(filter: $f)", {"f": {"color": "RED", "names": "a"}}),
        ("$c: Color", 'x(filter: {color: $c, names: ["a"]})', {"c": "BLUE"}),
        ("$i: ID!", "x(ids: [$i])", {"i": "a"}),
        ("", "x(maybe: 3)", {}),
        ("$n: Int", "x(maybe: $n)", {"n": 4}),
        ("", 'y(key: "k")', {}),
        ("", "y(key: 5, color: RED)", {}),
        ("$k: ID!, $c: Color", "y(key: $k, color: $c)", {"k": "a", "c": None}),
        ("$k: ID!, $c: Color", "y(key: $k, color: $c)", {"k": "a"}),
    ],
)
def test_arguments_are_those_of_graphql_core_and_strawberry(
    declared: str, field: str, given: Mapping[str, object]
) -> None:
    arguments, expected, variables = resolve_arguments(declared, field, given)

    assert arguments.build(variables) == expected
    assert arguments.build(variables) is not arguments.build(variables)


@pytest.mark.parametrize(
    ("declared", "field", "given"),
    [
        ("$k: ID", "y(key: $k)", {}),
        ("$k: ID", "y(key: $k)", {"k": None}),
        ("", "y", {}),
        ("", "y(key: null)", {}),
        ("", "x(sure: null)", {}),
        ("", 'x(pageSize: "3")', {}),
        ("$c: Color", "x(color: $c)", {"c": None}),
    ],
)
def test_what_is_wrong_with_arguments_graphql_core_says(
    declared: str, field: str, given: Mapping[str, object]
) -> None:
    arguments, expected, variables = resolve_arguments(declared, field, given)
    assert isinstance(expected, GraphQLError)

    with pytest.raises(GraphQLError) as refused:
        arguments.build(variables)

    assert refused.value.formatted == expected.formatted
