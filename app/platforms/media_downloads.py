"""Loads the media of a post: images at a URL, or inside the post as a `data:` URL."""

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from io import BytesIO
from urllib.parse import unquote_to_bytes

import imagesize

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.outbound.errors import OutboundError
from app.platforms.media import Media
from app.platforms.protocol import NotPublished, PublishRequest
from app.platforms.responses import CONFIGURATION_FAILURES

_TIMEOUT = timedelta(seconds=60)

_SIGNATURES = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
"""First bytes of the images that platforms accept, by media type."""

_MAX_HEADER_BYTES = 256 * 1024
"""First bytes of an image in which its width and height are searched."""

_UNSPECIFIC_TYPES = {"", "application/octet-stream", "binary/octet-stream"}
"""Types with which servers declare files whose type they do not know."""


async def load_media(
    client: OutboundClient, request: PublishRequest, *, max_bytes: int, max_media: int
) -> Sequence[Media]:
    """Return the images of a post in order, each of at most `max_bytes`.

    Raises NotPublished for one that cannot be loaded, and for more than `max_media`. Each is an object with
    `url` and, if it has a description, `alt`.
    """
    check_media_count(request, max_media)
    return [
        await _load_item(client, item, f"media[{index}]", max_bytes)
        for index, item in enumerate(request.media)
    ]


def check_media_count(request: PublishRequest, max_media: int) -> None:
    """Raise NotPublished for more than `max_media`, and for `mediaIds`."""
    if request.media_ids:
        raise media_rejected(
            "mediaIds name files of another service, which the worker cannot load. Use media with the url of"
            " each file instead."
        )
    if len(request.media) > max_media:
        raise NotPublished(
            ErrorCategory.CONTENT_REJECTED,
            "TOO_MANY_MEDIA",
            f"The post has {len(request.media)} media; this platform allows {max_media}. Remove some of"
            " them.",
        )


def read_media_item(item: object, name: str) -> tuple[str, str]:
    """Return the URL and the description of an entry of `media`; raises NotPublished without a URL."""
    fields = item if isinstance(item, Mapping) else {}
    url, alt = fields.get("url"), fields.get("alt")
    if not isinstance(url, str):
        raise media_rejected(
            f'{name} needs the URL of an image, as in {{"url": "https://…", "alt": "…"}}.'
        )
    return url, alt if isinstance(alt, str) else ""


def is_data_url(url: str) -> bool:
    """Return whether a URL contains the file itself, RFC 2397."""
    return url[:5].lower() == "data:"


def media_rejected(message: str) -> NotPublished:
    """Return the error of media that no platform receives."""
    return NotPublished(ErrorCategory.CONTENT_REJECTED, "MEDIA_REJECTED", message)


async def _load_item(client: OutboundClient, item: object, name: str, max_bytes: int) -> Media:
    url, alt = read_media_item(item, name)
    if is_data_url(url):
        declared_type, content = _decode_data_url(url, name)
    else:
        declared_type, content = await _download(client, url, name, max_bytes)
    if len(content) > max_bytes:
        raise media_rejected(f"{name} has more than {max_bytes:,} bytes. Make the image smaller.")
    content_type = _image_type(content, declared_type, name)
    width, height = imagesize.get(BytesIO(content[:_MAX_HEADER_BYTES]))
    return Media(
        content=content,
        content_type=content_type,
        alt=alt,
        width=width if width > 0 else None,
        height=height if height > 0 else None,
    )


async def _download(
    client: OutboundClient, url: str, name: str, max_bytes: int
) -> tuple[str, bytes]:
    """Return the declared type and the content of a file, of which it reads one byte too many at most."""
    request = OutboundRequest(
        method="GET", url=url, timeout=_TIMEOUT, max_response_bytes=max_bytes + 1, receiver=url
    )
    try:
        response = await client.send(request)
    except OutboundError as error:
        if error.reason in CONFIGURATION_FAILURES:
            raise media_rejected(f"{name} cannot be loaded. {error.message}") from error
        raise NotPublished(
            ErrorCategory.TRANSIENT, "MEDIA_NOT_LOADED", f"{name} was not loaded. {error.message}"
        ) from error
    if response.status != HTTPStatus.OK:
        raise _status_error(response, name)
    declared_type = dict(response.headers).get("content-type", "")
    return declared_type.partition(";")[0].strip().lower(), response.body


def _status_error(response: OutboundResponse, name: str) -> NotPublished:
    message = f"{name} was not loaded: its server answered {response.status}."
    if response.status < HTTPStatus.BAD_REQUEST:
        message += " Redirects are not followed: use the URL that it redirects to."
    is_temporary = (
        response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or response.status == HTTPStatus.TOO_MANY_REQUESTS
    )
    if is_temporary:
        return NotPublished(ErrorCategory.TRANSIENT, "MEDIA_NOT_LOADED", message)
    return media_rejected(message)


def _decode_data_url(url: str, name: str) -> tuple[str, bytes]:
    """Return the declared type and the content of a `data:` URL, RFC 2397."""
    head, comma, data = url.partition(",")
    media_type, *parameters = head.lower().removeprefix("data:").split(";")
    if not comma:
        raise media_rejected(f"{name} is not a valid data: URL.")
    if parameters[-1:] != ["base64"]:
        return media_type.strip(), unquote_to_bytes(data)
    try:
        return media_type.strip(), base64.b64decode(data, validate=True)
    except ValueError:
        raise media_rejected(f"{name} is not valid base64.") from None


def _image_type(content: bytes, declared_type: str, name: str) -> str:
    """Return the type of an image by its first bytes; raises NotPublished if it is declared as another."""
    image_type = next(
        (media_type for media_type, signature in _SIGNATURES.items() if signature.match(content)),
        None,
    )
    if image_type is None:
        raise media_rejected(f"{name} is not a JPEG, PNG, GIF or WebP image.")
    if declared_type not in {image_type, *_UNSPECIFIC_TYPES}:
        raise media_rejected(f"{name} is {image_type}, but is declared as {declared_type}.")
    return image_type
