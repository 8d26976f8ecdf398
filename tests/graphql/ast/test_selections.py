"""What a selection set selects: keys in their order, through fragments and under conditions."""

from collections.abc import Mapping
from typing import cast

import pytest
from graphql import (
    FragmentDefinitionNode,
    GraphQLObjectType,
    OperationDefinitionNode,
    build_schema,
    parse,
)

from app.graphql.ast.selections import FieldCollector, SelectedField, Unsupported

SCHEMA = build_schema(
    """
    directive @other on FIELD
    interface Node { id: ID }
    interface Named { name: String }
    union Thing = Post | Account
    type Post implements Node { id: ID name: String inner: Post }
    type Account implements Node & Named { id: ID name: String }
    type Query { post: Post }
    """
)


def selected_fields(document: str, parent: str = "Post") -> dict[str, SelectedField]:
    parsed = parse(document)
    fragments = {
        each.name.value: each
        for each in parsed.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    (operation,) = (
        each for each in parsed.definitions if isinstance(each, OperationDefinitionNode)
    )
    named = cast("GraphQLObjectType", SCHEMA.get_type(parent))
    return FieldCollector(SCHEMA, fragments).collect_fields(named, [operation.selection_set])


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        ("{ id name }", ["id", "name"]),
        ("{ b: id a: id }", ["b", "a"]),
        ("{ name ...F id } fragment F on Post { id a: name }", ["name", "id", "a"]),
        ("{ ... { id } name }", ["id", "name"]),
        ("{ ... on Post { id } ... on Account { name } }", ["id"]),
        ("{ ... on Node { id } ... on Named { name } }", ["id"]),
        ("{ ... on Thing { name } }", ["name"]),
        ("{ ...F } fragment F on Account { id }", []),
        ("{ __typename }", ["__typename"]),
        ("{ id @include(if: false) name @skip(if: true) a: id @include(if: true) }", ["a"]),
        ("{ ... @skip(if: true) { id } name @skip(if: false) @include(if: true) }", ["name"]),
        ("{ ...F @include(if: false) } fragment F on Post { id }", []),
    ],
)
def test_keys_stand_in_the_order_of_the_document(document: str, keys: list[str]) -> None:
    assert list(selected_fields(document)) == keys


def test_a_key_knows_its_field() -> None:
    found = selected_fields("{ a: id b: name id }")

    assert {key: each.name for key, each in found.items()} == {"a": "id", "b": "name", "id": "id"}


def test_fragments_apply_by_the_type_of_the_object() -> None:
    document = "{ ... on Named { name } ... on Node { id } ... on Post { inner { id } } }"

    assert list(selected_fields(document, "Account")) == ["name", "id"]
    assert list(selected_fields(document, "Post")) == ["id", "inner"]


def test_a_key_that_is_asked_for_twice_has_both_nodes() -> None:
    inner = selected_fields(
        "{ inner { id } ...F inner { a: id } } fragment F on Post { inner { name } }"
    )["inner"]

    assert len(inner.nodes) == 3
    assert inner.is_unconditional


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"a": True, "b": False}, [True, True]),
        ({"a": True, "b": True}, [True, False]),
        ({"a": False, "b": False}, [False, True]),
    ],
)
def test_what_depends_on_variables_has_a_condition_for_each(
    given: Mapping[str, object], holds: list[bool]
) -> None:
    found = selected_fields(
        "query ($a: Boolean!, $b: Boolean!) { ... @include(if: $a) { id @skip(if: $b) } }"
    )["id"]

    assert not found.is_unconditional
    assert [condition(given) for condition in found.conditions] == holds


@pytest.mark.parametrize("given", [{}, {"a": None}, {"a": 1}, {"a": "true"}])
def test_a_condition_that_is_no_boolean_is_a_surprise(given: Mapping[str, object]) -> None:
    (condition,) = selected_fields("query ($a: Boolean!) { id @include(if: $a) }")["id"].conditions

    with pytest.raises(Unsupported):
        condition(given)


@pytest.mark.parametrize(
    "document",
    [
        "{ id @include(if: $a) id }",
        "{ id id @include(if: $a) }",
        "{ inner { id } ... @skip(if: $a) { inner { name } } }",
        "{ id @other }",
        "{ id @include }",
        "{ id @skip(if: 1) }",
    ],
)
def test_what_depends_on_more_than_each_key_alone_is_a_surprise(document: str) -> None:
    with pytest.raises(Unsupported):
        selected_fields(document)
