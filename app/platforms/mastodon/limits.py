"""What an instance states about itself, such as its limits, and the length of a status by Mastodon."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import regex

from app.platforms.graphemes import check_character_count, count_graphemes
from app.platforms.limits import MASTODON_LIMITS, MASTODON_URL_LENGTH
from app.platforms.media import Media
from app.platforms.media_checks import check_media_count, media_error

MAX_MEDIA = 16
"""Media that are loaded for a status at most, even if the instance states a higher limit or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLimits:
    """Limits that an instance states.

    A limit that is not stated, or could not be read, is None and is not checked. Mastodon's defaults (500
    characters, 4 media) would refuse posts that an instance with higher limits publishes. Every instance
    checks its own limits, and answers 422 before it stores a status.
    """

    max_characters: int | None
    max_media: int | None
    characters_per_url: int
    """Characters that a URL of any length counts as."""
    max_image_bytes: int | None = None
    max_image_pixels: int | None = None
    """Product of width and height."""
    media_types: Collection[str] | None = None


DEFAULT_LIMITS = InstanceLimits(
    max_characters=MASTODON_LIMITS.max_length,
    max_media=MASTODON_LIMITS.max_media,
    characters_per_url=MASTODON_URL_LENGTH,
)
"""Limits of an instance that is not configured otherwise; only for warnings before a post is due."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance states about itself."""

    limits: InstanceLimits
    has_idempotency_keys: bool
    """True for Mastodon, which publishes one status for all requests of one hour with the same key."""


_MASTODON_VERSION = re.compile(r"[2-9]\.[0-9]+\.[0-9]+[^\s()]*", re.ASCII)
"""Version of Mastodon or a fork.

Other servers add their name, as in `4.0.0 (not true; really snac/2.75)`, or have a version below 2.
"""


def parse_instance(instance: Mapping[str, Any]) -> Instance:
    """Return what an instance states in its description, of version 1 or 2 of the API."""
    is_mastodon = _MASTODON_VERSION.fullmatch(str(instance.get("version"))) is not None
    return Instance(parse_limits(instance), is_mastodon)


def parse_limits(instance: Mapping[str, Any]) -> InstanceLimits:
    """Return the limits of an instance from its description, of version 1 or 2 of the API."""
    configuration = _object(instance.get("configuration"))
    statuses, media = (
        _object(configuration.get(name)) for name in ("statuses", "media_attachments")
    )
    types = media.get("supported_mime_types")
    return InstanceLimits(
        max_characters=_positive_number(statuses.get("max_characters")),
        max_media=_positive_number(statuses.get("max_media_attachments")),
        characters_per_url=_positive_number(statuses.get("characters_reserved_per_url"))
        or MASTODON_URL_LENGTH,
        max_image_bytes=_positive_number(media.get("image_size_limit")),
        max_image_pixels=_positive_number(media.get("image_matrix_limit")),
        media_types=types if isinstance(types, list) and types else None,
    )


def check_limits(parameters: Mapping[str, Any], media_count: int, limits: InstanceLimits) -> None:
    """Raise NotPublished if a status is longer or has more media than the instance allows."""
    check_length(parameters["status"], parameters.get("spoiler_text", ""), limits, "the server")
    if limits.max_media is not None:
        check_media_count(media_count, limits.max_media, "the server")


def check_images(images: Sequence[Media], limits: InstanceLimits) -> None:
    """Raise NotPublished for an image that the instance does not accept."""
    for index, image in enumerate(images):
        name = f"media[{index}]"
        if limits.media_types is not None and image.content_type not in limits.media_types:
            raise media_error(
                f"{name} is {image.content_type}, which the server does not accept. Convert it."
            )
        size = len(image.content)
        if limits.max_image_bytes is not None and size > limits.max_image_bytes:
            raise media_error(
                f"{name} has {size:,} bytes; the server allows {limits.max_image_bytes:,}. Make the image"
                " smaller."
            )
        pixels = (image.width or 0) * (image.height or 0)
        if limits.max_image_pixels is not None and pixels > limits.max_image_pixels:
            raise media_error(
                f"{name} has {image.width:,} × {image.height:,} pixels; the server allows"
                f" {limits.max_image_pixels:,} in total. Make the image smaller."
            )


def check_length(text: str, spoiler_text: str, limits: InstanceLimits, subject: str) -> None:
    """Raise NotPublished if a status is longer than the limits allow; `subject` names who sets them."""
    if limits.max_characters is None:
        return
    check_character_count(
        partial(count_characters, text, spoiler_text, limits.characters_per_url),
        limits.max_characters,
        subject,
        note=f" Each URL counts as {limits.characters_per_url} characters.",
    )


def count_characters(text: str, spoiler_text: str, characters_per_url: int, at_most: int) -> int:
    """Return the length of a status with its content warning, or `at_most` if it is longer.

    The length is in user-perceived characters.

    A URL counts as a fixed number, and a mention without its domain, as in Mastodon's
    StatusLengthValidator. Mastodon also checks the top-level domain of a URL. A URL with an unknown one
    counts as less here, so that no status is refused that Mastodon accepts.
    """
    if not text.strip():
        text = ""

    def countable(entity: regex.Match[str]) -> str:
        return entity["user"] or "x" * characters_per_url

    # Each replacement has a character at least, so none after the first `at_most` would count.
    countable_text = _URL_OR_MENTION.sub(countable, text, count=at_most)
    return count_graphemes(spoiler_text + countable_text, at_most)


_URL_OR_MENTION = regex.compile(
    r"""
    (?<![a-z0-9@＠$#＃]) (?:https?|dat|dweb|ipfs|ipns|ssb|gopher|gemini)://
    \w(?:[\w.-]*\w)? (?::\d+)?
    (?:/ (?:[^\s()<>?]*\([^\s()<>?]+\))* (?:[^\s()<>?]*[^\s()<>?!*"'「」;:=,.$%\[\]~&|@])?)?
    (?:\?[^\s<>"]*[^\s<>"?!*'();:+$%\[\],.~|@^])?
    | (?<![=/\w]) (?P<user>@[a-z0-9_][a-z0-9_.-]*+)(?<=\w)@[\w.-]*\w
    """,
    regex.IGNORECASE | regex.VERBOSE,
)
"""Punctuation at the end of a path or query belongs to the sentence; a path has balanced parentheses."""


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _positive_number(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
