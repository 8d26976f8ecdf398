"""Cost of an operation once its variables are known."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_variable_values,
    parse,
)
from graphql.execution.values import VariableValues
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import LimitExceeded
from app.graphql.ast.document_index import DocumentIndex
from app.graphql.engine.cost import QueryCost, analyze_cost
from app.graphql.engine.limits import COUNT_CEILING
from app.settings import GraphQLLimits
from tests.graphql.random_documents import SCHEMA, document_strategy

LIMITS = GraphQLLimits()


def query_cost(query: str, operation_name: str | None = None) -> QueryCost:
    index = DocumentIndex(parse(query))
    operation = index.find_operation(operation_name)
    assert operation is not None
    return analyze_cost(SCHEMA, index, operation)


def count_nodes(query: str, **variables: object) -> int:
    """Count the nodes of a query with its variables coerced as for execution."""
    definitions = DocumentIndex(parse(query)).operations[0].node.variable_definitions or ()
    values = get_variable_values(SCHEMA, definitions, variables)
    assert isinstance(values, VariableValues)
    return query_cost(query).count_nodes(values.coerced)


def cost_error(
    query: str, limits: GraphQLLimits = LIMITS, **variables: object
) -> tuple[str, str | None] | None:
    cost = query_cost(query)
    try:
        cost.check_argument_sizes(variables, limits.ids)
        cost.check_node_limit(variables, limits)
    except LimitExceeded as error:
        return error.message, error.argument
    return None


# Page sizes


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [
        ("", 20),
        ("(first: 7)", 7),
        ("(last: 7)", 7),
        ("(first: 0)", 0),
        ("(first: 100)", 100),
        ("(first: 101)", 100),
        ("(first: -1)", 0),
        ("(first: 2147483648)", 100),
        pytest.param(f"(first: {'9' * 5000})", 100, id="5,000 digits"),
        ('(first: "7")', 100),
        ("(first: [7])", 100),
        ("(first: 7.5)", 100),
        ("(first: null)", 20),
        ("(first: null, last: 3)", 3),
        ("(first: 7, last: 9)", 9),
        ("(first: 9, last: 7)", 9),
        ("(unknown: 7)", 20),
    ],
)
def test_a_literal_page_size_counts_clamped_to_the_allowed_range(
    arguments: str, nodes: int
) -> None:
    assert query_cost(f"{{ posts{arguments} {{ totalCount }} }}").count_nodes({}) == nodes


@pytest.mark.parametrize(
    ("query", "variables", "nodes"),
    [
        ("query ($n: Int) { posts(first: $n) { totalCount } }", {"n": 7}, 7),
        ("query ($n: Int) { posts(first: $n) { totalCount } }", {"n": 1000}, 100),
        ("query ($n: Int) { posts(first: $n) { totalCount } }", {"n": -7}, 0),
        ("query ($n: Int) { posts(first: $n) { totalCount } }", {"n": None}, 20),
        ("query ($n: Int) { posts(first: $n) { totalCount } }", {}, 20),
        ("query ($n: Int = 8) { posts(first: $n) { totalCount } }", {}, 8),
        ("query ($n: Int = 8) { posts(first: $n) { totalCount } }", {"n": 7}, 7),
        ("query ($n: Int = 8) { posts(first: $n) { totalCount } }", {"n": None}, 20),
        ("{ accounts { totalCount } }", {}, 5),
        ("query ($n: Int) { accounts(first: $n) { totalCount } }", {}, 5),
        ("query ($n: Int) { accounts(first: $n) { totalCount } }", {"n": None}, 20),
        ("{ accounts(first: null) { totalCount } }", {}, 20),
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["a", "b", "c"]}, 3),
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": "a"}, 1),
    ],
)
def test_page_sizes_and_ids_from_variables_and_defaults_count_as_coerced(
    query: str, variables: dict[str, object], nodes: int
) -> None:
    assert count_nodes(query, **variables) == nodes


# Nodes


@pytest.mark.parametrize(
    ("query", "nodes"),
    [
        ("{ version }", 0),
        ("{ looseConnection(first: 50) { version } }", 0),
        ("{ node(id: 1) { id } }", 0),
        ('{ nodes(ids: ["a", "b", "c"]) { id } }', 3),
        ('{ nodes(ids: "a") { id } }', 1),
        ("{ nodes(ids: []) { id } }", 0),
        ("{ nodes(ids: null) { id } }", 0),
        ("{ nodes { id } }", 0),
        ("{ posts(first: 3) { nodes { id } edges { node { id } } pageInfo { hasNextPage } } }", 3),
        ("{ a: posts(first: 3) { totalCount } b: posts(first: 4) { totalCount } }", 7),
        ("{ posts(first: 3) { nodes { related(first: 4) { totalCount } } } }", 3 + 3 * 4),
        (
            "{ posts(first: 3) { nodes { related(first: 4) { nodes { account {"
            " posts(first: 5) { totalCount } } } } } } }",
            3 + 3 * 4 + 3 * 4 * 5,
        ),
        (
            "{ posts(first: 3) { nodes { related(first: 4) { totalCount } }"
            " edges { node { related(first: 4) { totalCount } } } } }",
            3 + 3 * 4 + 3 * 4,
        ),
        ("{ posts(first: 0) { nodes { related { totalCount } } } }", 0),
        (
            "{ posts(first: 2) { nodes { comments { author { posts(first: 3) { totalCount } } } } } }",
            2 + 2 * 3,
        ),
        (
            '{ nodes(ids: ["a", "b"]) { ... on Post { related(first: 3) { totalCount } }'
            " ... on Owner { posts(first: 4) { totalCount } } } }",
            2 + 2 * 3 + 2 * 4,
        ),
        (
            "{ posts(first: 2) { nodes { ...F } } a: posts(first: 3) { nodes { ...F } } }"
            " fragment F on Post { related(first: 5) { totalCount } }",
            2 + 2 * 5 + 3 + 3 * 5,
        ),
        ("{ ...F } fragment F on Query { ...G } fragment G on Query { posts { totalCount } }", 20),
        # Selections unknown to the schema count nothing.
        ("mutation { posts { totalCount } }", 0),
        ("{ unknown { posts { totalCount } } }", 0),
        ("{ ... on Nowhere { posts { totalCount } } }", 0),
        ("{ version { posts { totalCount } } }", 0),
        ("{ ...Nowhere }", 0),
        ("{ __schema { types { name } } }", 0),
        # A fragment cycle is counted once.
        ("{ ...F } fragment F on Query { ...F }", 0),
        (
            "{ ...F } fragment F on Query { posts(first: 2) { nodes { ...G } } }"
            " fragment G on Post { related(first: 3) { nodes { ...G } } }",
            2 + 2 * 3,
        ),
        pytest.param(
            "{ posts(first: 1) { nodes { ...F0 } } }"
            + "".join(
                f"fragment F{i} on Post {{ ...F{i + 1} related(first: 1) {{ nodes {{ ...F{i + 1} }} }} }}"
                for i in range(20)
            ),
            2**20,
            id="multiplying fragments, without expansion",
        ),
        pytest.param(
            "{ ...F0 } "
            + "".join(f"fragment F{i} on Query {{ ...F{i + 1} }} " for i in range(10_000)),
            0,
            id="a chain of fragments as long as the document",
        ),
    ],
)
def test_nodes_are_page_sizes_times_parents(query: str, nodes: int) -> None:
    assert count_nodes(query) == nodes


@pytest.mark.parametrize(
    ("directives", "nodes"),
    [
        ("@skip(if: true)", 0),
        ("@skip(if: false)", 20),
        ("@include(if: true)", 20),
        ("@include(if: false)", 0),
        ("@skip(if: $on)", 0),
        ("@skip(if: $off)", 20),
        ("@include(if: $on)", 20),
        ("@include(if: $off)", 0),
        ("@include(if: $on) @skip(if: $on)", 0),
        ("@include(if: $on) @skip(if: false)", 20),
        ("@include", 20),
        ("@unknown(if: false)", 20),
    ],
)
def test_excluded_selections_do_not_count(directives: str, nodes: int) -> None:
    fragment = "fragment F on Query { posts { totalCount } }"
    for selection in (
        f"posts {directives} {{ totalCount }}",
        f"...F {directives}",
        f"... {directives} {{ posts {{ totalCount }} }}",
    ):
        query = f"query ($on: Boolean!, $off: Boolean!) {{ {selection} }} {fragment}"
        assert query_cost(query).count_nodes({"on": True, "off": False}) == nodes


def test_only_the_executed_operation_counts() -> None:
    query = "query A { posts(first: 1) { totalCount } } query B { posts(first: 2) { totalCount } }"
    assert query_cost(query, "A").count_nodes({}) == 1
    assert query_cost(query, "B").count_nodes({}) == 2


def test_one_cost_serves_all_variables() -> None:
    related = "related(first: $n) { totalCount }"
    cost = query_cost(f"query ($n: Int) {{ posts(first: $n) {{ nodes {{ {related} }} }} }}")
    assert [cost.count_nodes({"n": n}) for n in (1, 10, 100, 1)] == [2, 110, 10_100, 2]


def test_counting_stops_at_the_ceiling() -> None:
    levels = "posts { nodes { account { " * 60 + "id" + " } } }" * 60
    query = "{ node(id: 1) { ... on Account { " + levels + " } } }"
    assert query_cost(query).count_nodes({}) == COUNT_CEILING
    assert cost_error(query) == (
        "The document asks for at least 1000000000 nodes; at most 2000 are allowed.",
        None,
    )


def test_conditions_at_every_level_of_the_deepest_document_are_evaluated() -> None:
    levels = (
        "... @include(if: $on) { " * 198 + "posts @include(if: $on) { totalCount }" + " }" * 198
    )
    cost = query_cost(f"query ($on: Boolean!) {{ {levels} }}")
    assert [cost.count_nodes({"on": on}) for on in (True, False)] == [20, 0]


# The limits


def test_the_node_limit_is_exact_and_its_error_names_limit_and_value() -> None:
    related = "related(first: $m) { nodes { id } }"
    query = f"query ($n: Int, $m: Int) {{ posts(first: $n) {{ nodes {{ {related} }} }} }}"
    assert query_cost(query).count_nodes({"n": 80, "m": 24}) == 80 + 80 * 24 == 2000
    assert cost_error(query, n=80, m=24) is None
    over_limit = query[:-1] + " b: accounts(first: 1) { totalCount } }"
    assert cost_error(over_limit, n=80, m=24) == (
        "The document asks for 2001 nodes; at most 2000 are allowed.",
        None,
    )


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("{ nodes(ids: LIST) { id } }", "ids"),
        ("{ posts(filter: {account: LIST}) { totalCount } }", "filter.account"),
        (
            "{ posts(filter: {any: [{}, {any: {account: LIST}}]}) { totalCount } }",
            "filter.any.any.account",
        ),
        ("{ posts { nodes { unknown(list: [[], LIST]) } } }", "list"),
        ("{ posts(filter: {any: {OBJECT}}) { totalCount } }", "filter.any"),
        (
            "{ ... { ...F } } fragment F on Query { posts(filter: {account: LIST}) { totalCount } }",
            "filter.account",
        ),
    ],
)
def test_the_size_limit_of_literal_lists_and_objects_is_exact(query: str, argument: str) -> None:
    def literal_of_length(count: int) -> str:
        members = " ".join(f"m{number}: 1" for number in range(count))
        return query.replace("LIST", str([1] * count)).replace("OBJECT", members)

    assert cost_error(literal_of_length(100)) is None
    assert cost_error(literal_of_length(101)) == (
        f"{argument} has 101 values; at most 100 are allowed.",
        argument,
    )


@pytest.mark.parametrize(
    ("query", "shape", "argument"),
    [
        ("query ($v: [ID!]!) { nodes(ids: $v) { id } }", "LIST", "ids"),
        (
            "query ($v: [Int!]) { posts(filter: {account: $v}) { totalCount } }",
            "LIST",
            "filter.account",
        ),
        (
            "query ($v: PostFilter) { posts(filter: $v) { totalCount } }",
            {"account": "LIST"},
            "filter.account",
        ),
        (
            "query ($v: PostFilter) { ...F }"
            " fragment F on Query { posts(filter: {any: [$v]}) { totalCount } }",
            {"any": [{"status": "x"}, {"account": "LIST"}]},
            "filter.any.any.account",
        ),
        ("query ($v: X) { a(x: $v) b(y: $v) }", ["LIST"], "x"),
        ("query ($v: X) { a(x: {y: $v}) }", {"z": "OBJECT"}, "x.y.z"),
    ],
)
def test_the_size_limit_of_lists_and_objects_in_variables_is_exact(
    query: str, shape: object, argument: str
) -> None:
    assert cost_error(query, v=fill_shape(shape, ["1"] * 100)) is None
    assert cost_error(query, v=fill_shape(shape, ["1"] * 101)) == (
        f"{argument} has 101 values; at most 100 are allowed.",
        argument,
    )


def fill_shape(shape: object, values: list[str]) -> object:
    if isinstance(shape, dict):
        return {name: fill_shape(part, values) for name, part in shape.items()}
    if isinstance(shape, list):
        return [fill_shape(part, values) for part in shape]
    if shape == "OBJECT":
        return {f"m{number}": value for number, value in enumerate(values)}
    return values if shape == "LIST" else shape


def test_lists_in_excluded_selections_do_not_count() -> None:
    excluded = f"nodes(ids: {[1] * 101}) @skip(if: true) {{ id }}"
    assert cost_error(f"{{ {excluded} ... @include(if: false) {{ {excluded} }} version }}") is None


def test_lists_of_other_operations_and_unused_variables_do_not_count() -> None:
    long_list = ["1"] * 101
    query = f"query A {{ version }} query B {{ nodes(ids: {[1] * 101}) {{ id }} }}"
    query_cost(query, "A").check_argument_sizes({"unused": long_list}, LIMITS.ids)
    with pytest.raises(LimitExceeded):
        query_cost(query, "B").check_argument_sizes({"unused": long_list}, LIMITS.ids)


def test_configured_limits_are_enforced() -> None:
    query = '{ nodes(ids: ["a", "b", "c"]) { id } }'
    limits = replace(LIMITS, nodes=3, ids=3)
    assert cost_error(query, limits) is None
    assert cost_error(query, replace(limits, ids=2)) == (
        "ids has 3 values; at most 2 are allowed.",
        "ids",
    )
    assert cost_error(query, replace(limits, nodes=2)) == (
        "The document asks for 3 nodes; at most 2 are allowed.",
        None,
    )


# Compared with a reference implementation that expands every fragment


def count_by_expanding(document: DocumentNode, variables: Mapping[str, object]) -> int:
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }

    def value_of(node: object, default: object) -> object:
        if isinstance(node, VariableNode):
            return variables.get(node.name.value, default)
        if isinstance(node, (IntValueNode, BooleanValueNode)):
            return int(node.value)
        if isinstance(node, NullValueNode):
            return None
        return [*node.values] if isinstance(node, ListValueNode) else str(node)

    def is_skipped(directive: DirectiveNode) -> bool:
        condition = next((value_of(arg.value, None) for arg in directive.arguments or ()), None)
        return (directive.name.value, condition) in (("skip", True), ("include", False))

    def page_size(
        parent: GraphQLNamedType, node: FieldNode, definition: GraphQLField
    ) -> int | None:
        arguments = {arg.name.value: arg.value for arg in node.arguments or ()}
        if parent.name == "Query" and node.name.value == "nodes":
            ids = value_of(arguments["ids"], None)
            return len(ids) if isinstance(ids, list) else 1
        if get_named_type(definition.type).name not in ("PostConnection", "AccountConnection"):
            return None
        defaults = {"first": 5} if node.name.value == "accounts" else {}
        sizes = []
        for name in ("first", "last"):
            default = defaults.get(name)
            size = value_of(arguments[name], default) if name in arguments else default
            if size is not None:
                sizes.append(sorted((0, size, 100))[1] if isinstance(size, int) else 100)
        return max(sizes) if sizes else 20

    def visit(selection_set: SelectionSetNode, type_: GraphQLNamedType | None, parents: int) -> int:
        nodes = 0
        for selection in selection_set.selections:
            if any(map(is_skipped, selection.directives or ())):
                continue
            if isinstance(selection, FragmentSpreadNode):
                fragment = fragments.get(selection.name.value)
                if fragment is not None:
                    narrowed = SCHEMA.get_type(fragment.type_condition.name.value)
                    nodes += visit(fragment.selection_set, narrowed, parents)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                narrowed = SCHEMA.get_type(condition.name.value) if condition else type_
                nodes += visit(selection.selection_set, narrowed, parents)
            elif isinstance(selection, FieldNode):
                definition = getattr(type_, "fields", {}).get(selection.name.value)
                size = page_size(type_, selection, definition) if type_ and definition else None
                nodes += parents * (size or 0)
                if selection.selection_set:
                    inner = get_named_type(definition.type) if definition else None
                    multiplied = parents if size is None else parents * size
                    nodes += visit(selection.selection_set, inner, multiplied)
        return nodes

    return visit(DocumentIndex(document).operations[0].node.selection_set, SCHEMA.query_type, 1)


VARIABLES = st.fixed_dictionaries(
    {"on": st.just(True), "off": st.just(False), "ids": st.lists(st.text(), max_size=3)},
    optional={"n": st.none() | st.integers(-2, 200), "m": st.none() | st.integers(-2, 200)},
)


@given(document_strategy(with_cycles=False), VARIABLES)
def test_the_count_equals_that_of_the_expanded_operation(
    query: str, variables: dict[str, object]
) -> None:
    expected = min(count_by_expanding(parse(query), variables), COUNT_CEILING)
    assert query_cost(query).count_nodes(variables) == expected


@given(document_strategy(with_cycles=True), VARIABLES)
def test_every_document_that_parses_can_be_counted(
    query: str, variables: dict[str, object]
) -> None:
    assert 0 <= query_cost(query).count_nodes(variables) <= COUNT_CEILING
