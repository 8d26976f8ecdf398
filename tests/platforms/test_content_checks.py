"""Errors to expect of posts before they are due, by platform, publisher and content."""

from typing import Any

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.validation.post_contents import MAX_CONTENT_LENGTH
from app.platforms.content_checks import ContentChecks
from tests.domain.destination_states import make_post
from tests.platforms.test_media_downloads import GIF, IMAGE, JPEG, data_url

EXTERNAL, BLUESKY, MASTODON, THREADS, INSTAGRAM, WEBHOOK = (
    AccountPublisher.EXTERNAL,
    AccountPublisher.BLUESKY,
    AccountPublisher.MASTODON,
    AccountPublisher.THREADS,
    AccountPublisher.INSTAGRAM,
    AccountPublisher.WEBHOOK,
)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
"""One grapheme of 25 bytes."""
LINK = "https://example.com/a/path/that/is/longer/than/23/characters"
PICTURE = {"url": "https://example.com/1.png"}
ON_MASTODON = "Mastodon by default allows"


def refusals(
    platform: str, publisher: AccountPublisher = EXTERNAL, **fields: Any
) -> list[tuple[str, str]]:
    contents = {"content": "Sale", "media_ids": [], "media": [], "platform_content": {}}
    post = make_post([], **(contents | fields))
    return [
        (each.code, each.message)
        for each in ContentChecks().expected_refusals(post, platform, publisher)
    ]


@pytest.mark.parametrize(
    ("platform", "text", "message"),
    [
        ("bluesky", "ä" * 300, None),
        (
            "bluesky",
            "ä" * 312,
            "The text has 312 characters; Bluesky allows 300. Shorten the text by 12.",
        ),
        ("bluesky", FAMILY * 120, None),
        (
            "bluesky",
            FAMILY * 120 + "a",
            "The text has 3,001 bytes in UTF-8, 1 more than Bluesky allows: at most 3,000, and 300"
            " characters. Shorten it.",
        ),
        ("mastodon", FAMILY * 477 + LINK, None),
        (
            "mastodon",
            FAMILY * 478 + LINK,
            f"The text has 501 characters; {ON_MASTODON} 500. Each URL counts as 23 characters. Shorten the"
            " text by 1.",
        ),
        ("instagram", "ä" * 2_200, None),
        (
            "instagram",
            "ä" * 2_210,
            "The text has 2,210 characters; Instagram allows 2,200. Shorten the text by 10.",
        ),
        ("threads", "a" * 496 + "\U0001f600", None),
        (
            "threads",
            "a" * 497 + "\U0001f600",
            "The text has 501 characters; Threads allows 500. Shorten the text by 1.",
        ),
        ("sandbox", "a" * 100_000, None),
        ("x", "a" * 100_000, None),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("publisher", [EXTERNAL, WEBHOOK, BLUESKY, MASTODON])
def test_text_over_limit_of_platform_is_refused_for_every_publisher(
    platform: str, text: str, message: str | None, publisher: AccountPublisher
) -> None:
    expected = [] if message is None else [("TEXT_TOO_LONG", message)]
    assert refusals(platform, publisher, content=text) == expected


def test_text_of_the_platform_counts_with_its_spoiler_text() -> None:
    own = {"content": "a" * 490, "settings": {"spoiler_text": "b" * 20}}
    assert refusals("mastodon", platform_content={"mastodon": own}) == [
        (
            "TEXT_TOO_LONG",
            f"The text has 510 characters; {ON_MASTODON} 500. Each URL counts as 23 characters. Shorten the"
            " text by 10.",
        )
    ]
    assert refusals("mastodon", platform_content={"bluesky": own}) == []
    short = {"bluesky": {"content": "a"}, "mastodon": {"settings": {"spoiler_text": 7}}}
    for platform in ("bluesky", "mastodon"):
        assert refusals(platform, content="a" * 301, platform_content=short) == []


@pytest.mark.parametrize(
    ("platform", "fields", "message"),
    [
        ("bluesky", {"media": [PICTURE] * 4, "media_ids": ["m"] * 4}, None),
        (
            "bluesky",
            {"media": [PICTURE] * 6},
            "The post has 6 media; Bluesky allows 4. Remove 2 of them.",
        ),
        (
            "mastodon",
            {"media_ids": ["m"] * 5},
            f"The post has 5 media; {ON_MASTODON} 4. Remove 1 of them.",
        ),
    ],
)
@pytest.mark.parametrize("publisher", [EXTERNAL, WEBHOOK])
def test_number_of_media_is_checked_for_every_publisher(
    platform: str, fields: dict[str, Any], message: str | None, publisher: AccountPublisher
) -> None:
    expected = [] if message is None else [("TOO_MANY_MEDIA", message)]
    assert refusals(platform, publisher, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"media_ids": ["m"]},
            "mediaIds name files of another service, which the worker cannot load. Use media with the url of"
            " each file instead.",
        ),
        (
            {"media": [PICTURE, {"id": "m1"}, 7]},
            'media[1] needs the URL of an image, as in {"url": "https://…", "alt": "…"}.',
        ),
        (
            {"media": [PICTURE, {"url": data_url(b"GIF")}]},
            "media[1] is not a JPEG, PNG, GIF or WebP image. Convert it.",
        ),
        (
            {"media": [{"url": "data:image/svg+xml,<svg/>"}]},
            "media[0] is not a JPEG, PNG, GIF or WebP image. Convert it.",
        ),
        ({"media": [{"url": "data:;base64,%"}]}, "media[0] is not valid base64."),
        ({"media": [PICTURE, {"url": data_url(IMAGE)}]}, None),
        (
            {"media": [{"url": data_url(JPEG, "image/jpg")}, {"url": data_url(GIF, "image/png")}]},
            None,
        ),
    ],
)
def test_media_that_the_worker_cannot_load_are_refused_for_its_adapters(
    fields: dict[str, Any], message: str | None
) -> None:
    expected = [] if message is None else [("MEDIA_REJECTED", message)]
    assert refusals("bluesky", BLUESKY, **fields) == expected
    assert refusals("mastodon", MASTODON, **fields) == expected
    for publisher in (EXTERNAL, WEBHOOK):
        assert refusals("bluesky", publisher, **fields) == []


