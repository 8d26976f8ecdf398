"""Compares two responses to the same operation by the rules of the GraphQL specification.

A field error that nulls a parent lets the executor cancel the fields beside it, whose errors are then
reported or not, depending on which load ends first ("Handling Execution Errors"). All other errors and
all values must be equal.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

ErrorEntry: TypeAlias = Mapping[str, Any]
ResponsePath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """Data and errors of a response."""

    data: Any
    errors: Sequence[ErrorEntry]


def assert_same_response(actual: Response | None, expected: Response | None) -> None:
    """Raise AssertionError if values, their order or errors differ that the specification determines.

    None is a response that was refused for its size.
    """
    difference = f"the response is\n{actual}\ninstead of\n{expected}"
    if actual is None or expected is None:
        assert actual is expected, difference
        return
    assert orjson.dumps(actual.data) == orjson.dumps(expected.data), difference
    actual_errors, expected_errors = _GroupedErrors(actual), _GroupedErrors(expected)
    assert actual_errors.determined == expected_errors.determined, difference
    assert actual_errors.below_null.keys() == expected_errors.below_null.keys(), difference
    for position, entries in actual_errors.below_null.items():
        expected_entries = expected_errors.below_null[position]
        for path in entries.keys() & expected_entries.keys():
            assert entries[path] == expected_entries[path], difference


class _GroupedErrors:
    """Encoded errors of a response by path, and apart from them those below each null position."""

    def __init__(self, response: Response) -> None:
        self.determined: list[tuple[list[str], bytes]] = []
        self.below_null: defaultdict[ResponsePath, dict[ResponsePath, bytes]] = defaultdict(dict)
        data = orjson.loads(orjson.dumps(response.data))
        for error in response.errors:
            path, entry = tuple(error.get("path", ())), orjson.dumps(error)
            position = _null_position(data, path)
            if position == path:
                self.determined.append((list(map(str, path)), entry))
            else:
                self.below_null[position][path] = entry
        # The order of errors of concurrent loads varies.
        self.determined.sort()


def _null_position(data: Any, path: ResponsePath) -> ResponsePath:
    """Return the start of the path at which the data is null."""
    value = data
    for length, key in enumerate(path):
        if value is None:
            return path[:length]
        value = value[key]
    return path
