"""Readers of request parameters; they validate values and name the parameter in errors.

An empty query value counts as absent. Unknown parameters are ignored. Repeated list parameters are joined;
of any other repeated parameter the last value counts.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum, StrEnum
from typing import TypeAlias, TypeVar
from uuid import UUID

from starlette.datastructures import QueryParams

from app.domain.errors import InvalidInput
from app.domain.ids import parse_account_id, parse_uuid
from app.domain.times import format_instant, parse_instant
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.text import MAX_SEARCH_LENGTH, validate_text
from app.http.request import HttpRequest

T = TypeVar("T")
MemberT = TypeVar("MemberT", bound=StrEnum)

InputFields: TypeAlias = Mapping[str, tuple[str, Callable[[ObjectReader, str], object]]]
"""Name of the input field, and reader of the value, by the member of a JSON body."""

_MAX_LIST_LENGTH = 100
_MAX_COUNT = 999_999_999

_INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_MAX_QUOTED_LENGTH = 40


def parse_post_id(request: HttpRequest) -> UUID:
    """Return the post id of the path; raise InvalidId unless it is a UUID."""
    return parse_uuid(request.path_parameters["post_id"], "post_id")


def parse_webhook_id(request: HttpRequest) -> UUID:
    """Return the webhook id of the path; raise InvalidId unless it is a UUID."""
    return parse_uuid(request.path_parameters["webhook_id"], "webhook_id")


def read_account_ids(query: QueryParams) -> list[int] | None:
    """Read the account numbers of `account_id`."""
    return read_list(query, "account_id", parse_account_id)


def read_platforms(query: QueryParams) -> list[str] | None:
    """Read the platform names of `platform`; any name is allowed."""
    return read_list(query, "platform", parse_search_text)


def read_enum_names(query: QueryParams, name: str, members: Mapping[str, Enum]) -> list[str] | None:
    """Convert a list of REST words to GraphQL enum names."""
    return read_list(query, name, lambda item, name: _parse_word(item, name, members).name)


def read_search_text(query: QueryParams, name: str) -> str | None:
    """Read the text to search for, of at most MAX_SEARCH_LENGTH characters."""
    text = read_last_value(query, name)
    return None if text is None else parse_search_text(text, name)


def read_uuid(query: QueryParams, name: str) -> str | None:
    """Read a UUID, in its usual form."""
    text = read_last_value(query, name)
    return None if text is None else str(parse_uuid(text, name))


def read_time(query: QueryParams, name: str) -> datetime | None:
    """Read a time."""
    text = read_last_value(query, name)
    return None if text is None else parse_instant(text, name)


def read_instant(query: QueryParams, name: str) -> str | None:
    """Read a time, formatted as UTC."""
    time = read_time(query, name)
    return None if time is None else format_instant(time)


def read_body_instant(body: ObjectReader, name: str) -> str | None:
    """Read a time in a JSON body, formatted as UTC."""
    text = body.string(name)
    return None if text is None else format_instant(parse_instant(text, name))


def read_input_fields(
    body: ObjectReader, names: Iterable[str], fields: InputFields
) -> dict[str, object]:
    """Read those members of a JSON body that have an input field."""
    members = [(name, *fields[name]) for name in names if name in fields]
    return {input_name: read(body, name) for name, input_name, read in members}


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


def read_count(query: QueryParams, name: str) -> int | None:
    """Read a whole number from 0."""
    if read_last_value(query, name) is None:
        return None
    return read_integer(query, name, 0, _MAX_COUNT, 0)


def read_boolean(query: QueryParams, name: str) -> bool | None:
    """Read `true` or `false`."""
    if read_last_value(query, name) is None:
        return None
    return read_choice(query, name, ("true", "false"), "false") == "true"


def read_last_value(query: QueryParams, name: str) -> str | None:
    """Return the last value that is not empty."""
    values = [value for value in query.getlist(name) if value]
    return values[-1] if values else None


def read_list(query: QueryParams, name: str, parse: Callable[[str, str], T]) -> list[T] | None:
    """Parse values separated by commas, at most MAX_LIST_LENGTH; return None if there is none.

    `parse` gets a value and the name of the parameter.
    """
    parts = (part.strip() for value in query.getlist(name) for part in value.split(","))
    items = [part for part in parts if part]
    if len(items) > _MAX_LIST_LENGTH:
        raise InvalidInput(
            f"{name} has {len(items)} values; at most {_MAX_LIST_LENGTH} are allowed.",
            argument=name,
        )
    return [parse(item, name) for item in items] or None


def parse_search_text(text: str, name: str) -> str:
    """Validate a text of at most MAX_SEARCH_LENGTH characters that stored texts are compared with."""
    return validate_text(text, name, max_length=MAX_SEARCH_LENGTH)


def parse_member(members: type[MemberT], text: str, name: str) -> MemberT:
    """Parse a member of an enum by its value."""
    return _parse_word(text, name, {member.value: member for member in members})


def _parse_word(word: str, name: str, members: Mapping[str, T]) -> T:
    if word not in members:
        raise _unknown_value_error(name, word, [*members])
    return members[word]


def _unknown_value_error(name: str, value: str, allowed: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"{name} must be one of {', '.join(allowed)}; it is {_quoted(value)}.", argument=name
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…")
