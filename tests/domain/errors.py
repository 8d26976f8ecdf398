"""Calls that must raise an error, and messages without the name of the argument."""

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


"""Messages of rejected values and blocked accounts, without the name of the argument."""

UUID_MESSAGE = (
    "The id must be a UUID in its 36-character form, such as f47ac10b-58cc-4372-a567-0e02b2c3d479."
)
ACCOUNT_ID_MESSAGE = "An account id is a whole number from 1 to 2147483647."
TIME_MESSAGE = (
    "The time must be an ISO 8601 date and time in the years 1900 to 9998,"
    " such as 2026-04-15T14:30:05.000Z; without an offset it is read as UTC."
)
NUL = "must not contain a NUL character."
SURROGATE = "must not contain a lone surrogate."
NOT_PRINTABLE = "must be printable and not empty."
NOT_A_PLATFORM = "must be a word of lower-case letters, digits, _ and -, such as instagram."
NOT_A_URL = "must be a URL that starts with http:// or https://."
INT64 = "must fit into 64 bits."

INACTIVE = "The account is switched off or disconnected. Connect it again to post."
REJECTED = "The account has no valid access to its platform. Reconnect the account to post."
EXPIRED = "The account's access has expired. Reconnect the account to post."
