"""Loads the media of a post: images at a URL, or inside the post as a `data:` URL."""

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from io import BytesIO

import imagesize

from app.domain.destinations import ErrorCategory
from app.outbound.client import OutboundClient, OutboundRequest, OutboundResponse
from app.outbound.errors import OutboundError
from app.platforms.media import Media
from app.platforms.media_checks import (
    alternative_text,
    check_image,
    check_media_count,
    check_media_ids,
    inline_image,
    item_url,
    media_error,
)
from app.platforms.protocol import NotPublished, PublishRequest
from app.platforms.responses import CONFIGURATION_FAILURES

_TIMEOUT = timedelta(seconds=60)

_MAX_HEADER_BYTES = 256 * 1024
"""First bytes of an image in which its width and height are searched."""


async def load_media(
    client: OutboundClient, request: PublishRequest, *, max_bytes: int, max_media: int
) -> Sequence[Media]:
    """Return the images of a post in order, each of at most `max_bytes`.

    Raises NotPublished for one that cannot be loaded, and for more than `max_media`. Each is an object with
    `url` and, if it has a description, `alt`.
    """
    check_media_ids(request.media_ids)
    check_media_count(len(request.media), max_media, "this platform")
    return [
        await _load_item(client, item, f"media[{index}]", max_bytes)
        for index, item in enumerate(request.media)
    ]


async def _load_item(client: OutboundClient, item: object, name: str, max_bytes: int) -> Media:
    url = item_url(item, name)
    declared_type, content = inline_image(item, name) or await _download(
        client, url, name, max_bytes
    )
    image_type = check_image(content, declared_type, name, max_bytes)
    width, height = imagesize.get(BytesIO(content[:_MAX_HEADER_BYTES]))
    return Media(
        content=content,
        content_type=image_type,
        alt=alternative_text(item),
        width=width if width > 0 else None,
        height=height if height > 0 else None,
    )


async def _download(
    client: OutboundClient, url: str, name: str, max_bytes: int
) -> tuple[str, bytes]:
    """Return the declared type and the content of a file, of which it reads one byte too many at most."""
    request = OutboundRequest(
        method="GET", url=url, timeout=_TIMEOUT, max_response_bytes=max_bytes + 1, pool_key=url
    )
    try:
        response = await client.send(request)
    except OutboundError as error:
        if error.reason in CONFIGURATION_FAILURES:
            raise media_error(f"{name} cannot be loaded. {error.message}") from error
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
    return media_error(message)
