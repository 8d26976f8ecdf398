"""Closed schemas of content: what fits a platform, what does not, and the error that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.domain.accounts import AccountPublisher
from app.domain.posts import Post
from app.domain.validation.object_reader import ObjectReader
from app.platforms.content_schemas import (
    CONTENT_SCHEMAS,
    PUBLISHERS_WITH_SCHEMA,
    ReplyControl,
    Visibility,
    destination_errors,
    post_errors,
    unfamiliar_platforms,
)
from app.platforms.limits import LIMITS_BY_PLATFORM
from tests.domain.destination_states import make_post
from tests.factories import queued
from tests.guides import guide

EXTERNAL, BLUESKY, MASTODON, THREADS, INSTAGRAM, WEBHOOK, SANDBOX = (
    AccountPublisher.EXTERNAL,
    AccountPublisher.BLUESKY,
    AccountPublisher.MASTODON,
    AccountPublisher.THREADS,
    AccountPublisher.INSTAGRAM,
    AccountPublisher.WEBHOOK,
    AccountPublisher.SANDBOX,
)
IMAGE = {"url": "https://example.com/1.png", "alt": "A hat"}
FULL_CONTENT: Mapping[AccountPublisher, Mapping[str, Any]] = {
    BLUESKY: {
        "content": "Own",
        "contentType": "post",
        "settings": {"langs": ["en", "de", "pt-BR"]},
    },
    MASTODON: {
        "content": "Own",
        "contentType": "post",
        "settings": {
            "visibility": "private",
            "spoiler_text": "Food",
            "sensitive": True,
            "language": "de",
        },
    },
    THREADS: {"contentType": "post", "settings": {"reply_control": "mentioned_only"}},
    INSTAGRAM: {"contentType": "feed", "settings": {}},
}
"""Content with everything that the schema of a publisher has."""


def post_on(*accounts: tuple[str, AccountPublisher], **contents: Any) -> Post:
    """A post on accounts, each with its platform and publisher."""
    empty: dict[str, Any] = {"media_ids": [], "media": [], "platform_content": {}}
    post = make_post([queued()] * len(accounts), **(empty | contents))
    destinations = tuple(
        replace(destination, platform=platform, publisher=publisher)
        for destination, (platform, publisher) in zip(post.destinations, accounts, strict=True)
    )
    return replace(post, destinations=destinations)


def errors(
    *accounts: tuple[str, AccountPublisher], known: Sequence[str] = (), **contents: Any
) -> list[tuple[str | None, str]]:
    """Field and message of each error."""
    found = post_errors(post_on(*accounts, **contents), known)
    return [(error.argument, error.message) for _, error in found]


ON_MASTODON = ("mastodon", MASTODON)
ON_BLUESKY = ("bluesky", BLUESKY)
MASTODON_SETTINGS = "visibility, spoiler_text, sensitive, language"
SETTINGS = "platformContent.mastodon.settings"


def test_every_platform_with_limits_has_a_schema() -> None:
    assert CONTENT_SCHEMAS.keys() == LIMITS_BY_PLATFORM.keys()
    assert {BLUESKY, MASTODON, THREADS, INSTAGRAM} == PUBLISHERS_WITH_SCHEMA


@pytest.mark.parametrize("publisher", sorted(PUBLISHERS_WITH_SCHEMA))
def test_everything_in_a_schema_fits(publisher: AccountPublisher) -> None:
    content = {publisher.value: FULL_CONTENT[publisher]}
    post = post_on((publisher.value, publisher), platform_content=content, media=[IMAGE])

    assert post_errors(post, ()) == []
    assert destination_errors(post, publisher.value, publisher, ()) == []
    settings = FULL_CONTENT[publisher]["settings"]
    assert settings.keys() == {each.name for each in CONTENT_SCHEMAS[publisher.value].settings}
    assert CONTENT_SCHEMAS[publisher.value].read_settings(ObjectReader(settings)) == settings


@pytest.mark.parametrize("empty", [{}, {"content": None, "contentType": None, "settings": None}])
def test_missing_and_null_members_fit(empty: Mapping[str, object]) -> None:
    assert errors(ON_MASTODON, platform_content={"mastodon": empty}) == []
    nulls = {"settings": dict.fromkeys(("visibility", "spoiler_text", "sensitive", "language"))}
    assert errors(ON_MASTODON, platform_content={"mastodon": nulls}) == []


def test_all_accepted_values_fit() -> None:
    for visibility in Visibility:
        content = {"settings": {"visibility": visibility.value}}
        assert errors(ON_MASTODON, platform_content={"mastodon": content}) == []
    for reply_control in ReplyControl:
        content = {"settings": {"reply_control": reply_control.value}}
        assert errors(("threads", THREADS), platform_content={"threads": content}) == []


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (
            {"settings": {"visiblity": "private"}},
            f"{SETTINGS}.visiblity",
            f"{SETTINGS}.visiblity is unknown; there is {MASTODON_SETTINGS}; the nearest is visibility.",
        ),
        (
            {"settings": {"poll": {"options": ["a", "b"]}}},
            f"{SETTINGS}.poll",
            f"{SETTINGS}.poll is unknown; there is {MASTODON_SETTINGS}.",
        ),
        (
            {"settings": {"Visibility": "private"}},
            f"{SETTINGS}.Visibility",
            f"{SETTINGS}.Visibility is unknown; there is {MASTODON_SETTINGS}; the nearest is visibility.",
        ),
        (
            {"settings": {"visibility": "privat"}},
            f"{SETTINGS}.visibility",
            f"{SETTINGS}.visibility must be one of public, unlisted, private; the nearest is private.",
        ),
        (
            {"settings": {"visibility": "direct"}},
            f"{SETTINGS}.visibility",
            f"{SETTINGS}.visibility must be one of public, unlisted, private.",
        ),
        (
            {"settings": {"sensitive": "yes"}},
            f"{SETTINGS}.sensitive",
            f"{SETTINGS}.sensitive must be true or false.",
        ),
        (
            {"settings": {"language": "deutsch!"}},
            f"{SETTINGS}.language",
            f"{SETTINGS}.language must be a language tag, such as en or pt-BR.",
        ),
        (
            {"settings": {"language": ""}},
            f"{SETTINGS}.language",
            f"{SETTINGS}.language must be a language tag, such as en or pt-BR.",
        ),
        (
            {"settings": {"language": "x" * 36}},
            f"{SETTINGS}.language",
            f"{SETTINGS}.language is 36 characters long; at most 35 are allowed.",
        ),
        ({"settings": ["private"]}, SETTINGS, f"{SETTINGS} must be an object."),
        (
            {"visibility": "private"},
            "platformContent.mastodon.visibility",
            f"platformContent.mastodon.visibility is a setting: move it to {SETTINGS}.visibility.",
        ),
        (
            {"setings": {"visibility": "private"}},
            "platformContent.mastodon.setings",
            "platformContent.mastodon.setings is unknown; there is content, contentType, settings; the"
            " nearest is settings.",
        ),
        (
            {"contentType": "poll"},
            "platformContent.mastodon.contentType",
            "platformContent.mastodon.contentType must be one of post.",
        ),
        (
            {"contentType": 1},
            "platformContent.mastodon.contentType",
            "platformContent.mastodon.contentType must be a string.",
        ),
        (
            {"settings": {"a" * 41: 1}},
            f"{SETTINGS}.…",
            f"{SETTINGS}.… is unknown; there is {MASTODON_SETTINGS}.",
        ),
    ],
)
def test_content_that_does_not_fit_is_named(
    content: Mapping[str, object], field: str, message: str
) -> None:
    contents = {"mastodon": content}
    post = post_on(ON_MASTODON, platform_content=contents)

    assert errors(ON_MASTODON, platform_content=contents) == [(field, message)]
    assert errors(ON_BLUESKY, platform_content=contents) == [(field, message)]
    (found,) = destination_errors(post, "mastodon", MASTODON, ())
    assert (found.part, found.error.message) == (contents, message)
    assert destination_errors(post, "bluesky", BLUESKY, ()) == []


@pytest.mark.parametrize(
    ("publisher", "settings", "problem"),
    [
        (BLUESKY, {"langs": "en"}, "langs must be a list."),
        (BLUESKY, {"langs": ["en", 1]}, "langs[1] must be a string."),
        *(
            (
                BLUESKY,
                {"langs": ["en", tag]},
                "langs[1] must be a language tag, such as en or pt-BR.",
            )
            for tag in (
                "e",
                "en_US",
                "en-",
                "-en",
                "en US",
                "zh-123456789",
                "é",
            )
        ),
        (BLUESKY, {"langs": [""]}, "langs[0] must be a language tag, such as en or pt-BR."),
        (BLUESKY, {"langs": list("abcd")}, "langs has 4 entries; at most 3 are allowed."),
        (
            BLUESKY,
            {"langs": ["x" * 36]},
            "langs[0] is 36 characters long; at most 35 are allowed.",
        ),
        (
            BLUESKY,
            {"labels": ["nudity"]},
            "labels is unknown; there is langs.",
        ),
        (BLUESKY, {"reply": {}}, "reply is unknown; there is langs."),
        (
            THREADS,
            {"reply_to_id": "1"},
            "reply_to_id is unknown; there is reply_control.",
        ),
        (INSTAGRAM, {"location": "1"}, "location is unknown; there is none."),
    ],
)
def test_what_a_platform_could_do_and_the_worker_cannot_is_refused(
    publisher: AccountPublisher, settings: Mapping[str, object], problem: str
) -> None:
    content = {publisher.value: {"settings": settings}}
    name = problem.partition(" ")[0]
    path = f"platformContent.{publisher.value}.settings"
    assert errors((publisher.value, publisher), platform_content=content) == [
        (f"{path}.{name}", f"{path}.{problem}")
    ]


@pytest.mark.parametrize(
    ("key", "known", "message"),
    [
        ("mastodn", [], "mastodn is not the name of a platform; the nearest is mastodon."),
        ("Mastodon", [], "Mastodon is not the name of a platform; the nearest is mastodon."),
        ("zzzz", [], "zzzz is not the name of a platform."),
        (
            "my-blogs",
            ["my-blog"],
            "my-blogs is not the name of a platform; the nearest is my-blog.",
        ),
        ("my-blog", ["my-blog"], None),
        ("linkedin", [], None),
        ("sandbox", [], None),
    ],
)
def test_unknown_platform_is_refused(key: str, known: list[str], message: str | None) -> None:
    content = {key: {"anything": [1]}}
    expected = [] if message is None else [(f"platformContent.{key}", f"platformContent.{message}")]
    assert errors(ON_MASTODON, known=known, platform_content=content) == expected
    post = post_on(ON_MASTODON, platform_content=content)
    found = destination_errors(post, "mastodon", MASTODON, known)
    assert [error.message for _, error in found] == [text for _, text in expected]


def test_only_unfamiliar_platforms_need_those_of_the_accounts() -> None:
    content: dict[str, Any] = {name: {} for name in ("x", "mastodon", "my-blog", "sandbox", "blog")}
    assert unfamiliar_platforms(post_on(ON_MASTODON, platform_content=content)) == [
        "my-blog",
        "blog",
    ]
    assert unfamiliar_platforms(post_on(("x", EXTERNAL), platform_content=content)) == []
    assert unfamiliar_platforms(post_on(ON_MASTODON)) == []


@pytest.mark.parametrize(
    "accounts",
    [
        [],
        [("mastodon", EXTERNAL)],
        [("mastodon", WEBHOOK), ("sandbox", SANDBOX), ("bluesky", EXTERNAL)],
    ],
)
def test_post_without_a_schema_is_not_checked(accounts: list[tuple[str, AccountPublisher]]) -> None:
    contents: dict[str, Any] = {
        "platform_content": {"mastodn": {}, "mastodon": {"settings": {"poll": 1}}},
        "media": ["m", {"url": "ftp://example.com", "title": "A"}],
    }
    assert errors(*accounts, **contents) == []
    post = post_on(*accounts, **contents)
    for platform, publisher in accounts:
        assert destination_errors(post, platform, publisher, ()) == []


def test_content_for_a_platform_on_which_only_others_publish_is_theirs() -> None:
    content = {"mastodon": {"settings": {"poll": {"options": ["a", "b"]}}}}
    assert errors(ON_BLUESKY, ("mastodon", EXTERNAL), platform_content=content) == []
    both = errors(ON_MASTODON, ("mastodon", EXTERNAL), platform_content=content)
    assert [field for field, _ in both] == [f"{SETTINGS}.poll"]


EXAMPLE = ', as in {"url": "https://…", "alt": "…"}.'


@pytest.mark.parametrize(
    ("item", "field", "problem"),
    [
        ("m1", "", f" must be an object{EXAMPLE}"),
        ({}, ".url", f".url is missing{EXAMPLE}"),
        ({"alt": "A"}, ".url", f".url is missing{EXAMPLE}"),
        ({"url": 1}, ".url", ".url must be a string."),
        (
            IMAGE | {"altText": "A"},
            ".altText",
            ".altText is unknown; there is url, alt; the nearest is alt.",
        ),
        (IMAGE | {"alt": ["A"]}, ".alt", ".alt must be a string."),
        (
            {"url": "ftp://example.com/1.png"},
            ".url",
            ".url must be a URL that starts with https://.",
        ),
        (
            {"url": "https://example.com/a b.png"},
            ".url",
            ".url must not contain spaces, control characters or backslashes.",
        ),
        (
            {"url": "https://me:secret@example.com/1.png"},
            ".url",
            ".url must not contain a user name or password.",
        ),
        (
            {"url": "https://example.com/1.png#top"},
            ".url",
            ".url must not contain a fragment, which begins with #.",
        ),
    ],
)
def test_media_that_do_not_fit_are_named(item: object, field: str, problem: str) -> None:
    path = "media[1]"
    for publisher in sorted(PUBLISHERS_WITH_SCHEMA):
        found = errors((publisher.value, publisher), media=[IMAGE, item, IMAGE])
        assert found == [(f"{path}{field}", f"{path}{problem}")]
    assert len(errors(ON_BLUESKY, ON_MASTODON, media=[IMAGE, item])) == 1
    assert errors(("bluesky", EXTERNAL), media=[IMAGE, item]) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/1.png",
        "https://localhost/1.png",
        "https://10.0.0.1/1.mp4",
        "data:image/svg+xml,<svg/>",
        "DATA:;base64,%",
    ],
)
def test_addresses_and_types_of_media_are_no_matter_of_the_schema(url: str) -> None:
    assert errors(ON_BLUESKY, media=[{"url": url}]) == []


def test_each_part_has_one_error() -> None:
    contents: dict[str, Any] = {
        "platform_content": {
            "mastodn": {},
            "mastodon": {"settings": {"poll": 1, "quote": 2}},
            "threads": {"contentType": "reel"},
        },
        "media": ["m1", IMAGE, {"url": "x", "title": 1}],
    }
    assert [field for field, _ in errors(ON_MASTODON, **contents)] == [
        "platformContent.mastodn",
        f"{SETTINGS}.poll",
        "platformContent.threads.contentType",
        "media[0]",
        "media[2].title",
    ]


def test_tables_of_the_guide_equal_the_schemas() -> None:
    section = guide("platforms").section("Content for a platform")
    settings = [
        [
            f"`{schema.platform}`",
            f"`{setting.name}`",
            setting.description,
            ", ".join(f"`{value}`" for value in setting.values) or "–",
        ]
        for schema in CONTENT_SCHEMAS.values()
        for setting in schema.settings
    ]
    assert section.table_rows("platform") == settings
    content_types = [
        [f"`{schema.platform}`", ", ".join(f"`{name}`" for name in schema.content_types)]
        for schema in CONTENT_SCHEMAS.values()
    ]
    assert section.table_rows("content of") == content_types
    for schema in CONTENT_SCHEMAS.values():
        assert section.table_rows("member of `media`") == [
            [f"`{member.name}`", member.description] for member in schema.media_members
        ]
