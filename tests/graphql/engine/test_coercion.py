"""Variables and arguments are coerced as by graphql-core and Strawberry, on the fast path too."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
import strawberry
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, build_schema, parse
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from app.graphql.engine.coercion import ArgumentBuilder, VariableCoercer
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
        filter: Filter | None = None,
        ids: list[strawberry.ID] | None = None,
        maybe: strawberry.Maybe[int] = None,
    ) -> int:
        raise NotImplementedError

    @strawberry.field
    def y(self, key: strawberry.ID, color: Color | None = strawberry.UNSET) -> int:
        raise NotImplementedError


SCHEMA = strawberry.Schema(Query)
GRAPHQL_SCHEMA = SCHEMA._schema
VARIABLES_SCHEMA = build_schema(
    """
    enum Color { RED BLUE }
    input Filter { color: Color = BLUE, many: [Int!] }
    type Query { x(n: Int, s: String!, c: Color, f: Filter, l: [Int]): Int }
    """
)


# Variables


def describe_variables(values: VariableValues) -> Mapping[str, object]:
    """Signature and raw value of each variable; wrapping types are compared by name."""
    return {
        name: (source.signature.name, str(source.signature.type), source.value)
        for name, source in values.sources.items()
    }


@pytest.mark.parametrize(
    ("declared", "raw_variables"),
    [
        ("$n: Int", {"n": 1}),
        ("$n: Int", {"n": None}),
        ("$n: Int", {}),
        ("$n: Int", {"n": 1, "other": 2}),
        ("$n: Int", {"n": 2**31}),
        ("$n: Int", {"n": "1"}),
        ("$n: Int", {"n": {}}),
        ("$n: Int = 3", {}),
        ("$n: Int = 3", {"n": None}),
        ("$n: Int! = 3", {"n": None}),
        ("$n: Int!", {}),
        ("$n: Int!", {"n": None}),
        ("$c: Color", {"c": "RED"}),
        ("$c: Color!", {"c": "GREEN"}),
        ("$c: Color", {"c": 1}),
        ("$n: Int, $s: String!", {"s": "a"}),
        ("$n: Int, $s: String!", {"n": 1}),
        ("$n: Int, $f: Filter", {"n": 1, "f": {"many": [1]}}),
        ("$n: Int, $f: Filter", {"n": "1", "f": {"many": [None]}}),
        ("$l: [Int]", {"l": 1}),
        ("$x: Nothing", {"x": 1}),
        ("$x: Query", {"x": 1}),
    ],
)
def test_variables_and_their_errors_equal_those_of_graphql_core(
    declared: str, raw_variables: Mapping[str, object]
) -> None:
    (operation,) = parse(f"query ({declared}) {{ x }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    definitions = operation.variable_definitions or ()
    expected = get_variable_values(
        VARIABLES_SCHEMA, definitions, dict(raw_variables), max_errors=20
    )

    coerced = VariableCoercer(VARIABLES_SCHEMA, definitions).coerce(raw_variables)

    if isinstance(expected, VariableValues):
        assert isinstance(coerced, VariableValues)
        assert coerced.coerced == expected.coerced
        assert describe_variables(coerced) == describe_variables(expected)
    else:
        assert isinstance(coerced, list)
        assert [error.formatted for error in coerced] == [error.formatted for error in expected]
        assert coerced


# Arguments


def resolve_arguments(
    declared: str, field: str, raw_variables: Mapping[str, object]
) -> tuple[ArgumentBuilder, dict[str, Any] | GraphQLError, VariableValues]:
    """The builder under test, the reference result and the coerced variables."""
    declared = f"({declared})" if declared else ""
    (operation,) = parse(f"query {declared} {{ {field} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    (node,) = operation.selection_set.selections
    assert isinstance(node, FieldNode)
    variables = get_variable_values(
        GRAPHQL_SCHEMA, operation.variable_definitions or (), dict(raw_variables)
    )
    assert isinstance(variables, VariableValues)
    assert GRAPHQL_SCHEMA.query_type is not None
    graphql_field = GRAPHQL_SCHEMA.query_type.fields[node.name.value]
    converter, own = SCHEMA.schema_converter, graphql_field.extensions[STRAWBERRY_DEFINITION]
    assert isinstance(own, StrawberryField)
    expected: dict[str, Any] | GraphQLError
    try:
        expected = convert_arguments(
            get_argument_values(graphql_field, node, variables),
            own.arguments,
            scalar_registry=converter.scalar_registry,
            config=converter.config,
        )
    except GraphQLError as error:
        expected = error
    return ArgumentBuilder(converter, graphql_field, own, node), expected, variables


@pytest.mark.parametrize(
    ("declared", "field", "raw_variables", "is_rejected"),
    [
        ("", "x", {}, False),
        ("", 'x(pageSize: 3, color: RED, sure: "t")', {}, False),
        ("", 'x(pageSize: null, color: BLUE, sure: "")', {}, False),
        ("$n: Int, $c: Color!", "x(pageSize: $n, color: $c)", {"n": 2, "c": "RED"}, False),
        ("$n: Int", "x(pageSize: $n)", {}, False),
        ("$n: Int", "x(pageSize: $n)", {"n": None}, False),
        ("$c: Color", "x(color: $c)", {}, False),
        ("$f: Filter", "x(filter: $f)", {"f": {"color": "RED", "names": "a"}}, False),
        ("$c: Color", 'x(filter: {color: $c, names: ["a"]})', {"c": "BLUE"}, False),
        ("$i: ID!", "x(ids: [$i])", {"i": "a"}, False),
        ("", "x(maybe: 3)", {}, False),
        ("$n: Int", "x(maybe: $n)", {"n": 4}, False),
        ("", 'y(key: "k")', {}, False),
        ("", "y(key: 5, color: RED)", {}, False),
        ("$k: ID!, $c: Color", "y(key: $k, color: $c)", {"k": "a", "c": None}, False),
        ("$k: ID!, $c: Color", "y(key: $k, color: $c)", {"k": "a"}, False),
        ("$k: ID", "y(key: $k)", {}, True),
        ("$k: ID", "y(key: $k)", {"k": None}, True),
        ("", "y", {}, True),
        ("", "y(key: null)", {}, True),
        ("", "x(sure: null)", {}, True),
        ("", 'x(pageSize: "3")', {}, True),
        ("$c: Color", "x(color: $c)", {"c": None}, True),
    ],
)
def test_arguments_and_their_errors_equal_those_of_graphql_core_and_strawberry(
    declared: str, field: str, raw_variables: Mapping[str, object], *, is_rejected: bool
) -> None:
    builder, expected, variables = resolve_arguments(declared, field, raw_variables)

    if isinstance(expected, GraphQLError):
        with pytest.raises(GraphQLError) as error:
            builder.build(variables)
        assert error.value.formatted == expected.formatted
    else:
        assert builder.build(variables) == expected
        assert builder.build(variables) is not builder.build(variables)
    assert isinstance(expected, GraphQLError) is is_rejected
