"""Errors as the REST API prints them, and back from the entries of a GraphQL answer. No responses."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import PostResultsError, concrete_errors

_CLASS_OF_CODE = {error.code.name: error for error in concrete_errors()}
_WORD = re.compile(r"\w+")


def first_error(entries: Sequence[Mapping[str, Any]]) -> PostResultsError:
    """The error that the first entry of `errors` was printed from."""
    entry = entries[0]
    extensions = entry["extensions"]
    return _CLASS_OF_CODE[extensions["code"]](
        entry["message"],
        argument=extensions.get("field"),
        retry_after=extensions.get("retryAfter"),
    )


def error_object(error: PostResultsError) -> dict[str, object]:
    """The `error` of an envelope. Clients tell failures by it alone, so it has no `status`."""
    return {
        "message": _message(error),
        "code": error.code,
        "retryable": error.retryable(),
        "details": _details(error),
    }


def _message(error: PostResultsError) -> str:
    """The sentence, after the name of the parameter where it does not say the name itself."""
    if error.argument is None or error.argument in _WORD.findall(error.message):
        return error.message
    return f"{error.argument}: {error.message}"


def _details(error: PostResultsError) -> dict[str, object] | None:
    if error.argument is None:
        return None
    return {"validation_errors": [{"field": error.argument, "message": error.message}]}
