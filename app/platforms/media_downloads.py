"""Loads the media of a post: images at a URL, or inside the post as a `data:` URL."""

import asyncio
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
_TIME_LIMIT = timedelta(minutes=4)
"""Time for all images of a post together; the rest of the time of an attempt is for the platform."""

_TEMPORARY_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""Statuses below 500 after which the same request may succeed later."""

_MAX_HEADER_BYTES = 256 * 1024
"""First bytes of an image in which its width and height are searched."""


async def load_media(
    client: OutboundClient,
    request: PublishRequest,
    *,
    max_bytes: int,
    max_media: int,
    time_limit: timedelta = _TIME_LIMIT,
) -> Sequence[Media]:
    """Return the images of a post in order, each of at most `max_bytes`.

    Raises NotPublished for one that cannot be loaded, and for more than `max_media`. Each is an object with
    `url` and, if it has a description, `alt`.
    """
    check_media_ids(request.media_ids)
    check_media_count(len(request.media), max_media, "this platform")
    try:
        async with asyncio.timeout(time_limit.total_seconds()):
            return [
                await _load_item(client, item, f"media[{index}]", max_bytes)
                for index, item in enumerate(request.media)
            ]
    except TimeoutError:
        raise _not_loaded(
            f"The media were not loaded within {time_limit.total_seconds():g} s. Use smaller images, or a"
            " faster server."
        ) from None


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
        raise _not_loaded(f"{name} was not loaded. {error.message}") from error
    if response.status != HTTPStatus.OK:
        raise _status_error(response, name)
    declared_type = dict(response.headers).get("content-type", "")
    return declared_type.partition(";")[0].strip().lower(), response.body


def _status_error(response: OutboundResponse, name: str) -> NotPublished:
    status = response.status
    message = f"{name} was not loaded: its server answered {status}."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TEMPORARY_STATUSES:
        return _not_loaded(message)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        advice = "Redirects are not followed: use the URL that it redirects to."
    else:
        advice = "Use a URL at which everyone can load the image."
    return media_error(f"{message} {advice}")


def _not_loaded(message: str) -> NotPublished:
    return NotPublished(ErrorCategory.TRANSIENT, "MEDIA_NOT_LOADED", message, not_sent=True)
