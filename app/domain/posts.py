"""What follows from a post: its status, a pure fold of its destinations, and its search text."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.domain.destinations import DestinationStatus
from app.domain.text import fold_for_search


class PostStatus(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    PARTIALLY_FAILED = "partially_failed"
    FAILED = "failed"


STATUS_WORDS = {status.value: status for status in PostStatus} | {
    "done": PostStatus.PUBLISHED,
    "queued": PostStatus.SCHEDULED,
}
"""What clients of the documented API call a status; the last two are of an earlier vocabulary."""


DEFAULT_TIMEZONE = "UTC"
"""Shown for a post without a time zone: what the documentation says is assumed."""


class Progress(Protocol):
    """What the fold needs to know of a destination."""

    @property
    def status(self) -> DestinationStatus: ...
    @property
    def attempts(self) -> int: ...
    @property
    def published_at(self) -> datetime | None: ...


def post_status(
    *, is_draft: bool, submitted_now: bool, destinations: Iterable[Progress]
) -> PostStatus:
    """The four rules, in their order; a post without destinations is a draft."""
    rows = list(destinations)
    statuses = {row.status for row in rows}
    if is_draft or not rows:
        return PostStatus.DRAFT
    if statuses == {DestinationStatus.PUBLISHED}:
        return PostStatus.PUBLISHED
    if statuses == {DestinationStatus.FAILED}:
        return PostStatus.FAILED
    if all(status.is_final for status in statuses):
        return PostStatus.PARTIALLY_FAILED
    in_flight = (
        submitted_now
        or DestinationStatus.PUBLISHING in statuses
        or any(status.is_final for status in statuses)
        or any(row.attempts > 0 for row in rows)
    )
    return PostStatus.PUBLISHING if in_flight else PostStatus.SCHEDULED


def post_published_at(destinations: Iterable[Progress]) -> datetime | None:
    """When the post last appeared on a platform; None while it is published nowhere."""
    return max((row.published_at for row in destinations if row.published_at), default=None)


def search_text(content: str, platform_content: Mapping[str, object]) -> str:
    """What a search looks into: the content and each platform's own, folded, by platform name."""
    own = (platform_content[platform] for platform in sorted(platform_content))
    texts = (part.get("content") for part in own if isinstance(part, Mapping))
    return fold_for_search(content, *(text for text in texts if isinstance(text, str)))