def test_each_reason_is_returned() -> None:
    found = refusals("bluesky", BLUESKY, content="a" * 301, media=["m"] * 5, media_ids=["m"])
    assert [code for code, _ in found] == [
        "TEXT_TOO_LONG",
        "TOO_MANY_MEDIA",
        "MEDIA_REJECTED",
        "MEDIA_REJECTED",
    ]


@pytest.mark.parametrize(
    ("unit", "is_short"),
    [
        ("\U0001f1e9\U0001f1ea", False),
        (FAMILY, False),
        ("\u0301", True),
        ("\u0915\u094d", True),
        ("\r\n", True),
        ("http://a ", False),
        ("http://a/(", False),
        ("http://a?!", True),
        ("@a.", False),
        ("@a@b ", False),
    ],
    ids=repr,
)
def test_longest_texts_are_counted_up_to_ten_times_the_limit(unit: str, is_short: bool) -> None:
    text = (unit * MAX_CONTENT_LENGTH)[:MAX_CONTENT_LENGTH]
    refusal = (
        "TEXT_TOO_LONG",
        f"The text has more than 5,000 characters; {ON_MASTODON} 500. Each URL counts as 23 characters."
        " Shorten the text by more than 4,500.",
    )
    assert refusals("mastodon", content=text) == ([] if is_short else [refusal])


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        (
            "bluesky",
            "The text has 100,000 bytes in UTF-8, 97,000 more than Bluesky allows: at most 3,000, and 300"
            " characters. Shorten it.",
        ),
        (
            "threads",
            "The text has more than 5,000 characters; Threads allows 500. Shorten the text by more than"
            " 4,500.",
        ),
        (
            "instagram",
            "The text has more than 22,000 characters; Instagram allows 2,200. Shorten the text by more than"
            " 19,800.",
        ),
    ],
)
def test_longest_text_is_refused_without_its_exact_count(platform: str, message: str) -> None:
    assert refusals(platform, content="a" * MAX_CONTENT_LENGTH) == [("TEXT_TOO_LONG", message)]


def test_text_is_checked_once_per_platform_for_posts_of_a_request() -> None:
    checks = ContentChecks()
    text = "a" * 3_000

    def refusal(platform: str, publisher: AccountPublisher, **settings: str) -> object:
        own = {platform: {"settings": settings}}
        post = make_post([], content=text, media=[], media_ids=[], platform_content=own)
        return checks.expected_refusals(post, platform, publisher)[0]

    for platform, adapter in (("bluesky", BLUESKY), ("mastodon", MASTODON), ("threads", THREADS)):
        first = refusal(platform, EXTERNAL)
        assert refusal(platform, WEBHOOK) is first
        assert refusal(platform, adapter) is first
    assert refusal("mastodon", EXTERNAL, spoiler_text="b") is not refusal("mastodon", EXTERNAL)
    assert refusal("bluesky", EXTERNAL, spoiler_text="b") is refusal("bluesky", EXTERNAL)


def test_image_that_instagram_needs_is_missed_where_the_adapter_publishes() -> None:
    needed = [("IMAGE_MISSING", "A post on Instagram needs an image. Add one to media.")]
    assert refusals("instagram", INSTAGRAM) == needed
    assert refusals("instagram", INSTAGRAM, media=[{"url": "https://example.com/1.jpg"}]) == []
    assert refusals("instagram", EXTERNAL) == []


def test_image_that_only_others_can_load_is_refused_where_the_adapter_publishes() -> None:
    (refused,) = refusals("threads", THREADS, media=[{"url": data_url(IMAGE)}])
    assert refused[0] == "MEDIA_REJECTED"
    assert refused[1].startswith("media[0] is a data: URL, but Threads loads images from public")
    assert refusals("threads", EXTERNAL, media=[{"url": data_url(IMAGE)}]) == []
