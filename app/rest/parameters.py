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
from app.domain.periods import Period
from app.domain.posts import STATUS_WORDS
from app.domain.text import MAX_SEARCH_LENGTH, check_text
from app.domain.times import format_instant, parse_instant
from app.graphql.connections import DEFAULT_PAGE_SIZE, MAX_OFFSET, MAX_PAGE_SIZE
from app.http.query_string import read_query_string
from app.rest.requests import Variables

SORTS = ("created_at", "scheduled_for", "published_at", "updated_at")
ORDERS = ("desc", "asc")
MAX_LIST_LENGTH = 100
MAX_WAIT_SECONDS = 60
"""Proxies cut off what is silent for longer."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_MAX_SHOWN_LENGTH = 40
_CHANGE_TYPES = {kind.value: kind for kind in EventKind}


def nothing(_request: Request) -> Variables:
    return {}


def post_id(request: Request) -> str:
    """InvalidId unless the path has a UUID."""
    return str(parse_uuid(request.path_params["post_id"], "post_id"))


def one_post(request: Request) -> Variables:
    return {"postId": post_id(request)}


def wait(request: Request) -> timedelta:
    """How long an answer may be held back until there is something new."""
    query = read_query_string(request)
    return timedelta(seconds=_whole_number(query, "wait", 0, MAX_WAIT_SECONDS, 0))


def one_account(request: Request) -> Variables:
    """InvalidId unless the path has an account's number."""
    return {"accountId": parse_account_id(request.path_params["account_id"], "account_id")}


def post_list(request: Request) -> Variables:
    """Filter, order and page; a value that is not possible is InvalidInput or InvalidId."""
    query = read_query_string(request)
    return {
        "filter": {
            "status": _names(query, "status", STATUS_WORDS),
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
            "search": _checked_text(query, "search"),
            "reference": _checked_text(query, "reference"),
        },
        "orderBy": {
            "field": _word(query, "sort", SORTS, "created_at").upper(),
            "direction": _word(query, "order", ORDERS, "desc").upper(),
        },
        "first": _whole_number(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "offset": _whole_number(query, "offset", 0, MAX_OFFSET, 0),
    }


def changes(request: Request) -> Variables:
    """Where to go on, how many, and of what; a cursor is read where it is known what it is of."""
    query = read_query_string(request)
    of_post = _text(query, "post_id")
    return {
        "after": _text(query, "after"),
        "first": _whole_number(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "types": _names(query, "types", _CHANGE_TYPES),
        "postId": None if of_post is None else str(parse_uuid(of_post, "post_id")),
    }


def reporting_period(request: Request) -> Variables:
    query = read_query_string(request)
    return {
        "period": _word(query, "period", [each.value for each in Period], Period.MONTH).upper(),
        "from": _instant(query, "from"),
        "to": _instant(query, "to"),
    }


def _names(query: QueryParams, name: str, words: Mapping[str, Enum]) -> list[str] | None:
    """What a list of words stands for, by the names of GraphQL."""
    items = _items(query, name)
    for item in items or ():
        if item not in words:
            raise _unknown_word(name, item, [*words])
    return None if items is None else [words[item].name for item in items]


def _platforms(query: QueryParams) -> list[str] | None:
    items = _items(query, "platform")
    return None if items is None else [_checked("platform", item) for item in items]


def _account_ids(query: QueryParams) -> list[int] | None:
    items = _items(query, "account_id")
    return None if items is None else [parse_account_id(item, "account_id") for item in items]


def _checked_text(query: QueryParams, name: str) -> str | None:
    text = _text(query, name)
    return None if text is None else _checked(name, text)


def _checked(name: str, text: str) -> str:
    return check_text(text, name, max_length=MAX_SEARCH_LENGTH)


def _text(query: QueryParams, name: str) -> str | None:
    given = [value for value in query.getlist(name) if value]
    return given[-1] if given else None


def _items(query: QueryParams, name: str) -> list[str] | None:
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
    text = _text(query, name)
    return None if text is None else format_instant(parse_instant(text, name))


def _word(query: QueryParams, name: str, allowed: Sequence[str], default: str) -> str:
    word = _text(query, name) or default
    if word not in allowed:
        raise _unknown_word(name, word, allowed)
    return word


def _whole_number(query: QueryParams, name: str, low: int, high: int, default: int) -> int:
    text = _text(query, name)
    if text is None:
        return default
    if not _WHOLE_NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidInput(
            f"{name} must be a whole number from {low:,} to {high:,}; it is {_shown(text)}.",
            argument=name,
        )
    return int(text)


def _unknown_word(name: str, word: str, allowed: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"{name} must be one of {', '.join(allowed)}; it is {_shown(word)}.", argument=name
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_LENGTH else f"{text[:_MAX_SHOWN_LENGTH]}…")
