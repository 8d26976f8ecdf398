"""A post with its destinations, and what follows from them: its status and its search text. No storage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

from app.domain.destinations import Destination, DestinationState, DestinationStatus
from app.domain.ids import DestinationId, PostId
from app.domain.transitions import cancelled, rescheduled, unclaimable
from app.domain.validation.json_values import json_equal
from app.domain.validation.text import fold_for_search


class PostStatus(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    PARTIALLY_FAILED = "partially_failed"
    FAILED = "failed"


STATUS_BY_NAME = {status.value: status for status in PostStatus} | {
    "done": PostStatus.PUBLISHED,
    "queued": PostStatus.SCHEDULED,
}
"""What clients of the documented API call a status; the last two are of an earlier vocabulary."""


MAX_CONTENT_LENGTH = 100_000
"""Code points of a post's text, and of each platform's own."""

MAX_NAME_LENGTH = 500
"""Code points of whatever names something: a media id, a reference."""

MAX_DESTINATIONS = 500
"""Of one post."""

MAX_BULK_DESTINATIONS = 1000
"""Of several posts that are created at once: in a transaction for which nobody waits for long."""

MAX_BULK_POSTS = 50
"""Posts that are created together."""

DEFAULT_TIMEZONE = "UTC"
"""Shown for a post without a time zone: what the documentation says is assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Everything that is kept of a post; what follows from it is not."""

    id: PostId
    content: str
    is_draft: bool
    submitted_now: bool
    """Whether it was to go out at once, and not at a time."""
    scheduled_for: datetime | None
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None
    """A client's own, by which it finds the post again."""
    version: int
    """Counts what people did to it, from 1; publishing does not count."""
    deleted_at: datetime | None
    imported_at: datetime | None
    """When an import last changed it; None where it was made here."""
    created_at: datetime
    updated_at: datetime
    destinations: tuple[Destination, ...]
    """In their order."""

    def __eq__(self, other: object) -> bool:
        """Field by field, and JSON as JSON: a change from 1 to true is one."""
        if not isinstance(other, Post):
            return NotImplemented
        names = (field.name for field in fields(self))
        return all(json_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]

    @property
    def status(self) -> PostStatus:
        return post_status(
            is_draft=self.is_draft,
            submitted_now=self.submitted_now,
            destinations=[each.state for each in self.destinations],
        )

    def content_for_platform(self, platform: str) -> str:
        """What goes out there: the platform's own text, or else the text for all."""
        own = self.platform_content.get(platform)
        text = own.get("content") if isinstance(own, Mapping) else None
        return text if isinstance(text, str) and text else self.content

    def destination(self, destination_id: DestinationId) -> Destination:
        """KeyError for one that it does not have."""
        return {each.id: each for each in self.destinations}[destination_id]

    def with_state(
        self, destination_id: DestinationId, state: DestinationState, now: datetime
    ) -> Self:
        """With a destination in another state, which nobody may claim of a deleted post."""
        if self.deleted_at is not None:
            state = unclaimable(state)
        if state == self.destination(destination_id).state:
            return self
        destinations = tuple(
            replace(each, state=state, updated_at=now) if each.id == destination_id else each
            for each in self.destinations
        )
        return replace(self, destinations=destinations, updated_at=now)

    def published_despite_cancel(self, destination_id: DestinationId, now: datetime) -> Self:
        """No draft any more, for it is published on one account; on all others it counts as cancelled."""
        due = self.scheduled_for or now
        destinations = []
        for each in self.destinations:
            state = rescheduled(each.state, due)
            if each.id != destination_id:
                state = cancelled(state, now)
            destinations.append(replace(each, state=state, updated_at=now))
        return replace(
            self,
            is_draft=False,
            submitted_now=self.scheduled_for is None,
            destinations=tuple(destinations),
            updated_at=now,
        )

    def with_next_version(self, now: datetime) -> Self:
        """In its next version: after somebody changed it, or what becomes of it."""
        return replace(self, version=self.version + 1, updated_at=now)


class DestinationSummary(Protocol):
    """What the fold needs to know of a destination."""

    @property
    def status(self) -> DestinationStatus: ...
    @property
    def attempts(self) -> int: ...
    @property
    def published_at(self) -> datetime | None: ...


def post_status(
    *, is_draft: bool, submitted_now: bool, destinations: Iterable[DestinationSummary]
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


def post_published_at(destinations: Iterable[DestinationSummary]) -> datetime | None:
    """When the post last appeared on a platform; None while it is published nowhere."""
    return max((row.published_at for row in destinations if row.published_at), default=None)


def search_text(content: str, platform_content: Mapping[str, object]) -> str:
    """What a search looks into: the content and each platform's own, folded, by platform name."""
    own = (platform_content[platform] for platform in sorted(platform_content))
    texts = (part.get("content") for part in own if isinstance(part, Mapping))
    return fold_for_search(content, *(text for text in texts if isinstance(text, str)))
