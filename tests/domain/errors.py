"""Calls that must raise an error."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from app.domain.errors import InvalidInput, PostResultsError

E = TypeVar("E", bound=PostResultsError)


def expect_error(
    error_type: type[E], function: Callable[..., object], *args: Any, **kwargs: Any
) -> E:
    """Return the error that the call raises."""
    with pytest.raises(error_type) as caught:
        function(*args, **kwargs)
    return caught.value


def input_error(
    function: Callable[..., object], *args: Any, **kwargs: Any
) -> tuple[str | None, str]:
    """Return argument and message of the InvalidInput that the call raises."""
    error = expect_error(InvalidInput, function, *args, **kwargs)
    return error.argument, error.message
