"""The document index and the walk through argument values."""

import pytest
from graphql import IntValueNode, ListValueNode, ObjectValueNode, parse, parse_value
from hypothesis import given
from hypothesis import strategies as st

from app.graphql.ast.document_index import (
    ArgumentPath,
    DocumentIndex,
    topological_order,
    walk_values,
)

GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefgh"), max_size=4)
)


def test_selections_are_in_document_order_with_their_parents() -> None:
    index = DocumentIndex(parse("{ a { b ... { c } } ...F d }"))
    (operation,) = index.operations
    names = [getattr(selection.node, "name", None) for selection in operation.selections]
    assert [name and name.value for name in names] == ["a", "b", None, "c", "F", "d"]
    assert [selection.parent for selection in operation.selections] == [None, 0, 0, 2, None, None]
    roots = [selection.is_root for selection in operation.selections]
    assert roots == [True, False, False, False, True, True]


@pytest.mark.parametrize(
    ("document", "name", "expected"),
    [
        ("{ a }", None, {"a"}),
        ("query A { a }", None, {"a"}),
        ("query A { a } query B { b }", "B", {"b"}),
        (
            "{ x: a { b } ... { c ...F } } fragment F on Q { d { e } ...F ...Unknown }",
            None,
            set("acd"),
        ),
        ("{ ...F } fragment F on Q { a } fragment F on Q { b }", None, {"a", "b"}),
        ("query A { a } query B { b }", None, None),
        ("query A { a }", "", None),
        ("fragment F on Q { a }", None, None),
    ],
)
def test_root_fields_are_those_of_the_named_or_only_operation(
    document: str, name: str | None, expected: set[str] | None
) -> None:
    index = DocumentIndex(parse(document))
    operation = index.find_operation(name)
    assert (operation and index.root_field_names(operation)) == expected


def test_variable_uses_are_counted_in_arguments_and_directives_of_all_definitions() -> None:
    index = DocumentIndex(
        parse(
            "query ($a: Int, $b: Int, $c: Int, $d: Int) @x(y: $a) {"
            " f(x: [$a, {y: $b}]) ...F @include(if: $a) }"
            " fragment F on Q @x(y: $d) { g(x: $b) { h } }"
        )
    )
    assert index.variable_uses == {"a": 3, "b": 2, "d": 1}


def test_deep_and_long_documents_are_indexed_without_recursion() -> None:
    chain = "".join(f"fragment F{i} on Q {{ ...F{i + 1} }} " for i in range(10_000))
    index = DocumentIndex(parse("{ ...F0 } " + chain + "fragment F10000 on Q { a }"))
    assert index.root_field_names(index.operations[0]) == {"a"}
    assert index.fragment_order[0] == "F10000"


# Order of fragments


def test_a_fragment_follows_those_it_spreads() -> None:
    spreads = {"a": ["b", "c"], "b": ["d"], "c": ["d", "b"], "d": [], "e": ["unknown"]}
    assert topological_order(spreads) == ["e", "d", "b", "c", "a"]


@given(GRAPHS)
def test_every_fragment_comes_once(spreads: dict[str, list[str]]) -> None:
    assert sorted(topological_order(spreads)) == sorted(spreads)


@given(GRAPHS)
def test_without_cycles_every_fragment_follows_those_it_spreads(
    spreads: dict[str, list[str]],
) -> None:
    acyclic = {
        name: [inner for inner in inners if inner > name] for name, inners in spreads.items()
    }
    ordered = topological_order(acyclic)
    for name, inners in acyclic.items():
        for inner in set(inners) & set(acyclic):
            assert ordered.index(inner) < ordered.index(name)


# Argument values


def test_a_path_is_formatted_from_the_argument_inwards() -> None:
    path = ArgumentPath("accountId", ArgumentPath("any", ArgumentPath("filter")))
    assert str(path) == "filter.any.accountId"


def test_a_coerced_value_is_walked_with_the_path_of_each_part() -> None:
    value = {"any": [{"id": [1, 2]}], "text": "abc"}
    walked = [(str(path), part) for path, part in walk_values(ArgumentPath("filter"), value)]
    assert sorted(walked, key=repr) == sorted(
        [
            ("filter", value),
            ("filter.any", [{"id": [1, 2]}]),
            ("filter.any", {"id": [1, 2]}),
            ("filter.any.id", [1, 2]),
            ("filter.any.id", 1),
            ("filter.any.id", 2),
            ("filter.text", "abc"),
        ],
        key=repr,
    )


def test_a_literal_is_walked_in_the_same_way() -> None:
    walked = walk_values(ArgumentPath("filter"), parse_value("{any: [{id: 1}]}"))
    assert [(str(path), type(part)) for path, part in walked] == [
        ("filter", ObjectValueNode),
        ("filter.any", ListValueNode),
        ("filter.any", ObjectValueNode),
        ("filter.any.id", IntValueNode),
    ]


def test_a_deep_value_is_walked_without_recursion() -> None:
    value: object = 1
    for _ in range(50_000):
        value = {"in": [value]}
    *_, (path, innermost) = walk_values(ArgumentPath("x"), value)
    assert innermost == 1
    assert str(path) == "x" + ".in" * 50_000
