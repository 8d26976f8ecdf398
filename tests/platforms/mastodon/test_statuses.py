"""Tests of the parameters of a status, and of the comparison of statuses with a post."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.platforms.mastodon.statuses import (
    has_media,
    is_candidate,
    source_matches,
    status_parameters,
    to_publication,
)
from app.platforms.protocol import NotPublished
from tests.factories import NOW
from tests.platforms.publish_requests import publish_request

STATUS = {"id": "109", "created_at": "2026-04-15T15:00:00.000Z"}


def test_settings_become_parameters() -> None:
    settings = {
        "spoiler_text": "Food",
        "visibility": "unlisted",
        "language": "de",
        "sensitive": False,
    }

    assert status_parameters(publish_request(content="Hello", settings=settings)) == {
        "status": "Hello",
        "spoiler_text": "Food",
        "visibility": "unlisted",
        "language": "de",
        "sensitive": False,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"visibility": "direct"},
            "platformContent.sandbox.settings.visibility must be one of public, unlisted, private.",
        ),
        (
            {"visiblity": "private"},
            "platformContent.sandbox.settings.visiblity is unknown; there is visibility, spoiler_text,"
            " sensitive, language; the nearest is visibility.",
        ),
        ({"visibility": 1}, "platformContent.sandbox.settings.visibility must be a string."),
        ({"sensitive": "yes"}, "platformContent.sandbox.settings.sensitive must be true or false."),
        ({"spoiler_text": []}, "platformContent.sandbox.settings.spoiler_text must be a string."),
        (
            {"language": "x" * 36},
            "platformContent.sandbox.settings.language is 36 characters long; at most 35 are allowed.",
        ),
    ],
)
def test_invalid_setting_is_rejected(settings: dict[str, object], message: str) -> None:
    with pytest.raises(NotPublished) as caught:
        status_parameters(publish_request(settings=settings))

    error = caught.value
    assert (error.category, error.code) == (ErrorCategory.CONTENT_REJECTED, "INVALID_SETTING")
    assert error.message == message


@pytest.mark.parametrize(
    ("fields", "is_possible"),
    [
        ({}, True),
        ({"created_at": "2026-04-15T14:59:59.999Z"}, False),
        ({"created_at": "yesterday"}, True),
        ({"reblog": {"id": "3"}}, False),
        ({"in_reply_to_id": "3"}, False),
    ],
)
def test_recent_status_may_be_post(fields: dict[str, Any], is_possible: bool) -> None:
    assert is_candidate(STATUS | fields, NOW) is is_possible


@pytest.mark.parametrize(
    ("attachments", "number"), [([{"id": "1"}, {"id": "2"}], 2), ([], 0), (None, 0)]
)
def test_media_of_status_are_counted(attachments: object, number: int) -> None:
    status = STATUS | {"media_attachments": attachments}
    assert [n for n in range(4) if has_media(status, n)] == [number]


@pytest.mark.parametrize(
    ("source", "content", "is_equal"),
    [
        ("One\n\ntwo", "One\n\ntwo ", True),
        ("  One\r\n\r\ntwo\n", "One\n\ntwo ", True),
        ("One two", "One\n\ntwo ", False),
        ("one\n\ntwo", "One\n\ntwo ", False),
        ("Food", "One\n\ntwo ", False),
        ("", " ", True),
        (".", " ", True),
        ("Food", " ", True),
        ("One", " ", False),
    ],
)
def test_source_of_status_is_compared_with_text(source: str, content: str, is_equal: bool) -> None:
    request = publish_request(content=content, settings={"spoiler_text": "Food"})
    assert source_matches(source, request) is is_equal


@pytest.mark.parametrize(
    ("fields", "url", "time"),
    [
        (
            {
                "url": "https://example.social/@alice/109",
                "created_at": "2026-04-15T14:00:00+00:00",
            },
            "https://example.social/@alice/109",
            NOW - timedelta(hours=1),
        ),
        ({"url": None, "created_at": None}, None, NOW),
    ],
)
def test_status_becomes_publication(fields: dict[str, Any], url: str | None, time: Any) -> None:
    assert to_publication(STATUS | fields, NOW) == Publication(
        platform_post_id="109", platform_post_url=url, published_at=time
    )
