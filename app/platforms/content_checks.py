"""Checks a post against the limits of a platform before it is due, by the checks of the adapters."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TypeAlias

from app.domain.accounts import AccountPublisher
from app.domain.posts import Post
from app.platforms.bluesky.rich_text import check_text
from app.platforms.limits import (
    BLUESKY_LIMITS,
    INSTAGRAM_LIMITS,
    LIMITS_BY_PLATFORM,
    MASTODON_LIMITS,
    THREADS_LIMITS,
    PlatformLimits,
)
from app.platforms.mastodon.limits import DEFAULT_LIMITS, check_length
from app.platforms.media_checks import (
    check_image,
    check_media_count,
    check_media_ids,
    inline_image,
    item_url,
)
from app.platforms.meta.containers import check_text_length, image_parameters
from app.platforms.meta.descriptions import INSTAGRAM, THREADS, MetaPlatform
from app.platforms.protocol import NotPublished

TextCheck: TypeAlias = Callable[[str, str], None]
"""Function that raises NotPublished for a text and content warning that its platform would not accept."""

MediaCheck: TypeAlias = Callable[[Post], None]
"""Function that raises NotPublished for a post with media that its platform would not accept."""


class ContentChecks:
    """Checks of the posts in one request, which check the same text once per platform."""

    def __init__(self) -> None:
        self._text_refusal = cache(_text_refusal)

    def expected_refusals(
        self, post: Post, platform: str, publisher: AccountPublisher
    ) -> Sequence[NotPublished]:
        """Return the errors with which a post would fail on a platform; none for one without limits.

        The text and the number of media are always checked. The media themselves are checked only if the
        adapter of the platform publishes: clients of the API (EXTERNAL) and programs that the worker calls
        (WEBHOOK) may convert them. Images behind URLs are not loaded.
        """
        limits = LIMITS_BY_PLATFORM.get(platform)
        if limits is None:
            return ()
        media_count = max(len(post.media), len(post.media_ids))
        checks: list[Callable[[], None]] = [
            partial(check_media_count, media_count, limits.max_media, _subject(limits))
        ]
        if publisher.platform == platform:
            checks.append(partial(check_media_ids, post.media_ids))
            checks.append(partial(_MEDIA_CHECKS[platform], post))
        refusals = [
            self._text_refusal(
                platform, post.content_for_platform(platform), _spoiler_text(post, platform)
            ),
            *map(_refusal, checks),
        ]
        return [refusal for refusal in refusals if refusal is not None]


def _text_refusal(platform: str, text: str, spoiler_text: str) -> NotPublished | None:
    return _refusal(partial(_TEXT_CHECKS[platform], text, spoiler_text))


def _refusal(check: Callable[[], None]) -> NotPublished | None:
    """Return the error of a check; None if it passes."""
    try:
        check()
    except NotPublished as refusal:
        return refusal
    return None


def _spoiler_text(post: Post, platform: str) -> str:
    """Return the content warning, which only posts on Mastodon have; empty without one."""
    if platform != MASTODON_LIMITS.name:
        return ""
    spoiler_text = post.settings_for_platform(platform).get("spoiler_text")
    return spoiler_text if isinstance(spoiler_text, str) else ""


def _subject(limits: PlatformLimits) -> str:
    """Return the subject of the sentence that names a limit."""
    if limits.servers_may_differ:
        return f"{limits.display_name} by default"
    return limits.display_name


def _check_bluesky_text(text: str, _spoiler_text: str) -> None:
    check_text(text)


def _check_mastodon_text(text: str, spoiler_text: str) -> None:
    check_length(text, spoiler_text, DEFAULT_LIMITS, _subject(MASTODON_LIMITS))


def _check_meta_text(platform: MetaPlatform, text: str, _spoiler_text: str) -> None:
    check_text_length(platform, text)


_TEXT_CHECKS: Mapping[str, TextCheck] = {
    BLUESKY_LIMITS.name: _check_bluesky_text,
    MASTODON_LIMITS.name: _check_mastodon_text,
    THREADS_LIMITS.name: partial(_check_meta_text, THREADS),
    INSTAGRAM_LIMITS.name: partial(_check_meta_text, INSTAGRAM),
}


def _check_images(limits: PlatformLimits, post: Post) -> None:
    """Raise NotPublished for the first item without a URL, or with an image that is not accepted."""
    for index, item in enumerate(post.media):
        name = f"media[{index}]"
        item_url(item, name)
        if (content := inline_image(item, name)) is not None:
            check_image(content, name, limits.max_media_bytes)


def _check_meta_media(platform: MetaPlatform, post: Post) -> None:
    image_parameters(platform, post.content_for_platform(platform.limits.name), post.media)


_MEDIA_CHECKS: Mapping[str, MediaCheck] = {
    BLUESKY_LIMITS.name: partial(_check_images, BLUESKY_LIMITS),
    MASTODON_LIMITS.name: partial(_check_images, MASTODON_LIMITS),
    THREADS_LIMITS.name: partial(_check_meta_media, THREADS),
    INSTAGRAM_LIMITS.name: partial(_check_meta_media, INSTAGRAM),
}
"""Checks of media by platform, the same that its adapter makes."""
