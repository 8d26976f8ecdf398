"""Checks of a post's media before anything is loaded, and of the content of each image."""

import re
from collections.abc import Mapping, Sequence

from app.domain.errors import InvalidInput
from app.domain.media import data_url, parse_data_url
from app.platforms.limits import ImageType
from app.platforms.protocol import NotPublished, content_error

_SIGNATURES = {
    ImageType.JPEG: re.compile(rb"\xff\xd8\xff"),
    ImageType.PNG: re.compile(rb"\x89PNG\r\n\x1a\n"),
    ImageType.GIF: re.compile(rb"GIF8[79]a"),
    ImageType.WEBP: re.compile(rb"RIFF....WEBP", re.DOTALL),
}
"""First bytes of an image, by its type."""


def check_media_count(count: int, max_media: int, subject: str) -> None:
    """Raise NotPublished for more media than allowed; `subject` names who allows them."""
    if count > max_media:
        raise content_error(
            "TOO_MANY_MEDIA",
            f"The post has {count} media; {subject} allows {max_media}. Remove {count - max_media} of"
            " them.",
        )


def check_not_empty(text: str, media: Sequence[object]) -> None:
    """Raise NotPublished for a post without text and media."""
    if not media and not text.strip():
        raise content_error(
            "EMPTY_POST", "The post has neither text nor media for this platform. Add some."
        )


def check_media_ids(media_ids: Sequence[str]) -> None:
    """Raise NotPublished if a post has media by id, which no adapter can load."""
    if media_ids:
        raise media_error(
            "mediaIds name files of another service, which the worker cannot load. Use media with the url of"
            " each file instead."
        )


def item_url(item: object, name: str) -> str:
    """Return the URL of a media item; raises NotPublished, naming the item, without one."""
    url = item.get("url") if isinstance(item, Mapping) else None
    if not isinstance(url, str):
        raise media_error(
            f'{name} needs the URL of an image, as in {{"url": "https://…", "alt": "…"}}.'
        )
    return url


def alternative_text(item: object) -> str:
    """Return the description of a media item; empty if it has none."""
    alt = item.get("alt") if isinstance(item, Mapping) else None
    return alt if isinstance(alt, str) else ""


def inline_image(item: object, name: str) -> bytes | None:
    """Return the content in the `data:` URL of an item; None for another URL."""
    url = data_url(item)
    if url is None:
        return None
    try:
        _declared_type, content = parse_data_url(url, name)
    except InvalidInput as error:
        raise media_error(error.message) from None
    return content


def check_image(content: bytes, name: str, max_bytes: int) -> ImageType:
    """Return the type of an image by its first bytes; servers and `data:` URLs often declare another.

    Raises NotPublished if it is too large, or not an image of a supported type.
    """
    if len(content) > max_bytes:
        raise media_error(f"{name} has more than {max_bytes:,} bytes. Make the image smaller.")
    image_type = next(
        (image_type for image_type, signature in _SIGNATURES.items() if signature.match(content)),
        None,
    )
    if image_type is None:
        raise media_error(f"{name} is not a JPEG, PNG, GIF or WebP image. Convert it.")
    return image_type


def media_error(message: str) -> NotPublished:
    """Return the error of media that the worker or the platform does not accept."""
    return content_error("MEDIA_REJECTED", message)
