"""Tests of the table of errors."""

import orjson
import pytest

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundResponse
from app.platforms.bluesky.errors import read_refusal

AUTH, CONTENT_REJECTED = ErrorCategory.AUTH, ErrorCategory.CONTENT_REJECTED
PERMANENT, TRANSIENT = ErrorCategory.PERMANENT, ErrorCategory.TRANSIENT


def response(status: int, body: bytes) -> OutboundResponse:
    return OutboundResponse(status=status, headers=[], body=body, is_truncated=False)


REFUSALS = [
    (401, "AuthenticationRequired", AUTH, "does not accept the handle or the app password"),
    (400, "InvalidToken", AUTH, "does not accept the session"),
    (401, "AuthMissing", PERMANENT, "received no credentials"),
    (401, "AccountTakedown", AUTH, "has been taken down"),
    (401, "AccountDeactivated", AUTH, "is deactivated"),
    (403, "AccountNotFound", AUTH, "was deleted or moved"),
    (413, "PayloadTooLarge", CONTENT_REJECTED, "larger than the server accepts"),
    (400, "BlobNotFound", TRANSIENT, "uploads it again"),
]
"""Errors of calls that publish or prepare a post."""

OTHER_REFUSALS = [
    (400, "ExpiredToken", AUTH, "session of the account has expired"),
    (400, "HandleNotFound", PERMANENT, "No account has the handle."),
    (400, "InvalidSwap", PERMANENT, "A record has the record key already."),
    (400, "RecordNotFound", PERMANENT, "No record has the record key."),
]
"""Errors that the adapter expects of some calls."""


@pytest.mark.parametrize(
    ("status", "name", "category", "part_of_message"), [*REFUSALS, *OTHER_REFUSALS]
)
def test_error_is_read_by_its_name(
    status: int, name: str, category: ErrorCategory, part_of_message: str
) -> None:
    body = orjson.dumps({"error": name, "message": "…"})

    error = read_refusal(response(status, body))

    assert error is not None
    assert (error.category, error.code, error.http_status) == (category, name, status)
    assert part_of_message in error.message
    assert error.raw == body.decode()


@pytest.mark.parametrize(
    ("message", "category", "text"),
    [
        (
            "Invalid app.bsky.feed.post record: grapheme too big (maximum 300, got 301) at"
            " $.record.text",
            CONTENT_REJECTED,
            "The server does not accept the post: Invalid app.bsky.feed.post record: grapheme too"
            " big (maximum 300, got 301) at $.record.text",
        ),
        (
            "Invalid record key for app.bsky.feed.post: Invalid TID string",
            PERMANENT,
            "The server does not accept the request: Invalid record key for app.bsky.feed.post:"
            " Invalid TID string",
        ),
    ],
)
def test_invalid_request_has_the_message_of_the_server(
    message: str, category: ErrorCategory, text: str
) -> None:
    body = orjson.dumps({"error": "InvalidRequest", "message": message})

    error = read_refusal(response(400, body))

    assert error is not None
    assert (error.category, error.code, error.message) == (category, "InvalidRequest", text)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}'),
        (502, b'{"error":"AuthenticationRequired"}'),
        (500, b'{"error":"InternalServerError"}'),
        (400, b'{"error":["ExpiredToken"]}'),
        (400, b'["ExpiredToken"]'),
        (401, b"<html>"),
    ],
)
def test_other_answers_are_left_to_their_status(status: int, body: bytes) -> None:
    assert read_refusal(response(status, body)) is None
