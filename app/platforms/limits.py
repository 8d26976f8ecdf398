"""Limits of posts on the platforms that the worker publishes on, each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.domain.platform_names import platform_name

BLUESKY_MAX_LENGTH_BYTES = 3_000
MASTODON_URL_LENGTH = 23


class ImageType(StrEnum):
    """Media type of an image."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    GIF = "image/gif"
    WEBP = "image/webp"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLimits:
    """Limits of a post on one platform."""

    name: str
    """Name of the platform, as accounts have it."""
    max_length: int
    """Graphemes of the text."""
    max_length_bytes: int | None
    """Bytes of the text in UTF-8; None without such a limit."""
    url_length: int | None
    """Graphemes that each URL counts as; None if it counts like any text."""
    min_media: int
    """Number of images that each post needs."""
    max_media: int
    max_media_bytes: int
    """Bytes of one image."""
    media_types: tuple[ImageType, ...]
    servers_may_differ: bool
    """True if these are defaults, and each server of the platform can have other limits."""

    @property
    def display_name(self) -> str:
        """Name of the platform for people."""
        return platform_name(self.name)


BLUESKY_LIMITS = PlatformLimits(
    name="bluesky",
    max_length=300,
    max_length_bytes=BLUESKY_MAX_LENGTH_BYTES,
    url_length=None,
    min_media=0,
    max_media=4,
    max_media_bytes=2_000_000,
    media_types=tuple(ImageType),
    servers_may_differ=False,
)
"""Sources: the schemas `feed/post.json` and `embed/images.json` in
https://github.com/bluesky-social/atproto/tree/main/lexicons/app/bsky.
"""

MASTODON_LIMITS = PlatformLimits(
    name="mastodon",
    max_length=500,
    max_length_bytes=None,
    url_length=MASTODON_URL_LENGTH,
    min_media=0,
    max_media=4,
    max_media_bytes=16 * 1024 * 1024,
    media_types=tuple(ImageType),
    servers_may_differ=True,
)
"""Sources: https://docs.joinmastodon.org/entities/Instance/#configuration, and `IMAGE_LIMIT` for bytes in
https://github.com/mastodon/mastodon/blob/main/app/models/media_attachment.rb.
"""

THREADS_LIMITS = PlatformLimits(
    name="threads",
    max_length=500,
    max_length_bytes=None,
    url_length=None,
    min_media=0,
    max_media=20,
    max_media_bytes=8 * 1024 * 1024,
    media_types=(ImageType.JPEG, ImageType.PNG),
    servers_may_differ=False,
)
"""Source: https://developers.facebook.com/docs/threads/overview."""

INSTAGRAM_LIMITS = PlatformLimits(
    name="instagram",
    max_length=2_200,
    max_length_bytes=None,
    url_length=None,
    min_media=1,
    max_media=10,
    max_media_bytes=8 * 1024 * 1024,
    media_types=(ImageType.JPEG,),
    servers_may_differ=False,
)
"""Sources: https://developers.facebook.com/docs/instagram-platform/content-publishing and
https://developers.facebook.com/docs/instagram-platform/instagram-graph-api/reference/ig-user/media.
"""

LIMITS_BY_PLATFORM: Mapping[str, PlatformLimits] = {
    limits.name: limits
    for limits in (BLUESKY_LIMITS, MASTODON_LIMITS, THREADS_LIMITS, INSTAGRAM_LIMITS)
}
"""The sandbox has no limits."""
