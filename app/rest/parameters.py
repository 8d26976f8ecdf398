"""What a REST request asks to read, from its path and query string into variables. Names its parameters.

An empty value counts as not given, an unknown parameter is ignored. Where a parameter is repeated,
lists are joined and of anything else the last one counts.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum

from starlette.datastructures import QueryParams
from starlette.requests import Request

from app.domain.errors import InvalidInput
from app.domain.events import EventKind
from app.domain.ids import parse_account_id, parse_uuid
from app.domain.posts import STATUS_BY_NAME
from app.domain.times import Period, format_instant, parse_instant
from app.domain.validation.text import MAX_SEARCH_LENGTH, check_text
from app.graphql.schema.connections import DEFAULT_PAGE_SIZE, MAX_OFFSET, MAX_PAGE_SIZE
from app.http.query_string import read_query_string
from app.rest.requests import Variables

SORT_FIELDS = ("created_at", "scheduled_for", "published_at", "updated_at")
SORT_DIRECTIONS = ("desc", "asc")
MAX_LIST_LENGTH = 100
MAX_WAIT_SECONDS = 60
"""Proxies cut off what is silent for longer."""

_INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_MAX_QUOTED_LENGTH = 40
_CHANGE_TYPES = {kind.value: kind for kind in EventKind}


def no_variables(_request: Request) -> Variables:
    return {}


def parse_post_id(request: Request) -> str:
    """InvalidId unless the path has a UUID."""
    return str(parse_uuid(request.path_params["post_id"], "post_id"))


def post_id_variable(request: Request) -> Variables:
    return {"postId": parse_post_id(request)}


def parse_wait(request: Request) -> timedelta:
    """How long an answer may be held back until there is something new."""
    query = read_query_string(request)
    return timedelta(seconds=_integer(query, "wait", 0, MAX_WAIT_SECONDS, 0))


def account_id_variable(request: Request) -> Variables:
    """InvalidId unless the path has an account's number."""
    return {"accountId": parse_account_id(request.path_params["account_id"], "account_id")}


def post_list_variables(request: Request) -> Variables:
    """Filter, order and page; a value that is not possible is InvalidInput or InvalidId."""
    query = read_query_string(request)
    return {
        "filter": {
            "status": _enum_names(query, "status", STATUS_BY_NAME),
            "platform": _platforms(query),
            "accountId": _account_ids(query),
            "createdAfter": _instant(query, "created_after"),
            "createdBefore": _instant(query, "created_before"),
            "scheduledAfter": _instant(query, "scheduled_after"),
            "scheduledBefore": _instant(query, "scheduled_before"),
            "publishedAfter": _instant(query, "published_after"),
            "publishedBefore": _instant(query, "published_before"),
            "updatedAfter": _instant(query, "updated_after"),
            "updatedBefore": _instant(query, "updated_before"),
            "search": _search_text(query, "search"),
            "reference": _search_text(query, "reference"),
        },
        "orderBy": {
            "field": _choice(query, "sort", SORT_FIELDS, "created_at").upper(),
            "direction": _choice(query, "order", SORT_DIRECTIONS, "desc").upper(),
        },
        "first": _integer(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "offset": _integer(query, "offset", 0, MAX_OFFSET, 0),
    }


def changes_variables(request: Request) -> Variables:
    """Where to go on, how many, and of what; a cursor is read where it is known what it is of."""
    query = read_query_string(request)
    of_post = _last_value(query, "post_id")
    return {
        "after": _last_value(query, "after"),
        "first": _integer(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "types": _enum_names(query, "types", _CHANGE_TYPES),
        "postId": None if of_post is None else str(parse_uuid(of_post, "post_id")),
    }


def analytics_variables(request: Request) -> Variables:
    query = read_query_string(request)
    return {
        "period": _choice(query, "period", [each.value for each in Period], Period.MONTH).upper(),
        "from": _instant(query, "from"),
        "to": _instant(query, "to"),
    }


def _enum_names(query: QueryParams, name: str, members: Mapping[str, Enum]) -> list[str] | None:
    """What a list of words stands for, by the names of GraphQL."""
    items = _list_values(query, name)
    for item in items or ():
        if item not in members:
            raise _unknown_value(name, item, [*members])
    return None if items is None else [members[item].name for item in items]


def _platforms(query: QueryParams) -> list[str] | None:
    items = _list_values(query, "platform")
    return None if items is None else [_check_search_text("platform", item) for item in items]


def _account_ids(query: QueryParams) -> list[int] | None:
    items = _list_values(query, "account_id")
    return None if items is None else [parse_account_id(item, "account_id") for item in items]


def _search_text(query: QueryParams, name: str) -> str | None:
    text = _last_value(query, name)
    return None if text is None else _check_search_text(name, text)


def _check_search_text(name: str, text: str) -> str:
    return check_text(text, name, max_length=MAX_SEARCH_LENGTH)


def _last_value(query: QueryParams, name: str) -> str | None:
    given = [value for value in query.getlist(name) if value]
    return given[-1] if given else None


def _list_values(query: QueryParams, name: str) -> list[str] | None:
    """The values of a list that commas separate; None where there is none."""
    parts = (part.strip() for value in query.getlist(name) for part in value.split(","))
    items = [part for part in parts if part]
    if len(items) > MAX_LIST_LENGTH:
        raise InvalidInput(
            f"{name} has {len(items)} values; at most {MAX_LIST_LENGTH} are allowed.",
            argument=name,
        )
    return items or None


def _instant(query: QueryParams, name: str) -> str | None:
    text = _last_value(query, name)
    return None if text is None else format_instant(parse_instant(text, name))


def _choice(query: QueryParams, name: str, allowed: Sequence[str], default: str) -> str:
    word = _last_value(query, name) or default
    if word not in allowed:
        raise _unknown_value(name, word, allowed)
    return word


def _integer(query: QueryParams, name: str, low: int, high: int, default: int) -> int:
    text = _last_value(query, name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidInput(
            f"{name} must be a whole number from {low:,} to {high:,}; it is {_quoted(text)}.",
            argument=name,
        )
    return int(text)


def _unknown_value(name: str, value: str, allowed: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"{name} must be one of {', '.join(allowed)}; it is {_quoted(value)}.", argument=name
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…")
