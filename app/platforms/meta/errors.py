"""Errors of Meta's Graph API as errors of the adapter protocol.

From the pages /docs/graph-api/guides/error-handling, /docs/graph-api/overview/rate-limiting and
/docs/instagram-platform/instagram-graph-api/reference/error-codes of https://developers.facebook.com, and for
4279009 from https://github.com/fbsamples/threads_api/issues/70.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import orjson

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundResponse
from app.platforms.protocol import NotPublished
from app.platforms.responses import parse_json_object, refusal, retry_wait, text_or_none

OBJECT_NOT_FOUND = "GRAPH_100_33"
"""Code of the error of an object that does not exist, or not yet, or that the token cannot read."""

POST_LIMIT_WAIT = timedelta(hours=1)
"""Wait after the limit of posts within 24 hours is reached; Meta does not state when it allows more."""

_WRONG_TOKEN = "Meta does not accept the access token. Connect the account again."
_NO_PERMISSION = (
    "The access token lacks a permission. Connect the account again, and grant all permissions."
)
_FAULT = "Meta had a temporary fault."
_TOO_MANY_REQUESTS = "Meta limits the number of requests."
_IMAGE_NOT_LOADED = "The image could not be loaded from its URL. Check that the URL is public."
_IMAGE_NOT_PROCESSED = "Meta could not process the image."
_NOT_READY = "Meta has not prepared the post yet."
_INVALID = "Meta does not accept the post. Edit it."

_AUTH, _CONTENT = ErrorCategory.AUTH, ErrorCategory.CONTENT_REJECTED
_TRANSIENT, _RATE_LIMITED = ErrorCategory.TRANSIENT, ErrorCategory.RATE_LIMITED

_POST_LIMIT_SUBCODE = 2207042

_BY_SUBCODE: Mapping[int, tuple[ErrorCategory, str]] = {
    33: (
        ErrorCategory.PERMANENT,
        "The account's userId does not exist, or the access token cannot use it. Check the credentials.",
    ),
    2207001: (_TRANSIENT, _FAULT),
    2207003: (_TRANSIENT, _IMAGE_NOT_LOADED),
    2207006: (_TRANSIENT, _NOT_READY),
    2207008: (_TRANSIENT, _NOT_READY),
    2207020: (_TRANSIENT, _IMAGE_NOT_PROCESSED),
    2207027: (_TRANSIENT, _NOT_READY),
    2207032: (_TRANSIENT, _IMAGE_NOT_PROCESSED),
    _POST_LIMIT_SUBCODE: (_RATE_LIMITED, "The account has reached its limit of posts by the API."),
    2207050: (
        _AUTH,
        "The account is restricted or inactive. Sign in to Instagram's app, do what it asks for, and connect"
        " the account again.",
    ),
    2207051: (
        ErrorCategory.PERMANENT,
        "Instagram takes the post for spam. Publish it in Instagram's app, or report the mistake to Meta.",
    ),
    2207052: (_TRANSIENT, _IMAGE_NOT_LOADED),
    2207053: (_TRANSIENT, _IMAGE_NOT_PROCESSED),
    4279009: (_TRANSIENT, _NOT_READY),  # of Threads, shortly after a container is created
}
"""Category and sentence by subcode."""

_CONTENT_SUBCODES = range(2207000, 2208000)
"""Subcodes of Instagram; those that are not listed name a fault of the content."""

_BY_CODE: Mapping[int, tuple[ErrorCategory, str]] = {
    -2: (_TRANSIENT, _FAULT),
    -1: (_TRANSIENT, _FAULT),
    1: (_TRANSIENT, _FAULT),
    2: (_TRANSIENT, _FAULT),
    3: (
        ErrorCategory.PERMANENT,
        "The app of the access token cannot publish. Add the use case"
        " Threads or Instagram to it in Meta's App Dashboard.",
    ),
    4: (_RATE_LIMITED, _TOO_MANY_REQUESTS),
    9: (_RATE_LIMITED, _TOO_MANY_REQUESTS),
    10: (_AUTH, _NO_PERMISSION),
    17: (_RATE_LIMITED, _TOO_MANY_REQUESTS),
    24: (_TRANSIENT, _NOT_READY),
    32: (_RATE_LIMITED, _TOO_MANY_REQUESTS),
    100: (_CONTENT, _INVALID),
    102: (_AUTH, _WRONG_TOKEN),
    190: (_AUTH, _WRONG_TOKEN),
    341: (_RATE_LIMITED, _TOO_MANY_REQUESTS),
    368: (_RATE_LIMITED, "Meta has blocked the account for some time, because of its policies."),
    506: (_CONTENT, "The post is the same as the last one of the account. Edit it."),
    613: (_RATE_LIMITED, _TOO_MANY_REQUESTS),
    1609005: (_CONTENT, "Meta cannot load a link in the text. Check it."),
    **dict.fromkeys(range(200, 300), (_AUTH, _NO_PERMISSION)),
    **dict.fromkeys(range(80000, 80015), (_RATE_LIMITED, _TOO_MANY_REQUESTS)),
}
"""Category and sentence by code, for errors without a listed subcode."""


def read_graph_refusal(response: OutboundResponse, now: datetime) -> NotPublished | None:
    """Return the error of a client error with a known code; None for any other response."""
    error = (parse_json_object(response) or {}).get("error")
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(error, Mapping):
        return None
    code, subcode = (
        number if type(number) is int else None
        for number in (error.get("code"), error.get("error_subcode"))
    )
    rule = _rule(code, subcode)
    may_be_temporary = rule is None or rule[0] in _POSSIBLY_TEMPORARY
    if may_be_temporary and error.get("is_transient") is True:
        rule = _TRANSIENT, _FAULT
    if rule is None:
        return None
    category, sentence = rule
    retry_after = _wait(response, now) if category is _RATE_LIMITED else None
    if subcode == _POST_LIMIT_SUBCODE:
        retry_after = retry_after or POST_LIMIT_WAIT
    return refusal(
        response,
        category,
        f"GRAPH_{code}" if subcode is None else f"GRAPH_{code}_{subcode}",
        f"{sentence}{_reason(error)}",
        retry_after=retry_after,
    )


def container_error(reason: object) -> NotPublished:
    """Return the error of a container that failed, by the reason that the platform states.

    Instagram states a text with a subcode, and Threads a name such as `INVALID_ASPEC_RATIO`.
    """
    text = text_or_none(reason) or ""
    subcode = _SUBCODE.search(text)
    rule = _rule(None, int(subcode.group())) if subcode else None
    if rule is None:
        rule = (
            (_CONTENT, _INVALID)
            if text.startswith("INVALID")
            else (_TRANSIENT, _IMAGE_NOT_PROCESSED)
        )
    category, sentence = rule
    return NotPublished(
        category,
        "CONTAINER_ERROR",
        f"{sentence} Meta's reason: {text}" if text else sentence,
        retry_after=POST_LIMIT_WAIT if category is _RATE_LIMITED else None,
    )


_POSSIBLY_TEMPORARY = {_CONTENT, ErrorCategory.PERMANENT}
"""Categories of failures that are retried all the same if the platform says that the fault is temporary.

