"""What JSON is kept as it is given, and what is refused by its path."""

import json
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.validation.json_values import MAX_JSON_DEPTH, MAX_JSON_TEXT_LENGTH, check_json

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
storable_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    max_leaves=10,
)


def nest(levels: int, *, innermost: object = 1) -> object:
    """Lists and objects by turns."""

    def wrap(value: object, level: int) -> object:
        return {"a": value} if level % 2 else [value]

    return reduce(wrap, range(levels), innermost)


@given(storable_values)
def test_what_every_engine_stores_passes_whatever_it_is(value: object) -> None:
    check_json(value, "media")


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
        nest(MAX_JSON_DEPTH),
        [nest(MAX_JSON_DEPTH - 1), nest(MAX_JSON_DEPTH - 1)],
        ["text"] * 10_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_the_limits_themselves_are_allowed(value: object) -> None:
    check_json(value, "media")


@pytest.mark.parametrize(
    ("value", "argument", "sentence"),
    [
        (2**63, "media", "media must fit into 64 bits."),
        (-(2**63) - 1, "media", "media must fit into 64 bits."),
        (10**4000, "media", "media must fit into 64 bits."),
        ([1, {"n": 2**64}], "media[1].n", "media[1].n must fit into 64 bits."),
        (
            {"a": [[], [1.5, json.loads("1e999")]]},
            "media.a[1][1]",
            "media.a[1][1] must be a finite number.",
        ),
        (float("nan"), "media", "media must be a finite number."),
        ("\0", "media", "media must not contain a NUL character."),
        (
            {"x": {"y": ["a", "\ud800"]}},
            "media.x.y[1]",
            "media.x.y[1] must not contain a lone surrogate.",
        ),
        (
            "a" * 100_001,
            "media",
            "media is 100001 characters long; at most 100000 are allowed.",
        ),
        ([{"a\0": 1}], "media[0]", "A key of media[0] must not contain a NUL character."),
        ({"\udfff": 1}, "media", "A key of media must not contain a lone surrogate."),
        (
            {"a": {"b" * 100_001: 1}},
            "media.a",
            "A key of media.a is 100001 characters long; at most 100000 are allowed.",
        ),
        (
            {"é" * 40: "\0"},
            f"media.{'é' * 40}",
            f"media.{'é' * 40} must not contain a NUL character.",
        ),
        ({"b" * 41: "\0"}, "media.…", "media.… must not contain a NUL character."),
        ({"a": {"\x1b[2J": [2**63]}}, "media.a.…[0]", "media.a.…[0] must fit into 64 bits."),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_kept_is_refused_by_its_path(
    value: object, argument: str, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_json(value, "media")
    assert (refused.value.argument, refused.value.message) == (argument, sentence)


@pytest.mark.parametrize("innermost", [1, []])
@pytest.mark.parametrize("levels", [MAX_JSON_DEPTH + 1, 900])
def test_nesting_has_an_end(levels: int, innermost: object) -> None:
    value = nest(levels, innermost=innermost)
    with pytest.raises(InvalidInput) as refused:
        check_json(value, "media")
    outermost = [".a" if (levels - 1 - depth) % 2 else "[0]" for depth in range(MAX_JSON_DEPTH)]
    path = f"media{''.join(outermost)}"
    assert refused.value.argument == path
    assert refused.value.message == f"{path} is nested deeper than 20 levels."


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j])
def test_what_is_no_json_at_all_is_a_mistake_of_ours(value: object) -> None:
    with pytest.raises(TypeError, match=r"media\[0\] is not JSON"):
        check_json([value], "media")
