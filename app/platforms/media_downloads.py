"""Loads the media of a post: images at a URL, after its redirects, or in a `data:` URL of the post."""

import asyncio
import string
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from io import BytesIO
from urllib.parse import quote, urldefrag, urljoin

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

_IMAGE_TIME_LIMIT = timedelta(seconds=60)
"""Time for one image, with all redirects of its URL."""

MEDIA_TIME_LIMIT = timedelta(minutes=4)
"""Time for all images of a post together; the rest of the time of an attempt is for the platform."""

_MAX_REDIRECTS = 5
"""Redirects of one image that are followed."""

_REDIRECT_STATUSES = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}
"""Statuses with which a server names another URL in `Location`."""

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
    image_time_limit: timedelta = _IMAGE_TIME_LIMIT,
    time_limit: timedelta = MEDIA_TIME_LIMIT,
) -> Sequence[Media]:
    """Return the images of a post in order, each of at most `max_bytes`.

    Raises NotPublished for one that cannot be loaded, and for more than `max_media`. Each is an object with
    `url` and, if it has a description, `alt`.
    """
    check_media_ids(request.media_ids)
    check_media_count(len(request.media), max_media, "this platform")
    async with limit_time(time_limit):
        return [
            await _load_item(client, item, f"media[{index}]", max_bytes, image_time_limit)
            for index, item in enumerate(request.media)
        ]


@asynccontextmanager
async def limit_time(time_limit: timedelta) -> AsyncIterator[None]:
    """Raise NotPublished if the media of a post are not loaded within the time."""
    try:
        async with asyncio.timeout(time_limit.total_seconds()):
            yield
    except TimeoutError:
        raise _not_loaded(
            f"The media were not loaded within {time_limit.total_seconds():g} s. Use smaller images, or a"
            " faster server."
        ) from None


async def _load_item(
    client: OutboundClient, item: object, name: str, max_bytes: int, time_limit: timedelta
) -> Media:
    url = item_url(item, name)
    content = inline_image(item, name)
    if content is None:
        content = await download(client, url, name, max_bytes, time_limit=time_limit)
    image_type = check_image(content, name, max_bytes)
    width, height = imagesize.get(BytesIO(content[:_MAX_HEADER_BYTES]))
    return Media(
        content=content,
        content_type=image_type,
        alt=alternative_text(item),
        width=width if width > 0 else None,
        height=height if height > 0 else None,
    )


async def download(
    client: OutboundClient,
    url: str,
    name: str,
    max_bytes: int,
    count_bytes: Callable[[int], None] = lambda _count: None,
    *,
    time_limit: timedelta = _IMAGE_TIME_LIMIT,
) -> bytes:
    """Return the content of a file, of which it reads one byte too many at most.

    Follows redirects; `time_limit` is for all of them together. `count_bytes` is called with the number of
    bytes whenever some have arrived, also of redirects and of what is refused or breaks off. Raises
    NotPublished, naming the file, if it cannot be loaded.
    """
    request = OutboundRequest(
        method="GET",
        url=url,
        timeout=time_limit,
        max_response_bytes=max_bytes + 1,
        pool_key=url,
        count_bytes=count_bytes,
    )
    try:
        async with asyncio.timeout(time_limit.total_seconds()):
            return await _follow_redirects(client, request, name)
    except TimeoutError:
        raise _not_loaded(
            f"{name} was not loaded within {time_limit.total_seconds():g} s. Use a smaller image, or a"
            " faster server."
        ) from None


async def _follow_redirects(client: OutboundClient, request: OutboundRequest, name: str) -> bytes:
    """Return the content at the end of the redirects; the client checks the URL and addresses of each."""
    subject = name
    for _ in range(_MAX_REDIRECTS + 1):
        response = await _send(client, request, subject)
        if response.status == HTTPStatus.OK:
            return response.body
        if response.status not in _REDIRECT_STATUSES:
            raise _status_error(response.status, subject)
        request = replace(request, url=_redirect_url(request.url, response, subject))
        subject = f"{name} redirects to a URL that"
    raise media_error(
        f"{name} has more than {_MAX_REDIRECTS} redirects. Use the URL at which they end."
    )


async def _send(client: OutboundClient, request: OutboundRequest, subject: str) -> OutboundResponse:
    try:
        return await client.send(request)
    except OutboundError as error:
        if error.reason in CONFIGURATION_FAILURES:
            raise media_error(f"{subject} cannot be loaded. {error.message}") from error
        raise _not_loaded(f"{subject} was not loaded. {error.message}") from error


def _redirect_url(url: str, response: OutboundResponse, subject: str) -> str:
    """Return the URL in the `Location` of a response, which may be relative, RFC 9110, section 10.2.2.

    Raises NotPublished without a valid one.
    """
    location = dict(response.headers).get("location")
    if location:
        # Servers send characters that a URL must encode, such as umlauts and spaces.
        encoded = quote(location, safe=string.punctuation, encoding="latin-1")
        # urljoin raises ValueError for a host with one bracket.
        with suppress(ValueError):
            # The fragment of a URL is for the client only, and is not sent.
            return urldefrag(urljoin(url, encoded)).url
    raise media_error(
        f"{subject} was not loaded: its server answered {response.status} without a valid Location. Use the"
        " URL of the image itself."
    )


def _status_error(status: int, subject: str) -> NotPublished:
    message = f"{subject} was not loaded: its server answered {status}."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TEMPORARY_STATUSES:
        return _not_loaded(message)
    return media_error(f"{message} Use a URL at which everyone can load the image.")


def _not_loaded(message: str) -> NotPublished:
    return NotPublished(ErrorCategory.TRANSIENT, "MEDIA_NOT_LOADED", message, not_sent=True)
