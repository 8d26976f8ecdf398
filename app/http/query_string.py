"""The parameters in a request's URL, read as strictly as a body is. Knows no parameter by name."""

from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import QueryParams
from starlette.requests import Request

from app.domain.errors import InvalidInput

_EMPTY = QueryParams()
"""To make one takes a while, and most requests have no parameters."""


def read_query_string(request: Request[Any]) -> QueryParams:
    """The parameters; InvalidInput if they are not UTF-8, which would be read as something else."""
    if not request.scope["query_string"]:
        return _EMPTY
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise InvalidInput("The query string must be UTF-8, percent-encoded.") from None
    return request.query_params
