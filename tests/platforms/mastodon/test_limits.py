"""Tests of the length of a status, and of the limits of an instance."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.destinations import ErrorCategory
from app.platforms.mastodon.limits import (
    InstanceLimits,
    check_images,
    check_limits,
    count_characters,
    parse_limits,
)
from app.platforms.media import Media
from app.platforms.protocol import NotPublished

LIMITS = InstanceLimits(max_characters=30, max_media=4, characters_per_url=23)
LONG_URL = "https://example.com/a/path/that/is/longer/than/23/characters"


@pytest.mark.parametrize(
    ("text", "spoiler_text", "characters"),
    [
        ("Hello", "", 5),
        ("Hello", "Food", 9),
        (" \n ", "Food", 4),
        ("Grüße 👩‍👩‍👧‍👦🇩🇪", "", 8),
        ("e\u0301", "", 1),
        (LONG_URL, "", 23),
        ("http://a.de", "", 23),
        ("HTTPS://EXAMPLE.COM/A", "", 23),
        ("gemini://example.com/", "", 23),
        (f"see {LONG_URL}.", "", 28),
        (f"({LONG_URL})!", "", 26),
        ("https://en.wikipedia.org/wiki/Mastodon_(software)", "", 23),
        ("(https://en.wikipedia.org/wiki/Mastodon_(software))", "", 25),
        ("https://example.com:8080/?a=(b)&c=", "", 23),
        ("https://example.com?a=b, c", "", 26),
        ("https://example.com/日本語", "", 23),
        (f"{LONG_URL} {LONG_URL}", "", 47),
        (f"x{LONG_URL}", "", 1 + len(LONG_URL)),
        ("https://", "", 8),
        ("@alice@example.social", "", 6),
        ("Hi @alice@example.social, hi @bob", "", 18),
        ("alice@example.social", "", 20),
        ("@alice.b@example.social.", "", 9),
        ("https://example.social/@alice@example.com", "", 23),
        pytest.param("@" + "a" * 99_999, "", 100_000, id="long mention without domain"),
    ],
)
def test_length_is_counted_as_by_mastodon(text: str, spoiler_text: str, characters: int) -> None:
    assert count_characters(text, spoiler_text, 23, 200_000) == characters
    for at_most in (1, 5, 24, 47):
        assert count_characters(text, spoiler_text, 23, at_most) == min(characters, at_most)


@pytest.mark.parametrize("unit", ["@a@b.c ", "http://a ", "\u0600@a@b"])
def test_count_of_many_entities_stops_at_a_number(unit: str) -> None:
    assert count_characters(unit * 99, "", 1, 100) == min(
        count_characters(unit * 99, "", 1, 999), 100
    )


def test_url_counts_as_number_of_instance() -> None:
    assert count_characters(f"see {LONG_URL}", "", 32, 99) == 36


@pytest.mark.parametrize(
    ("statuses", "limits"),
    [
        (
            {
                "max_characters": 5000,
                "max_media_attachments": 16,
                "characters_reserved_per_url": 32,
            },
            InstanceLimits(max_characters=5000, max_media=16, characters_per_url=32),
        ),
        ({}, InstanceLimits(max_characters=None, max_media=None, characters_per_url=23)),
        (
            {
                "max_characters": "500",
                "max_media_attachments": 0,
                "characters_reserved_per_url": True,
            },
            InstanceLimits(max_characters=None, max_media=None, characters_per_url=23),
        ),
    ],
)
def test_limits_are_parsed(statuses: dict[str, Any], limits: InstanceLimits) -> None:
    assert parse_limits({"configuration": {"statuses": statuses}}) == limits


IMAGE = Media(content=bytes(1_000), content_type="image/png", alt="", width=40, height=30)
STATED = {
    "image_size_limit": 1_000,
    "image_matrix_limit": 1_200,
    "supported_mime_types": ["image/png"],
}


def media_limits(**stated: object) -> InstanceLimits:
    return parse_limits({"configuration": {"media_attachments": STATED | stated}})


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            {"image_size_limit": 999},
            "media[1] has 1,000 bytes; the server allows 999. Make the image smaller.",
        ),
        (
            {"image_matrix_limit": 1_199},
            "media[1] has 40 × 30 pixels; the server allows 1,199 in total. Make the image smaller.",
        ),
        (
            {"supported_mime_types": ["image/jpeg"]},
            "media[1] is image/png, which the server does not accept. Convert it.",
        ),
    ],
)
def test_image_beyond_the_limits_of_the_instance_is_refused(
    stated: dict[str, object], message: str
) -> None:
    small = replace(IMAGE, content=b"", content_type="image/jpeg", width=None, height=None)
    limits = media_limits(**{"supported_mime_types": ["image/jpeg", "image/png"], **stated})
    with pytest.raises(NotPublished) as caught:
        check_images([small, IMAGE], limits)
    assert (caught.value.category, caught.value.code, caught.value.message) == (
        ErrorCategory.CONTENT_REJECTED,
        "MEDIA_REJECTED",
        message,
    )


@pytest.mark.parametrize(
    "stated",
    [
        {},
        dict.fromkeys(STATED),
        {"image_size_limit": "1", "image_matrix_limit": 0, "supported_mime_types": []},
    ],
)
def test_image_within_the_stated_limits_is_accepted(stated: dict[str, object]) -> None:
    check_images([IMAGE], media_limits(**stated))


@pytest.mark.parametrize(
    "instance", [{}, {"configuration": None}, {"configuration": {"statuses": []}}]
)
def test_instance_without_limits_allows_any_length(instance: dict[str, Any]) -> None:
    check_limits({"status": "x" * 100_000}, 99, parse_limits(instance))


@pytest.mark.parametrize(
    ("parameters", "media", "code", "message"),
    [
        (
            {"status": "x" * 27, "spoiler_text": "Food"},
            0,
            "TEXT_TOO_LONG",
            "The text has 31 characters; the server allows 30. Each URL counts as 23 characters. Shorten"
            " the text by 1.",
        ),
        (
            {"status": "x"},
            5,
            "TOO_MANY_MEDIA",
            "The post has 5 media; the server allows 4. Remove 1 of them.",
        ),
    ],
)
def test_status_over_limit_is_rejected(
    parameters: dict[str, str], media: int, code: str, message: str
) -> None:
    with pytest.raises(NotPublished) as caught:
        check_limits(parameters, media, LIMITS)

    error = caught.value
    assert (error.category, error.code) == (ErrorCategory.CONTENT_REJECTED, code)
    assert error.message == message


def test_status_at_limit_is_accepted() -> None:
    check_limits({"status": "x" * 26, "spoiler_text": "Food"}, 4, LIMITS)
