"""Comparison of responses: errors that race with each other below a null may differ, and nothing else."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.graphql.engine.responses import ErrorEntry, Response, assert_same_response


def make_error(*path: str | int, message: str = "failed") -> ErrorEntry:
    return {"message": message, "path": list(path)} if path else {"message": message}


DATA = {"a": None, "b": [{"c": None, "d": 1}]}
AT_FIELD = make_error("b", 0, "c")
FIRST = make_error("a", "edges", 3, "node", "isOverdue")
SECOND = make_error("a", "edges", 0, "node", "attempts")


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        pytest.param([AT_FIELD, FIRST], [AT_FIELD, FIRST, SECOND], id="fewer"),
        pytest.param([AT_FIELD, FIRST, SECOND], [AT_FIELD, FIRST], id="more"),
        pytest.param([AT_FIELD, FIRST], [AT_FIELD, SECOND], id="another"),
        pytest.param([FIRST, AT_FIELD], [AT_FIELD, FIRST], id="order"),
    ],
)
def test_errors_below_a_null_may_differ(
    actual: Sequence[ErrorEntry], expected: Sequence[ErrorEntry]
) -> None:
    assert_same_response(Response(DATA, actual), Response(DATA, expected))


def test_errors_below_null_data_may_differ() -> None:
    assert_same_response(Response(None, [FIRST]), Response(None, [FIRST, SECOND]))


@pytest.mark.parametrize(
    "actual",
    [
        pytest.param([AT_FIELD], id="no error below the null"),
        pytest.param([FIRST], id="no error at the null field"),
        pytest.param([AT_FIELD, AT_FIELD, FIRST], id="an error twice"),
        pytest.param([AT_FIELD, FIRST, make_error("b", 0, "d")], id="an error at a value"),
        pytest.param([AT_FIELD, FIRST, make_error()], id="an error without a path"),
        pytest.param([AT_FIELD, make_error(*FIRST["path"], message="no")], id="another message"),
        pytest.param([AT_FIELD, make_error("a")], id="an error at the null instead"),
    ],
)
def test_any_other_difference_of_errors_fails(actual: Sequence[ErrorEntry]) -> None:
    with pytest.raises(AssertionError, match="instead of"):
        assert_same_response(Response(DATA, actual), Response(DATA, [AT_FIELD, FIRST]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"b": DATA["b"], "a": None}, id="order of fields"),
        pytest.param({"a": None, "b": [{"c": None, "d": 2}]}, id="value"),
        pytest.param({"a": None, "b": None}, id="null"),
    ],
)
def test_any_difference_of_data_fails(data: Any) -> None:
    with pytest.raises(AssertionError, match="instead of"):
        assert_same_response(Response(data, [FIRST]), Response(DATA, [FIRST]))


def test_refused_response_equals_only_a_refused_response() -> None:
    assert_same_response(None, None)
    for actual, expected in ((None, Response(None, [])), (Response(None, []), None)):
        with pytest.raises(AssertionError, match="instead of"):
            assert_same_response(actual, expected)
