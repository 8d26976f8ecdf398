"""Converts GraphQL errors back to domain errors, and formats them for the REST API."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import PostResultsError, concrete_errors

_ERROR_CLASS_BY_CODE = {error.code.name: error for error in concrete_errors()}

_INPUT_PREFIX = re.compile(r"input\.(?:filter\.)?")
_REST_NAMES = {
    "accountIds": "account_ids",
    "deliveryId": "delivery_id",
    "expectedVersion": "expected_version",
    "failedSince": "failed_since",
    "idempotencyKey": "Idempotency-Key",
    "isActive": "is_active",
    "mediaIds": "media_ids",
    "platformContent": "platform_content",
    "publishNow": "publish_now",
    "resumeAfter": "resume_after",
    "scheduledFor": "scheduled_for",
}
"""Names in a REST request by their GraphQL names in errors."""

_GRAPHQL_NAME = re.compile(rf"(?<![\w.])(?:{'|'.join(_REST_NAMES)})(?!\w)")
"""Pattern of a replaced name: the first segment of a path, since all others are the client's own."""


def first_error(entries: Sequence[Mapping[str, Any]]) -> PostResultsError:
    """Build the error of the first entry of `errors`, with names replaced by those of REST."""
    entry = entries[0]
    extensions = entry["extensions"]
    return _build_error(
        extensions["code"],
        entry["message"],
        extensions.get("field"),
        retry_after=extensions.get("retryAfter"),
    )


def error_object(error: PostResultsError) -> dict[str, object]:
    """Format the `error` of an envelope; the documented object has no `status`."""
    return {
        "message": _message(error),
        "code": error.code,
        "retryable": error.retryable(),
        "details": _details(error),
    }


def bulk_error_object(*, code: str, message: str, field: str | None) -> dict[str, object]:
    """Format the `error` of one post of a bulk request."""
    error = _build_error(code, message, field)
    return {"code": error.code, "message": _message(error), "details": _details(error)}


def _build_error(
    code: str, message: str, field: str | None, *, retry_after: int | None = None
) -> PostResultsError:
    return _ERROR_CLASS_BY_CODE[code](
        _to_rest_names(message),
        argument=None if field is None else _to_rest_names(_INPUT_PREFIX.sub("", field, count=1)),
        retry_after=retry_after,
    )


def _to_rest_names(text: str) -> str:
    return _GRAPHQL_NAME.sub(lambda match: _REST_NAMES[match[0]], text)


def _message(error: PostResultsError) -> str:
    """Return the message, prefixed by the parameter's name unless it mentions the name already."""
    if error.argument is None or _mentions(error.message, error.argument):
        return error.message
    return f"{error.argument}: {error.message}"


def _mentions(message: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message) is not None


def _details(error: PostResultsError) -> dict[str, object] | None:
    if error.argument is None:
        return None
    return {"validation_errors": [{"field": error.argument, "message": error.message}]}
