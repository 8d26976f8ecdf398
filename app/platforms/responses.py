"""Sends requests to platforms, and classifies failures: nothing was published, or the outcome is unknown."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson

from app.domain.account_pauses import RemainingCalls
from app.domain.destinations import TEMPORARY_CATEGORIES, ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.times import parse_http_date, parse_instant, parse_retry_after
from app.domain.validation.redaction import REDACTED
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.outbound.errors import OutboundError, OutboundFailure
from app.platforms.protocol import (
    NotPublished,
    ObservedRateLimit,
    OutcomeUnknown,
    PlatformCallError,
)
from app.platforms.server_contacts import record_failure, record_status

RefusalReader: TypeAlias = Callable[[OutboundResponse], NotPublished | None]
"""Function that returns the error of a response that it recognises; None lets the HTTP status decide."""

CONFIGURATION_FAILURES = {OutboundFailure.INVALID_URL, OutboundFailure.ADDRESS_NOT_ALLOWED}
"""Failures that a retry without a change of the account or the server cannot avoid."""

_CATEGORY_BY_STATUS: Mapping[int, ErrorCategory] = {
    HTTPStatus.MOVED_PERMANENTLY: ErrorCategory.PERMANENT,
    HTTPStatus.TEMPORARY_REDIRECT: ErrorCategory.PERMANENT,
    HTTPStatus.PERMANENT_REDIRECT: ErrorCategory.PERMANENT,
    HTTPStatus.BAD_REQUEST: ErrorCategory.CONTENT_REJECTED,
    HTTPStatus.UNAUTHORIZED: ErrorCategory.AUTH,
    HTTPStatus.FORBIDDEN: ErrorCategory.PERMANENT,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCategory.PERMANENT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorCategory.CONTENT_REJECTED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ErrorCategory.CONTENT_REJECTED,
    HTTPStatus.UNPROCESSABLE_ENTITY: ErrorCategory.CONTENT_REJECTED,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorCategory.RATE_LIMITED,
}
"""Statuses of servers that have published nothing; any other failure leaves the outcome unknown."""

_RESET_HEADERS = ("ratelimit-reset", "x-ratelimit-reset")
_REMAINING_HEADERS = ("ratelimit-remaining", "x-ratelimit-remaining")
_REMAINING = re.compile(r"[0-9]{1,9}", re.ASCII)


async def send(
    client: OutboundClient,
    request: OutboundRequest,
    *,
    now: datetime,
    read_refusal: RefusalReader,
    rate_limit: ObservedRateLimit | None = None,
) -> OutboundResponse:
    """Send a request and return its successful response, with a status from 200 to 299.

    Raises NotPublished if the failure shows that nothing was published, and OutcomeUnknown if not.
    `read_refusal` decides first; then the status decides. With `rate_limit`, what the response states about
    the limit is recorded there, also if the response is a failure.
    """
    try:
        response = await client.send(request)
    except OutboundError as error:
        record_failure(request.url, error.reason, may_have_been_sent=error.may_have_been_sent)
        if error.may_have_been_sent:
            raise OutcomeUnknown(error.message) from error
        raise _not_sent_error(error) from error
    record_status(request.url, response.status)
    if rate_limit is not None:
        rate_limit.remaining = remaining_calls(response, now)
    if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        return response
    raise read_refusal(response) or _status_error(response, now)


def without_post_content(request: OutboundRequest, read_refusal: RefusalReader) -> RefusalReader:
    """Return the reader of refusals for a request that has no content of a post.

    A status that refuses content then refuses the request itself, such as that of another kind of server.
    """

    def read(response: OutboundResponse) -> NotPublished | None:
        error = read_refusal(response)
        category = _CATEGORY_BY_STATUS.get(response.status)
        if error is not None or category is not ErrorCategory.CONTENT_REJECTED:
            return error
        url = urlsplit(request.url)
        return refusal(
            response,
            ErrorCategory.PERMANENT,
            f"HTTP_{response.status}",
            f"The server answered {response.status}: it refuses the request. Check its URL,"
            f" {url.scheme}://{url.netloc}.",
        )

    return read


def require_json_object(response: OutboundResponse) -> Mapping[str, Any]:
    """Return the JSON object of a successful response; raises OutcomeUnknown for anything else."""
    value = parse_json_object(response)
    if value is None:
        raise unknown_outcome(
            response,
            f"The platform answered {response.status}, but its answer is cut or not a JSON object.",
        )
    return value


def parse_json_object(response: OutboundResponse) -> Mapping[str, Any] | None:
    """Return the JSON object of a response; None if it is cut or something else."""
    if response.is_truncated:
        return None
    try:
        value = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def text_or_none(value: object) -> str | None:
    """Return a text that a platform states; None for an empty one, and for anything else."""
    return value if isinstance(value, str) and value else None


def time_or_default(value: object, default: datetime) -> datetime:
    """Return a time that a platform states, or the default if it is not valid."""
    try:
        return parse_instant(str(value))
    except InvalidInput:
        return default


def refusal(
    response: OutboundResponse,
    category: ErrorCategory,
    code: str,
    message: str,
    *,
    retry_after: timedelta | None = None,
) -> NotPublished:
    """Return the error of a response after which nothing is published."""
    return NotPublished(
        category,
        code,
        message,
        http_status=response.status,
        retry_after=retry_after,
        raw=_body_text(response),
    )


def unknown_outcome(response: OutboundResponse, message: str) -> OutcomeUnknown:
    """Return the error of a response after which the post may be published."""
    return OutcomeUnknown(message, http_status=response.status, raw=_body_text(response))


def invalid_member_error(name: str) -> OutcomeUnknown:
    """Return the error of an answer in which a member of the JSON object is missing or not valid."""
    return OutcomeUnknown(f"The server's answer has no valid {name}.")


@contextmanager
def convert_unknown_outcome(
    consequence: str, *, code: str = "NO_ANSWER", keep_response: bool = False
) -> Iterator[None]:
    """Convert OutcomeUnknown of calls that publish nothing into NotPublished, with their consequence.

    Temporary failures of such calls are marked as not sent. The attempt log shows the response only with
    `keep_response`: it explains why an upload failed, but that of a login may have tokens.
    """
    try:
        yield
    except NotPublished as error:
        # In place, as in `redact_errors`.
        error.not_sent = error.category in TEMPORARY_CATEGORIES
        raise
    except OutcomeUnknown as error:
        status = error.http_status
        answer = f"The server answered {status} without a usable result."
        reason = error.message if status is None else answer
        raise NotPublished(
            ErrorCategory.TRANSIENT,
            code,
            f"{reason} {consequence}",
            http_status=status,
            raw=error.raw if keep_response else None,
            not_sent=True,
        ) from None


@contextmanager
def redact_errors(secrets: Collection[str]) -> Iterator[None]:
    """Replace the secrets in errors that are raised inside the context: a response may repeat them."""
    try:
        yield
    except PlatformCallError as error:
        # In place: a new error would have this one as its context, which logs show.
        for secret in filter(None, secrets):
            error.message = error.message.replace(secret, REDACTED)
            error.raw = error.raw and error.raw.replace(secret, REDACTED)
        raise


def retry_wait(response: OutboundResponse, now: datetime) -> timedelta | None:
    """Return the wait that a response asks for: by Retry-After, or until the reset of a rate limit.

    A reset is a number of seconds, of seconds since 1970 (Bluesky), or a date of ISO 8601 (Mastodon). The
    clocks of the server and of this process may differ, so a date is compared with that of the response.
    """
    date = _first_header(response, ("date",))
    sent_at = (date and parse_http_date(date)) or now
    retry_after = _first_header(response, ("retry-after",))
    if retry_after is not None:
        return parse_retry_after(retry_after, sent_at)
    reset = _first_header(response, _RESET_HEADERS)
    return None if reset is None else _parse_reset(reset, sent_at)


def remaining_calls(response: OutboundResponse, now: datetime) -> RemainingCalls | None:
    """Return the calls that a response says to be left until a reset; None if it does not state both."""
    calls = _first_header(response, _REMAINING_HEADERS)
    resets_in = retry_wait(response, now)
    if calls is None or not _REMAINING.fullmatch(calls) or resets_in is None:
        return None
    return RemainingCalls(int(calls), resets_in)


def _body_text(response: OutboundResponse) -> str:
    return response.body.decode(errors="replace")


def _first_header(response: OutboundResponse, names: Sequence[str]) -> str | None:
    headers = dict(response.headers)
    return next((headers[name] for name in names if name in headers), None)


_MAX_RELATIVE_SECONDS = 10**8
"""Larger numbers of seconds, more than three years, are counted from 1970."""


def _parse_reset(text: str, now: datetime) -> timedelta | None:
    try:
        if not text.isascii() or not text.isdigit():
            return max(datetime.fromisoformat(text) - now, timedelta())
        seconds = int(text)
        if seconds < _MAX_RELATIVE_SECONDS:
            return timedelta(seconds=seconds)
        return max(datetime.fromtimestamp(seconds, now.tzinfo) - now, timedelta())
    # TypeError for a date without an offset, OSError for a year that the platform's C library cannot handle
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _not_sent_error(error: OutboundError) -> NotPublished:
    if error.reason in CONFIGURATION_FAILURES:
        return NotPublished(ErrorCategory.PERMANENT, error.reason.name, error.message)
    return NotPublished(ErrorCategory.TRANSIENT, error.reason.name, error.message, not_sent=True)


def _status_error(response: OutboundResponse, now: datetime) -> PlatformCallError:
    category = _CATEGORY_BY_STATUS.get(response.status)
    if category is None:
        return unknown_outcome(
            response,
            f"The platform answered {response.status}, so the post may be published all the same.",
        )
    return refusal(
        response,
        category,
        f"HTTP_{response.status}",
        f"The platform answered {response.status}: {_MESSAGES[category]}",
        retry_after=retry_wait(response, now),
    )


_MESSAGES = {
    ErrorCategory.AUTH: "it does not accept the credentials. Connect the account again.",
    ErrorCategory.CONTENT_REJECTED: "it does not accept the content. Edit the post.",
    ErrorCategory.PERMANENT: "it refuses the request. Check the account and its server.",
    ErrorCategory.RATE_LIMITED: "it limits the number of requests.",
}
