"""Collection of selected fields, with fragments and conditions."""

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

from app.graphql.ast.selections import FieldCollector, NotCompilable, SelectedField

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
        node.name.value: node
        for node in parsed.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    (operation,) = (
        node for node in parsed.definitions if isinstance(node, OperationDefinitionNode)
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
def test_keys_are_in_document_order(document: str, keys: list[str]) -> None:
    assert list(selected_fields(document)) == keys


def test_a_key_has_the_name_of_its_field() -> None:
    fields = selected_fields("{ a: id b: name id }")

    assert {key: field.name for key, field in fields.items()} == {
        "a": "id",
        "b": "name",
        "id": "id",
    }


def test_fragments_apply_by_the_type_of_the_object() -> None:
    document = "{ ... on Named { name } ... on Node { id } ... on Post { inner { id } } }"

    assert list(selected_fields(document, "Account")) == ["name", "id"]
    assert list(selected_fields(document, "Post")) == ["id", "inner"]


def test_a_key_selected_several_times_has_all_nodes() -> None:
    inner = selected_fields(
        "{ inner { id } ...F inner { a: id } } fragment F on Post { inner { name } }"
    )["inner"]

    assert len(inner.nodes) == 3
    assert inner.is_unconditional


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"a": True, "b": False}, [True, True]),
        ({"a": True, "b": True}, [True, False]),
        ({"a": False, "b": False}, [False, True]),
    ],
)
def test_each_directive_with_a_variable_is_a_condition(
    variables: Mapping[str, object], expected: list[bool]
) -> None:
    field = selected_fields(
        "query ($a: Boolean!, $b: Boolean!) { ... @include(if: $a) { id @skip(if: $b) } }"
    )["id"]

    assert not field.is_unconditional
    assert [condition.is_satisfied(variables) for condition in field.conditions] == expected


@pytest.mark.parametrize("variables", [{}, {"a": None}, {"a": 1}, {"a": "true"}])
def test_a_condition_that_is_not_boolean_is_unsupported(variables: Mapping[str, object]) -> None:
    (condition,) = selected_fields("query ($a: Boolean!) { id @include(if: $a) }")["id"].conditions

    with pytest.raises(NotCompilable):
        condition.is_satisfied(variables)


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
def test_conditional_duplicates_and_unknown_directives_are_unsupported(document: str) -> None:
    with pytest.raises(NotCompilable):
        selected_fields(document)
