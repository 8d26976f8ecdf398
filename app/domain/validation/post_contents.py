"""Validation of a post's texts, media, reference and time zone."""

from collections.abc import Mapping, Sequence
from functools import cache
from zoneinfo import available_timezones

from app.domain.errors import ContentTooLong, InvalidInput, InvalidTimezone
from app.domain.media import strip_data_urls
from app.domain.validation.json_values import check_json
from app.domain.validation.text import MAX_NAME_LENGTH, validate_text

MAX_CONTENT_LENGTH = 100_000
"""Code points of a post's text, and of each platform's own."""

_MAX_MEDIA = 100
"""Entries of media_ids, and of media."""

_MAX_PLATFORM_CONTENT_KEYS = 50
"""Keys of platform_content."""

CONTENT_SCHEMA_VERSION = 2
"""Version of the schemas in `app.platforms.content_schemas`.

Increase it with each change of them after which stored content may no longer fit.
"""

MAX_REFERENCE_LENGTH = 200
"""Code points of a client's reference."""


def check_contents(
    content: str,
    *,
    media_ids: Sequence[str],
    media: Sequence[object],
    platform_content: Mapping[str, object],
) -> None:
    """Raise InvalidInput or ContentTooLong unless the contents are not empty and can be stored.

    `data:` URLs have limits of their own, see `check_data_urls`.
    """
    _check_content(content, "content")
    if len(media_ids) > _MAX_MEDIA or len(media) > _MAX_MEDIA:
        raise InvalidInput(
            f"There are {max(len(media_ids), len(media))} media; at most {_MAX_MEDIA} are allowed.",
            argument="mediaIds" if len(media_ids) > _MAX_MEDIA else "media",
        )
    for index, media_id in enumerate(media_ids):
        validate_text(media_id, f"mediaIds[{index}]", max_length=MAX_NAME_LENGTH)
    check_json(strip_data_urls(media), "media")
    _check_platform_content(platform_content)
    if not (content.strip() or media_ids or media or _has_platform_text(platform_content)):
        raise InvalidInput(
            "The post is empty: it needs content, media, or content for a platform.",
            argument="content",
        )


def check_reference(reference: str | None) -> None:
    if reference is not None:
        validate_text(reference, "reference", max_length=MAX_REFERENCE_LENGTH)
        if not reference:
            raise InvalidInput("reference must not be empty.", argument="reference")


def check_timezone(timezone: str | None) -> None:
    """Raise InvalidTimezone unless the IANA database of every machine has the exact name."""
    if timezone is not None and timezone not in supported_timezones():
        raise InvalidTimezone("There is no such time zone.", argument="timezone")


@cache
def supported_timezones() -> set[str]:
    """Return the names of time zones that exist on every machine."""
    return available_timezones() - {"localtime", "Factory"}  # machine-dependent, and a placeholder


def _has_platform_text(platform_content: Mapping[str, object]) -> bool:
    overrides = (value for value in platform_content.values() if isinstance(value, Mapping))
    texts = (override.get("content") for override in overrides)
    return any(isinstance(text, str) and text.strip() for text in texts)


def _check_content(content: str, argument: str) -> None:
    if len(content) > MAX_CONTENT_LENGTH:
        raise ContentTooLong(
            f"The text has {len(content)} characters; at most {MAX_CONTENT_LENGTH} are allowed.",
            argument=argument,
        )
    validate_text(content, argument, max_length=MAX_CONTENT_LENGTH)


def _platform_content_path(platform: str) -> str:
    """Return the path of a platform's content; raises InvalidInput if it is not a platform name."""
    if not platform.isprintable() or not 1 <= len(platform) <= MAX_NAME_LENGTH:
        raise InvalidInput(
            f"platformContent has a key that is not the name of a platform: printable, 1 to"
            f" {MAX_NAME_LENGTH} characters.",
            argument="platformContent",
        )
    return f"platformContent.{platform}"


def _check_platform_content(platform_content: Mapping[str, object]) -> None:
    if len(platform_content) > _MAX_PLATFORM_CONTENT_KEYS:
        raise InvalidInput(
            f"There is content for {len(platform_content)} platforms; at most"
            f" {_MAX_PLATFORM_CONTENT_KEYS} are allowed.",
            argument="platformContent",
        )
    for platform, override in platform_content.items():
        path = _platform_content_path(platform)
        if not isinstance(override, Mapping):
            raise InvalidInput(f"{path} must be an object.", argument=path)
        content = override.get("content")
        if content is not None and not isinstance(content, str):
            raise InvalidInput(f"{path}.content must be a string.", argument=f"{path}.content")
        # Checked before the other texts, because too long a content has its own error code.
        _check_content(content or "", f"{path}.content")
    check_json(platform_content, "platformContent")
