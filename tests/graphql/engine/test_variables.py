"""Variables are coerced as graphql-core does, whichever way they take."""

from collections.abc import Mapping

import pytest
from graphql import OperationDefinitionNode, build_schema, parse
from graphql.execution.values import VariableValues, get_variable_values

from app.graphql.engine.variables import VariableCoercer

SCHEMA = build_schema(
    """
    enum Color { RED BLUE }
    input Filter { color: Color = BLUE, many: [Int!] }
    type Query { x(n: Int, s: String!, c: Color, f: Filter, l: [Int]): Int }
    """
)


def describe_variables(values: VariableValues) -> Mapping[str, object]:
    """How each was declared and given; types are no equals of themselves where they are wrapped."""
    return {
        name: (source.signature.name, str(source.signature.type), source.value)
        for name, source in values.sources.items()
    }


@pytest.mark.parametrize(
    ("declared", "given"),
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
def test_values_and_what_is_wrong_with_them_are_those_of_graphql_core(
    declared: str, given: Mapping[str, object]
) -> None:
    (operation,) = parse(f"query ({declared}) {{ x }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    definitions = operation.variable_definitions or ()
    expected = get_variable_values(SCHEMA, definitions, dict(given), max_errors=20)

    coerced = VariableCoercer(SCHEMA, definitions).coerce(given)

    if isinstance(expected, VariableValues):
        assert isinstance(coerced, VariableValues)
        assert coerced.coerced == expected.coerced
        assert describe_variables(coerced) == describe_variables(expected)
    else:
        assert isinstance(coerced, list)
        assert [each.formatted for each in coerced] == [each.formatted for each in expected]
        assert coerced
