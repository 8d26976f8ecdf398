"""What publishers tell of an attempt: every limit of it, what is kept, and what they are told."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.attempts import (
    MAX_MESSAGE_LENGTH,
    MAX_RAW_LENGTH,
    Failure,
    Publication,
    validate_failure,
    validate_publication,
    validate_worker,
)
from app.domain.destinations import ErrorCategory
from app.domain.errors import ErrorCode, InvalidInput
from tests.factories import NOW

C = ErrorCategory
URL = "https://www.instagram.com/p/C1a2b3c4d5e/"


def validation_error(work: Any) -> tuple[str | None, str]:
    with pytest.raises(InvalidInput) as refused:
        work()
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    return refused.value.argument, refused.value.message


def test_all_that_is_told_of_a_failure_is_kept() -> None:
    told = validate_failure(
        C.RATE_LIMITED,
        "Too many posts.",
        {
            "code": "429 Too Many",
            "http_status": 429,
            "retry_after_seconds": 120,
            "raw": '{"access_token": "abc", "id": 17895695668004550}',
        },
    )
    assert told == Failure(
        category=C.RATE_LIMITED,
        code="429 Too Many",
        message="Too many posts.",
        http_status=429,
        retry_after=timedelta(minutes=2),
        raw='{"access_token": "[redacted]", "id": 17895695668004550}',
    )


@pytest.mark.parametrize("category", ErrorCategory)
@pytest.mark.parametrize(
    "told", [{}, dict.fromkeys(("code", "http_status", "retry_after_seconds", "raw"))]
)
def test_without_a_code_the_category_is_it(category: ErrorCategory, told: Any) -> None:
    assert validate_failure(category, "No.", told) == Failure(
        category=category, code=category.name, message="No."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code", "c" * 100),
        ("http_status", 100),
        ("http_status", 599),
        ("retry_after_seconds", 0),
        ("retry_after_seconds", 2_592_000),
    ],
)
def test_every_limit_may_be_reached(name: str, value: object) -> None:
    told: Any = {name: value}
    failure = validate_failure(C.TRANSIENT, "No.", told)
    kept = {
        "code": failure.code,
        "http_status": failure.http_status,
        "retry_after_seconds": failure.retry_after and failure.retry_after.total_seconds(),
    }
    assert (kept[name] or 0) == value


FAILURES = [
    ("", {}, "message", "message must not be empty: it is what people are shown."),
    (" \n", {}, "message", "message must not be empty: it is what people are shown."),
    ("No.", {"code": "c" * 101}, "code", "code is 101 characters long; at most 100 are allowed."),
    ("No.", {"code": ""}, "code", "code must be printable and not empty."),
    ("No.", {"code": "  "}, "code", "code must be printable and not empty."),
    ("No.", {"code": "a\nb"}, "code", "code must be printable and not empty."),
    ("No.", {"code": "\0"}, "code", "code must not contain a NUL character."),
    ("No.", {"code": "\ud800"}, "code", "code must not contain a lone surrogate."),
    ("No.", {"http_status": 99}, "httpStatus", "httpStatus must be from 100 to 599; it is 99."),
    ("No.", {"http_status": 600}, "httpStatus", "httpStatus must be from 100 to 599; it is 600."),
    (
        "No.",
        {"retry_after_seconds": -1},
        "retryAfterSeconds",
        "retryAfterSeconds must be from 0 to 2,592,000; it is -1.",
    ),
    (
        "No.",
        {"retry_after_seconds": 315_360_000},
        "retryAfterSeconds",
        "retryAfterSeconds must be from 0 to 2,592,000; it is 315,360,000.",
    ),
]


@pytest.mark.parametrize(("text", "told", "argument", "message"), FAILURES)
def test_a_failure_that_cannot_be_right_is_refused(
    text: str, told: Any, argument: str, message: str
) -> None:
    assert validation_error(lambda: validate_failure(C.TRANSIENT, text, told)) == (
        argument,
        message,
    )


def test_a_long_failure_is_cut_and_what_no_engine_stores_is_replaced() -> None:
    failure = validate_failure(
        C.TRANSIENT, "no \0 answer " * 100_000, {"raw": "\ud800 answer " * 100_000}
    )
    assert failure.raw is not None
    for text, limit in ((failure.message, MAX_MESSAGE_LENGTH), (failure.raw, MAX_RAW_LENGTH)):
        assert limit - 20 < len(text) <= limit
        assert text.endswith("…")
        assert "\ufffd answer" in text
        assert text.encode()


def test_a_publication_says_where_and_since_when() -> None:
    earlier = NOW - timedelta(minutes=3)
    assert validate_publication("1", URL, earlier, NOW) == Publication(
        platform_post_id="1", platform_post_url=URL, published_at=earlier
    )
    assert validate_publication("p" * 500, None, None, NOW) == Publication(
        platform_post_id="p" * 500, platform_post_url=None, published_at=NOW
    )
    assert validate_publication(None, URL, NOW + timedelta(minutes=5), NOW) == Publication(
        platform_post_id=None, platform_post_url=URL, published_at=NOW + timedelta(minutes=5)
    )


def test_a_url_is_mended_and_loses_its_secrets_rather_than_the_publication() -> None:
    for told, kept in (
        ('https://x.com/"><script>', "https://x.com/%22%3E%3Cscript%3E"),
        (' https://x.com/a b?q={"a":1}|\\^` ', "https://x.com/a%20b?q=%7B%22a%22:1%7D%7C%5C%5E%60"),
        (
            "https://acme:hunter2@x.com/1?access_token=abc&b=1",
            "https://x.com/1?access_token=[redacted]&b=1",
        ),
        ("https://x.com/acme/status/1?s=20", "https://x.com/acme/status/1?s=20"),
    ):
        assert validate_publication(None, told, None, NOW).platform_post_url == kept
        assert validate_publication(None, kept, None, NOW).platform_post_url == kept


def test_the_time_of_a_publication_is_cut_to_milliseconds() -> None:
    finer = NOW + timedelta(microseconds=1999)
    for told in (None, finer):
        found = validate_publication("1", None, told, finer)
        assert found.published_at == NOW + timedelta(milliseconds=1)


NO_URL = "must be a URL that starts with http:// or https://."
PUBLICATIONS: list[tuple[Any, str, str]] = [
    (
        (None, None, None),
        "platformPostUrl",
        "A published post needs platformPostUrl or platformPostId, by which people find it.",
    ),
    (
        (None, "javascript:alert(1)", None),
        "platformPostUrl",
        "platformPostUrl must be a URL that starts with http:// or https://.",
    ),
    (
        ("1", "", None),
        "platformPostUrl",
        "platformPostUrl must be a URL that starts with http:// or https://.",
    ),
    (
        ("1", "https://x.com/" + "a" * 2000, None),
        "platformPostUrl",
        "platformPostUrl is 2014 characters long; at most 2000 are allowed.",
    ),
    *(
        ((text, URL, None), "platformPostId", "platformPostId must be printable and not empty.")
        for text in ("", " ", "a\nb", "a\r", "\x1b[31m1", "1\x7f", "1\u2028", "\u202e1")
    ),
    *(
        (("1", url, None), "platformPostUrl", f"platformPostUrl {NO_URL}")
        for url in ("https://[::1/", "https://x.com:99999/", "https://a b/", "https://x.com/\n")
    ),
    (
        ("p" * 501, None, None),
        "platformPostId",
        "platformPostId is 501 characters long; at most 500 are allowed.",
    ),
    (("\0", None, None), "platformPostId", "platformPostId must not contain a NUL character."),
    (
        ("1", None, NOW + timedelta(minutes=5, milliseconds=1)),
        "publishedAt",
        "publishedAt is in the future.",
    ),
]


@pytest.mark.parametrize(("told", "argument", "message"), PUBLICATIONS)
def test_a_publication_that_cannot_be_right_is_refused(
    told: tuple[Any, Any, Any], argument: str, message: str
) -> None:
    assert validation_error(lambda: validate_publication(*told, NOW)) == (argument, message)


def test_a_worker_may_have_a_name_of_two_hundred_characters() -> None:
    for name in (None, "", "w" * 200, "🤖" * 200, "publisher-7f9c6d5b8d-x2x4q/17"):
        assert validate_worker(name) == name
    for name, message in (
        ("w" * 201, "worker is 201 characters long; at most 200 are allowed."),
        ("\0", "worker must not contain a NUL character."),
    ):
        assert validation_error(lambda name=name: validate_worker(name)) == ("worker", message)


KEY = "pe_live_0f3b5c7d9e1f2a4b6c8d0e2f4a6b8c0d"


def test_a_secret_that_is_told_as_a_name_is_taken_out() -> None:
    assert validate_worker(f"worker {KEY}") == "worker [redacted]"
    assert validate_worker("\x1b[31mred") == "\ufffd[31mred"
    for code, kept in (
        (KEY, "[redacted]"),
        ("access_token=abc", "access_token=[redacted]"),
        ("OAuthException", "OAuthException"),
        ("invalid_token: expired", "invalid_token: expired"),
    ):
        assert validate_failure(C.AUTH, "No.", {"code": code}).code == kept
