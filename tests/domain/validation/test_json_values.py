"""JSON values that can be stored unchanged, and the path of one that cannot."""

import json
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.validation.json_values import (
    MAX_JSON_TEXT_LENGTH,
    MAX_STORED_JSON_DEPTH,
    check_json,
    json_equal,
)
from tests.domain.errors import INT64, NUL, SURROGATE, input_error

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
STORABLE_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    max_leaves=10,
)


def nest(levels: int, *, innermost: object = 1) -> object:
    """Return alternating lists and objects."""

    def wrap(value: object, level: int) -> object:
        return {"a": value} if level % 2 else [value]

    return reduce(wrap, range(levels), innermost)


@given(STORABLE_VALUES)
def test_storable_json_is_accepted(value: object) -> None:
    check_json(value, "media")


LENGTH = "is 100001 characters long; at most 100000 are allowed."


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        -(2**63),
        1.7976931348623157e308,
        "a" * MAX_JSON_TEXT_LENGTH,
        {"😀" * MAX_JSON_TEXT_LENGTH: 1},
        ["\ud7ff\ue000\x01\x7f"],
        {"": {"": []}},
        (True, [None]),
        nest(MAX_STORED_JSON_DEPTH),
        [nest(MAX_STORED_JSON_DEPTH - 1), nest(MAX_STORED_JSON_DEPTH - 1)],
        ["text"] * 10_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_json_may_reach_its_limits(value: object) -> None:
    check_json(value, "media")


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (2**63, "media", INT64),
        (-(2**63) - 1, "media", INT64),
        (10**4000, "media", INT64),
        ([1, {"n": 2**64}], "media[1].n", INT64),
        ({"a": {"\x1b[2J": [2**63]}}, "media.a.…[0]", INT64),
        ({"a": [[], [1.5, json.loads("1e999")]]}, "media.a[1][1]", "must be a finite number."),
        (float("nan"), "media", "must be a finite number."),
        ("\0", "media", NUL),
        ({"é" * 40: "\0"}, f"media.{'é' * 40}", NUL),
        ({"b" * 41: "\0"}, "media.…", NUL),
        ({"x": {"y": ["a", "\ud800"]}}, "media.x.y[1]", SURROGATE),
        ("a" * 100_001, "media", LENGTH),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_error_names_path_of_invalid_value(value: object, path: str, problem: str) -> None:
    assert input_error(check_json, value, "media") == (path, f"{path} {problem}")


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ([{"a\0": 1}], "media[0]", NUL),
        ({"\udfff": 1}, "media", SURROGATE),
        ({"a": {"b" * 100_001: 1}}, "media.a", LENGTH),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_error_names_object_of_invalid_key(value: object, path: str, problem: str) -> None:
    assert input_error(check_json, value, "media") == (path, f"A key of {path} {problem}")


@pytest.mark.parametrize("innermost", [1, []])
@pytest.mark.parametrize("levels", [MAX_STORED_JSON_DEPTH + 1, 900])
def test_deep_nesting_is_rejected(levels: int, innermost: object) -> None:
    steps = [".a" if (levels - 1 - depth) % 2 else "[0]" for depth in range(MAX_STORED_JSON_DEPTH)]
    path = f"media{''.join(steps)}"
    assert input_error(check_json, nest(levels, innermost=innermost), "media") == (
        path,
        f"{path} is nested deeper than 20 levels.",
    )


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j])
def test_other_python_value_is_a_programming_error(value: object) -> None:
    with pytest.raises(TypeError, match=r"media\[0\] is not JSON"):
        check_json([value], "media")


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ({"a": [1, {"b": 0}]}, {"a": (1, {"b": 0})}, True),
        ({"a": [1, {"b": 0}]}, {"a": [1, {"b": False}]}, False),
        ({"a": None}, {}, False),
        ([1], [1, 2], False),
        ("ab", ["a", "b"], False),
    ],
)
def test_json_equality(one: object, other: object, is_equal: bool) -> None:
    assert json_equal(one, other) == json_equal(other, one) == is_equal
