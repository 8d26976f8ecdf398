"""Validation and comparison of JSON values that are stored unchanged."""

import math
from collections.abc import Mapping, Sequence

from app.domain.errors import InvalidInput
from app.domain.validation.text import validate_text

MAX_STORED_JSON_DEPTH = 20
"""Levels of lists and objects in a value."""

MAX_JSON_TEXT_LENGTH = 100_000
"""Code points of one string or key in a value."""

_MAX_DISPLAYED_KEY_LENGTH = 40
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1


def check_json(value: object, argument: str) -> None:
    """Raise InvalidInput with the path unless the value can be stored and returned unchanged.

    An integer must fit into 64 bits, a float must be finite, and a string must pass `validate_text`. In the
    path, … replaces a key that is long or not printable.
    """
    _check_value(value, argument, MAX_STORED_JSON_DEPTH)


def display_key(key: str) -> str:
    """Return a key as paths of errors show it: … replaces one that is long or not printable."""
    return key if key.isprintable() and len(key) <= _MAX_DISPLAYED_KEY_LENGTH else "…"


def json_equal(one: object, other: object) -> bool:
    """Return whether two values are equal as JSON, where true is not 1, unlike in Python.

    1 and 1.0 are equal, because a database may convert one into the other.
    """
    match one, other:
        case (bool(), _) | (_, bool()):
            return one is other
        case Mapping(), Mapping():
            return one.keys() == other.keys() and all(
                json_equal(one[key], other[key]) for key in one
            )
        case (str(), _) | (_, str()):
            return one == other
        case Sequence(), Sequence():
            return len(one) == len(other) and all(map(json_equal, one, other))
        case _:
            return one == other


def _check_value(value: object, path: str, remaining_depth: int) -> None:
    match value:
        case None | bool():
            return
        case str():
            validate_text(value, path, max_length=MAX_JSON_TEXT_LENGTH)
        case int():
            if not _MIN_INT64 <= value <= _MAX_INT64:
                raise InvalidInput(f"{path} must fit into 64 bits.", argument=path)
        case float():
            if not math.isfinite(value):
                raise InvalidInput(f"{path} must be a finite number.", argument=path)
        case Mapping() | Sequence() if remaining_depth == 0:
            raise InvalidInput(
                f"{path} is nested deeper than {MAX_STORED_JSON_DEPTH} levels.", argument=path
            )
        case Mapping():
            for key, member in value.items():
                _check_key(key, path)
                _check_value(member, f"{path}.{display_key(key)}", remaining_depth - 1)
        case Sequence():
            for index, entry in enumerate(value):
                _check_value(entry, f"{path}[{index}]", remaining_depth - 1)
        case _:
            raise TypeError(f"{path} is not JSON")


def _check_key(key: str, path: str) -> None:
    try:
        validate_text(key, f"A key of {path}", max_length=MAX_JSON_TEXT_LENGTH)
    except InvalidInput as error:
        error.argument = path  # the key itself may not be displayable
        raise
