"""Validation of a post's contents, reference and time zone, at and beyond their limits."""

from typing import Any

import pytest

from app.domain.errors import ContentTooLong, InvalidTimezone
from app.domain.validation.post_contents import check_contents, check_reference, check_timezone
from tests.domain.errors import INT64, NUL, SURROGATE, expect_error, input_error

LONG = 100_000


def check(**fields: object) -> None:
    contents: dict[str, Any] = {"content": "", "media_ids": [], "media": [], "platform_content": {}}
    check_contents(**(contents | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "x"},
        {"content": "\U0001f389" * LONG},  # code points, whatever their length in UTF-8 or UTF-16
        {"media_ids": ["m"]},
        {"media_ids": ["x" * 500] * 100},
        {"media": [{}] * 100},
        {"media": [None]},
        {"platform_content": {"x": {"content": "y" * LONG, "settings": {"n": 2**63 - 1}}}},
        {"platform_content": {str(number): {"content": "Sale"} for number in range(50)}},
        {"content": "Sale", "platform_content": {"x": {"content": None}}},
    ],
)
def test_valid_contents_are_accepted(fields: dict[str, object]) -> None:
    check(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"content": " \n\t"},
        {"platform_content": {"x": {}}},
        {"platform_content": {"x": {"content": " ", "settings": {}}}},
    ],
)
def test_empty_contents_are_rejected(fields: dict[str, object]) -> None:
    assert input_error(check, **fields) == (
        "content",
        "The post is empty: it needs content, media, or content for a platform.",
    )


@pytest.mark.parametrize(
    ("name", "value", "path", "problem"),
    [
        ("content", "a\0b", "content", NUL),
        ("content", "\udfff", "content", SURROGATE),
        (
            "media_ids",
            ["m", "x" * 501],
            "mediaIds[1]",
            "is 501 characters long; at most 500 are allowed.",
        ),
        ("media_ids", ["\0"], "mediaIds[0]", NUL),
        ("media", [{"n": 2**63}], "media[0].n", INT64),
        ("media", [{"n": float("nan")}], "media[0].n", "must be a finite number."),
        ("platform_content", {"x": "Sale"}, "platformContent.x", "must be an object."),
        ("platform_content", {"x": None}, "platformContent.x", "must be an object."),
        (
            "platform_content",
            {"x": {"content": 5}},
            "platformContent.x.content",
            "must be a string.",
        ),
        ("platform_content", {"x": {"a": {"b": "\ud800"}}}, "platformContent.x.a.b", SURROGATE),
    ],
)
def test_error_names_path_of_invalid_content(
    name: str, value: object, path: str, problem: str
) -> None:
    assert input_error(check, **{name: value}) == (path, f"{path} {problem}")


@pytest.mark.parametrize(
    ("name", "value", "argument", "problem"),
    [
        ("media_ids", ["m"] * 101, "mediaIds", "are 101 media; at most 100"),
        ("media", [{}] * 101, "media", "are 101 media; at most 100"),
        (
            "platform_content",
            {str(number): {} for number in range(51)},
            "platformContent",
            "is content for 51 platforms; at most 50",
        ),
    ],
)
def test_too_many_entries_are_rejected(
    name: str, value: object, argument: str, problem: str
) -> None:
    assert input_error(check, **{name: value}) == (argument, f"There {problem} are allowed.")


@pytest.mark.parametrize("platform", ["x" * 501, "\ud800", "", "x\n"])
def test_invalid_platform_name_is_rejected(platform: str) -> None:
    assert input_error(check, platform_content={platform: {}}) == (
        "platformContent",
        "platformContent has a key that is not the name of a platform: printable, 1 to 500"
        " characters.",
    )


@pytest.mark.parametrize(
    ("fields", "argument"),
    [
        ({"content": "x" * (LONG + 1)}, "content"),
        ({"platform_content": {"x": {"content": "x" * (LONG + 1)}}}, "platformContent.x.content"),
    ],
)
def test_too_long_content_has_its_own_code(fields: dict[str, object], argument: str) -> None:
    assert expect_error(ContentTooLong, check, **fields).argument == argument


@pytest.mark.parametrize("reference", [None, "r", "x" * 200, " "])
def test_valid_reference_is_accepted(reference: str | None) -> None:
    check_reference(reference)


@pytest.mark.parametrize("reference", ["", "x" * 201, "\0", "\ud800"])
def test_invalid_reference_is_rejected(reference: str) -> None:
    argument, _ = input_error(check_reference, reference)
    assert argument == "reference"


@pytest.mark.parametrize("timezone", [None, "UTC", "Europe/Berlin", "America/Argentina/Ushuaia"])
def test_iana_timezone_is_accepted(timezone: str | None) -> None:
    check_timezone(timezone)


@pytest.mark.parametrize(
    "timezone",
    [
        *("", "localtime", "Factory", "europe/berlin", "Mars/Olympus", "+02:00", "../etc/passwd"),
        *("\0", "\ud800"),
    ],
)
def test_other_timezone_is_rejected(timezone: str) -> None:
    error = expect_error(InvalidTimezone, check_timezone, timezone)
    assert (error.argument, error.message) == ("timezone", "There is no such time zone.")