AUTH is not among them: only a person can restore the access.
"""

_SUBCODE = re.compile(r"\b2207\d{3}\b")


def _rule(code: int | None, subcode: int | None) -> tuple[ErrorCategory, str] | None:
    if subcode is not None and subcode in _BY_SUBCODE:
        return _BY_SUBCODE[subcode]
    if subcode in _CONTENT_SUBCODES:
        return _CONTENT, _INVALID
    return None if code is None else _BY_CODE.get(code)


def _reason(error: Mapping[str, Any]) -> str:
    """Return the platform's own text, which is better for people in `error_user_msg`."""
    text = text_or_none(error.get("error_user_msg")) or text_or_none(error.get("message"))
    return f" Meta's reason: {text}" if text else ""


def _wait(response: OutboundResponse, now: datetime) -> timedelta | None:
    """Return the wait that headers ask for; X-Business-Use-Case-Usage has one in minutes per limit."""
    wait = retry_wait(response, now)
    if wait is not None:
        return wait
    try:
        usage = orjson.loads(dict(response.headers).get("x-business-use-case-usage", ""))
    except orjson.JSONDecodeError:
        return None
    minutes = [value for value in _regain_minutes(usage) if type(value) is int and value > 0]
    return timedelta(minutes=min(max(minutes), _MAX_MINUTES)) if minutes else None


_MAX_MINUTES = 7 * 24 * 60


def _regain_minutes(usage: object) -> Iterable[object]:
    for limits in usage.values() if isinstance(usage, dict) else ():
        for limit in limits if isinstance(limits, list) else ():
            if isinstance(limit, dict):
                yield limit.get("estimated_time_to_regain_access")
