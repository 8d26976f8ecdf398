"""Walking through an argument's value."""

from graphql import IntValueNode, ListValueNode, ObjectValueNode, parse_value

from app.graphql.ast.argument_paths import ArgumentPath, walk_values


def test_a_place_is_shown_from_the_argument_inwards() -> None:
    assert (
        str(ArgumentPath("accountId", ArgumentPath("any", ArgumentPath("filter"))))
        == "filter.any.accountId"
    )


def test_a_coerced_value_is_walked_with_the_place_of_each_part() -> None:
    value = {"any": [{"id": [1, 2]}], "text": "x"}
    found = [(str(place), part) for place, part in walk_values(ArgumentPath("filter"), value)]
    assert sorted(found, key=repr) == sorted(
        [
            ("filter", value),
            ("filter.any", [{"id": [1, 2]}]),
            ("filter.any", {"id": [1, 2]}),
            ("filter.any.id", [1, 2]),
            ("filter.any.id", 1),
            ("filter.any.id", 2),
            ("filter.text", "x"),
        ],
        key=repr,
    )


def test_a_literal_is_walked_in_the_same_way() -> None:
    found = walk_values(ArgumentPath("filter"), parse_value("{any: [{id: 1}]}"))
    assert [(str(place), type(part)) for place, part in found] == [
        ("filter", ObjectValueNode),
        ("filter.any", ListValueNode),
        ("filter.any", ObjectValueNode),
        ("filter.any.id", IntValueNode),
    ]


def test_a_deep_value_is_walked_without_recursion() -> None:
    value: object = 1
    for _ in range(50_000):
        value = {"in": [value]}
    *_, (place, innermost) = walk_values(ArgumentPath("x"), value)
    assert innermost == 1
    assert str(place) == "x" + ".in" * 50_000


def test_a_text_is_no_list() -> None:
    assert list(walk_values(ArgumentPath("x"), "abc")) == [(ArgumentPath("x"), "abc")]
