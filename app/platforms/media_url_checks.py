"""Background check of the media of a post: loads each URL once, and judges it as publishing does."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app.domain.destinations import TEMPORARY_CATEGORIES, DestinationStatus
from app.domain.ids import DestinationId
from app.domain.media import data_url
from app.domain.posts import Post
from app.outbound.client import OutboundClient
from app.platforms.content_schemas import PUBLISHERS_WITH_SCHEMA
from app.platforms.limits import LIMITS_BY_PLATFORM, PlatformLimits
from app.platforms.media_checks import check_image, item_url, media_error
from app.platforms.media_downloads import MEDIA_TIME_LIMIT, download, limit_time
from app.platforms.protocol import NotPublished

_MAX_MEDIA = max(limits.max_media for limits in LIMITS_BY_PLATFORM.values())
"""Media of a post with more are refused before any is loaded."""


@dataclass(frozen=True, slots=True)
class LoadableMedia:
    """Media of a post that a worker of this server, or the platform, loads when it publishes."""

    urls: Mapping[str, str]
    """Name, such as `media[0]`, of the first item with each URL."""
    destinations: frozenset[tuple[DestinationId, str]]
    """Destinations that wait for their first attempt, each with its platform."""

    @property
    def platforms(self) -> frozenset[str]:
        return frozenset(platform for _, platform in self.destinations)


def loadable_media(post: Post) -> LoadableMedia | None:
    """Return what a check of the post loads; None if there is nothing to load."""
    if not post.media:
        return None
    destinations = frozenset(
        (destination.id, destination.platform)
        for destination in post.destinations
        if destination.publisher in PUBLISHERS_WITH_SCHEMA
        and destination.state.status is DestinationStatus.QUEUED
        and destination.state.attempts == 0
        and not destination.is_mirrored
    )
    urls: dict[str, str] = {}
    for index, item in enumerate(post.media[:_MAX_MEDIA]):
        name = f"media[{index}]"
        if (url := _loaded_url(item, name)) is not None:
            urls.setdefault(url, name)
    return LoadableMedia(urls, destinations) if urls and destinations else None


def _loaded_url(item: object, name: str) -> str | None:
    """Return the URL of an item; None without one, and for a `data:` URL, which is checked when stored."""
    if data_url(item) is not None:
        return None
    try:
        return item_url(item, name)
    except NotPublished:
        return None


@dataclass(frozen=True, slots=True)
class MediaResult:
    """Result of a check of the media of a post."""

    errors: Mapping[str, NotPublished]
    """First error of the media on each platform that has one."""
    byte_count: int
    """Bytes that were loaded."""

    @property
    def may_be_temporary(self) -> bool:
        """True if an error may be gone soon: another server did not answer as it should."""
        return any(error.category in TEMPORARY_CATEGORIES for error in self.errors.values())


async def check_urls(
    client: OutboundClient, media: LoadableMedia, *, time_limit: timedelta = MEDIA_TIME_LIMIT
) -> MediaResult:
    """Load each URL once, up to the largest size that one of the platforms accepts."""
    counts: list[int] = []
    errors: dict[str, NotPublished] = {}
    limits = [LIMITS_BY_PLATFORM[platform] for platform in sorted(media.platforms)]
    try:
        async with limit_time(time_limit):
            for url, name in media.urls.items():
                await _check_url(client, url, name, limits, errors, counts.append)
    except NotPublished as error:
        errors = {platform: errors.get(platform, error) for platform in media.platforms}
    return MediaResult(errors, sum(counts))


async def _check_url(
    client: OutboundClient,
    url: str,
    name: str,
    limits: Collection[PlatformLimits],
    errors: dict[str, NotPublished],
    count_bytes: Callable[[int], None],
) -> None:
    """Load a file, and add its error to `errors` for each platform without one."""
    max_bytes = max(each.max_media_bytes for each in limits)
    try:
        content = await download(client, url, name, max_bytes, count_bytes)
        check = partial(_check_content, content, name)
    except NotPublished as error:
        check = partial(_raise, error)
    for each in limits:
        try:
            check(each)
        except NotPublished as error:
            errors.setdefault(each.name, error)


def _raise(error: NotPublished, _limits: PlatformLimits) -> None:
    raise error


def _check_content(content: bytes, name: str, limits: PlatformLimits) -> None:
    image_type = check_image(content, name, limits.max_media_bytes)
    if image_type not in limits.media_types:
        raise media_error(
            f"{name} is {image_type}, but {limits.display_name} accepts {' and '.join(limits.media_types)}"
            " only. Convert it."
        )
