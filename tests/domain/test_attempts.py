"""Validation of reported failures and publications: limits, redaction and rejected values."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.attempts import (
    MAX_MESSAGE_LENGTH,
    MAX_RAW_LENGTH,
    Failure,
    Publication,
    check_attempt_key,
    validate_failure,
    validate_publication,
    validate_started_at,
    validate_worker,
)
from app.domain.destinations import ErrorCategory
from tests.domain.errors import NOT_A_URL, NOT_PRINTABLE, NUL, SURROGATE, input_error
from tests.factories import NOW

C = ErrorCategory
URL = "https://www.instagram.com/p/C1a2b3c4d5e/"
API_KEY = "pe_live_0f3b5c7d9e1f2a4b6c8d0e2f4a6b8c0d"
MAX_SKEW = timedelta(minutes=15)
MS = timedelta(milliseconds=1)


def test_failure_has_all_reported_details() -> None:
    assert validate_failure(
        C.RATE_LIMITED,
        "Too many posts.",
        {
            "code": "429 Too Many",
            "http_status": 429,
            "retry_after_seconds": 120,
            "raw": '{"access_token": "abc", "id": 17895695668004550}',
        },
    ) == Failure(
        category=C.RATE_LIMITED,
        code="429 Too Many",
        message="Too many posts.",
        http_status=429,
        retry_after=timedelta(minutes=2),
        raw='{"access_token": "[redacted]", "id": 17895695668004550}',
    )


@pytest.mark.parametrize("category", ErrorCategory)
def test_default_code_is_the_category(category: ErrorCategory) -> None:
    nulls: Any = dict.fromkeys(("code", "http_status", "retry_after_seconds", "raw"))
    expected = Failure(category=category, code=category.name, message="No.")
    assert validate_failure(category, "No.", {}) == expected
    assert validate_failure(category, "No.", nulls) == expected


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("code", "c" * 100, "c" * 100),
        ("http_status", 100, 100),
        ("http_status", 599, 599),
        ("retry_after_seconds", 0, timedelta(0)),
        ("retry_after_seconds", 2_592_000, timedelta(days=30)),
    ],
)
def test_failure_details_may_reach_their_limits(name: str, value: object, stored: object) -> None:
    details: Any = {name: value}
    failure = validate_failure(C.TRANSIENT, "No.", details)
    assert getattr(failure, name.removesuffix("_seconds")) == stored


@pytest.mark.parametrize(
    ("details", "argument", "problem"),
    [
        ({"code": "c" * 101}, "code", "is 101 characters long; at most 100 are allowed."),
        ({"code": ""}, "code", NOT_PRINTABLE),
        ({"code": "  "}, "code", NOT_PRINTABLE),
        ({"code": "a\nb"}, "code", NOT_PRINTABLE),
        ({"code": "\0"}, "code", NUL),
        ({"code": "\ud800"}, "code", SURROGATE),
        ({"http_status": 99}, "httpStatus", "must be from 100 to 599; it is 99."),
        ({"http_status": 600}, "httpStatus", "must be from 100 to 599; it is 600."),
        *(
            (
                {"retry_after_seconds": seconds},
                "retryAfterSeconds",
                f"must be from 0 to 2,592,000; it is {seconds:,}.",
            )
            for seconds in (-1, 315_360_000)
        ),
    ],
)
def test_invalid_failure_details_are_rejected(details: Any, argument: str, problem: str) -> None:
    error = input_error(validate_failure, C.TRANSIENT, "No.", details)
    assert error == (argument, f"{argument} {problem}")


@pytest.mark.parametrize("message", ["", " \n"])
def test_empty_failure_message_is_rejected(message: str) -> None:
    assert input_error(validate_failure, C.TRANSIENT, message, {}) == (
        "message",
        "message must not be empty: it is what people are shown.",
    )


def test_long_failure_is_truncated_and_made_storable() -> None:
    failure = validate_failure(
        C.TRANSIENT, "no \0 answer " * 100_000, {"raw": "\ud800 answer " * 100_000}
    )
    assert failure.raw is not None
    for text, limit in ((failure.message, MAX_MESSAGE_LENGTH), (failure.raw, MAX_RAW_LENGTH)):
        assert limit - 20 < len(text) <= limit
        assert text.endswith("…")
        assert "\ufffd answer" in text
        assert text.encode()


@pytest.mark.parametrize(
    ("post_id", "url", "published_at", "expected"),
    [
        ("1", URL, NOW - timedelta(minutes=3), NOW - timedelta(minutes=3)),
        ("p" * 500, None, None, NOW + MS),
        (None, URL, NOW + MAX_SKEW, NOW + MS),
        ("1", None, NOW + timedelta(microseconds=999), NOW),
    ],
)
def test_publication_has_location_and_time_in_milliseconds(
    post_id: Any, url: Any, published_at: Any, expected: Any
) -> None:
    now = NOW + timedelta(microseconds=1999)
    assert validate_publication(post_id, url, published_at, now) == Publication(
        platform_post_id=post_id, platform_post_url=url, published_at=expected
    )


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ('https://x.com/"><script>', "https://x.com/%22%3E%3Cscript%3E"),
        (' https://x.com/a b?q={"a":1}|\\^` ', "https://x.com/a%20b?q=%7B%22a%22:1%7D%7C%5C%5E%60"),
        (
            "https://acme:hunter2@x.com/1?access_token=abc&b=1",
            "https://x.com/1?access_token=[redacted]&b=1",
        ),
        ("https://x.com/acme/status/1?s=20", "https://x.com/acme/status/1?s=20"),
    ],
)
def test_publication_url_is_encoded_and_redacted(url: str, stored: str) -> None:
    assert validate_publication(None, url, None, NOW).platform_post_url == stored
    assert validate_publication(None, stored, None, NOW).platform_post_url == stored


@pytest.mark.parametrize(
    ("post_id", "url", "argument", "problem"),
    [
        *(
            ("1", url, "platformPostUrl", NOT_A_URL)
            for url in ("javascript:alert(1)", "", "https://a b/", "https://x.com/\n")
        ),
        (
            "1",
            "https://x.com/" + "a" * 2000,
            "platformPostUrl",
            "is 2014 characters long; at most 2000 are allowed.",
        ),
        *(
            (post_id, URL, "platformPostId", NOT_PRINTABLE)
            for post_id in ("", " ", "a\nb", "a\r", "\x1b[31m1", "1\x7f", "1\u2028", "\u202e1")
        ),
        ("p" * 501, None, "platformPostId", "is 501 characters long; at most 500 are allowed."),
        ("\0", None, "platformPostId", NUL),
    ],
)
def test_invalid_publication_is_rejected(
    post_id: str, url: str | None, argument: str, problem: str
) -> None:
    error = input_error(validate_publication, post_id, url, None, NOW)
    assert error == (argument, f"{argument} {problem}")


def test_publication_without_id_and_url_is_rejected() -> None:
    assert input_error(validate_publication, None, None, None, NOW) == (
        "platformPostUrl",
        "A published post needs platformPostUrl or platformPostId, by which people find it.",
    )


def test_times_may_be_ahead_by_the_clock_skew() -> None:
    future = NOW + MAX_SKEW + MS
    problem = "is more than 15 minutes in the future. Check the publisher's clock."
    assert validate_started_at(None, NOW) == NOW
    assert validate_started_at(NOW + MAX_SKEW, NOW) == NOW
    error = input_error(validate_started_at, future, NOW)
    assert error == ("startedAt", f"startedAt {problem}")
    error = input_error(validate_publication, "1", None, future, NOW)
    assert error == ("publishedAt", f"publishedAt {problem}")


@pytest.mark.parametrize("name", [None, "", "w" * 200, "🤖" * 200, "publisher-7f9c6d5b8d-x2x4q/17"])
def test_worker_has_up_to_200_characters(name: str | None) -> None:
    assert validate_worker(name) == name


def test_invalid_worker_and_attempt_key_are_rejected() -> None:
    too_long = "worker is 201 characters long; at most 200 are allowed."
    assert input_error(validate_worker, "w" * 201) == ("worker", too_long)
    assert input_error(validate_worker, "\0") == ("worker", f"worker {NUL}")
    check_attempt_key("k" * 255)
    too_long = "attemptKey is 256 characters long; at most 255 are allowed."
    assert input_error(check_attempt_key, "k" * 256) == ("attemptKey", too_long)
    assert input_error(check_attempt_key, " ") == ("attemptKey", f"attemptKey {NOT_PRINTABLE}")


@pytest.mark.parametrize(
    ("code", "stored"),
    [
        (API_KEY, "[redacted]"),
        ("access_token=abc", "access_token=[redacted]"),
        ("OAuthException", "OAuthException"),
        ("invalid_token: expired", "invalid_token: expired"),
    ],
)
def test_code_is_redacted(code: str, stored: str) -> None:
    assert validate_failure(C.AUTH, "No.", {"code": code}).code == stored


def test_worker_is_redacted() -> None:
    assert validate_worker(f"worker {API_KEY}") == "worker [redacted]"
    assert validate_worker("\x1b[31mred") == "\ufffd[31mred"
