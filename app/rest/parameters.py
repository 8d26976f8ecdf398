"""Readers of request parameters; they validate values and name the parameter in errors.

An empty query value counts as absent. Unknown parameters are ignored. Repeated list parameters are joined;
of any other repeated parameter the last value counts.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from uuid import UUID

from starlette.datastructures import QueryParams

from app.domain.errors import InvalidInput
from app.domain.ids import parse_account_id, parse_uuid
from app.domain.times import format_instant, parse_instant
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.text import MAX_SEARCH_LENGTH, validate_text
from app.http.request import HttpRequest

_MAX_LIST_LENGTH = 100

_INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_MAX_QUOTED_LENGTH = 40


def parse_post_id(request: HttpRequest) -> UUID:
    """Return the post id of the path; raise InvalidId unless it is a UUID."""
    return parse_uuid(request.path_parameters["post_id"], "post_id")


def read_account_ids(query: QueryParams) -> list[int] | None:
    """Read the account numbers of `account_id`."""
    items = _read_list(query, "account_id")
    return None if items is None else [parse_account_id(item, "account_id") for item in items]


def read_platforms(query: QueryParams) -> list[str] | None:
    """Read the platform names of `platform`; any name is allowed."""
    items = _read_list(query, "platform")
    return None if items is None else [_validate_search_text("platform", item) for item in items]


def read_enum_names(query: QueryParams, name: str, members: Mapping[str, Enum]) -> list[str] | None:
    """Convert a list of REST words to GraphQL enum names."""
    items = _read_list(query, name)
    for item in items or ():
        if item not in members:
            raise _unknown_value_error(name, item, [*members])
    return None if items is None else [members[item].name for item in items]


def read_search_text(query: QueryParams, name: str) -> str | None:
    """Read the text to search for, of at most MAX_SEARCH_LENGTH characters."""
    text = read_last_value(query, name)
    return None if text is None else _validate_search_text(name, text)


def read_instant(query: QueryParams, name: str) -> str | None:
    """Read a time, formatted as UTC."""
    text = read_last_value(query, name)
    return None if text is None else format_instant(parse_instant(text, name))


def read_body_instant(body: ObjectReader, name: str) -> str | None:
    """Read a time in a JSON body, formatted as UTC."""
    text = body.string(name)
    return None if text is None else format_instant(parse_instant(text, name))


def read_choice(query: QueryParams, name: str, allowed: Sequence[str], default: str) -> str:
    """Read one of the allowed words."""
    word = read_last_value(query, name) or default
    if word not in allowed:
        raise _unknown_value_error(name, word, allowed)
    return word


def read_integer(query: QueryParams, name: str, low: int, high: int, default: int) -> int:
    """Read a whole number from `low` to `high`."""
    text = read_last_value(query, name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidInput(
            f"{name} must be a whole number from {low:,} to {high:,}; it is {_quoted(text)}.",
            argument=name,
        )
    return int(text)


def read_last_value(query: QueryParams, name: str) -> str | None:
    """Return the last value that is not empty."""
    values = [value for value in query.getlist(name) if value]
    return values[-1] if values else None


def _read_list(query: QueryParams, name: str) -> list[str] | None:
    """Split values separated by commas, at most MAX_LIST_LENGTH; return None if there is none."""
    parts = (part.strip() for value in query.getlist(name) for part in value.split(","))
    items = [part for part in parts if part]
    if len(items) > _MAX_LIST_LENGTH:
        raise InvalidInput(
            f"{name} has {len(items)} values; at most {_MAX_LIST_LENGTH} are allowed.",
            argument=name,
        )
    return items or None


def _validate_search_text(name: str, text: str) -> str:
    return validate_text(text, name, max_length=MAX_SEARCH_LENGTH)


def _unknown_value_error(name: str, value: str, allowed: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"{name} must be one of {', '.join(allowed)}; it is {_quoted(value)}.", argument=name
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…")
