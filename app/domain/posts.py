"""Posts with their destinations; the status and search text derived from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from app.domain.destinations import Destination, DestinationState, DestinationStatus
from app.domain.ids import AccountId, DestinationId, PostId
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
"""Statuses by their names in the documented REST API; the last two are older names."""

MAX_DESTINATIONS = 500
"""Destinations of one post."""

MAX_BULK_DESTINATIONS = 1000
"""Destinations of all posts that one call creates or changes, in one short transaction."""

MAX_BULK_POSTS = 50
"""Posts created by one call."""

DEFAULT_TIMEZONE = "UTC"
"""Time zone of a post without one, as documented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Stored fields of a post; derived values are properties."""

    id: PostId
    content: str
    is_draft: bool
    submitted_now: bool
    """True if the post was submitted for immediate publication, without a time."""
    scheduled_for: datetime | None
    timezone: str | None = None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    reference: str | None = None
    """The client's own identifier of the post."""
    version: int
    """Counts changes by people, from 1; publishing does not count."""
    deleted_at: datetime | None = None
    imported_at: datetime | None = None
    """Time of the last import that changed it; None for a post created here."""
    created_at: datetime
    updated_at: datetime
    destinations: tuple[Destination, ...]
    """Ordered by position."""

    def __eq__(self, other: object) -> bool:
        """Compare field by field, JSON by `json_equal`: 1 and true differ."""
        if not isinstance(other, Post):
            return NotImplemented
        names = (field.name for field in fields(self))
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return all(one is two or json_equal(one, two) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def status(self) -> PostStatus:
        return post_status(
            is_draft=self.is_draft,
            submitted_now=self.submitted_now,
            destinations=[destination.state for destination in self.destinations],
        )

    def content_for_platform(self, platform: str) -> str:
        """Return the text published on a platform: its own text, or else the common one."""
        override = self.platform_content.get(platform)
        text = override.get("content") if isinstance(override, Mapping) else None
        return text if isinstance(text, str) and text else self.content

    def settings_for_platform(self, platform: str) -> Mapping[str, object]:
        """Return the settings of the post for a platform."""
        override = self.platform_content.get(platform)
        settings = override.get("settings") if isinstance(override, Mapping) else None
        return settings if isinstance(settings, Mapping) else {}

    def destination(self, destination_id: DestinationId) -> Destination:
        """Return a destination by id; raises KeyError if the post does not have it."""
        return {destination.id: destination for destination in self.destinations}[destination_id]

    def has_destination(self, destination_id: DestinationId) -> bool:
        return any(destination.id == destination_id for destination in self.destinations)

    def destination_on(self, account_id: AccountId) -> Destination | None:
        """Return the destination on an account; None if the post does not have one."""
        on_account = (d for d in self.destinations if d.account_id == account_id)
        return next(on_account, None)

    def with_state(
        self, destination_id: DestinationId, state: DestinationState, now: datetime
    ) -> Self:
        """Return the post with a destination in another state; a deleted post's is never claimable."""
        if self.deleted_at is not None:
            state = unclaimable(state)
        if state == self.destination(destination_id).state:
            return self
        destinations = tuple(
            destination.with_state(state, now) if destination.id == destination_id else destination
            for destination in self.destinations
        )
        return replace(self, destinations=destinations, updated_at=now)

    def resubmitted_for(self, destination_id: DestinationId, now: datetime) -> Self:
        """Return a draft as submitted, because one destination was published; cancel all others."""
        destinations = []
        for destination in self.destinations:
            state = rescheduled(destination.state, self.scheduled_for or now)
            if destination.id != destination_id:
                state = cancelled(state, now)
            destinations.append(destination.with_state(state, now))
        return replace(
            self,
            is_draft=False,
            submitted_now=self.scheduled_for is None,
            destinations=tuple(destinations),
            updated_at=now,
        )

    def with_next_version(self, now: datetime) -> Self:
        """Return the post in its next version, for a change by a person."""
        return replace(self, version=self.version + 1, updated_at=now)


def post_status(
    *, is_draft: bool, submitted_now: bool, destinations: Iterable[DestinationState]
) -> PostStatus:
    """Derive a post's status from its destinations; a post without destinations is a draft."""
    states = list(destinations)
    statuses = {state.status for state in states}
    if is_draft or not states:
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
        or any(state.attempts > 0 for state in states)
    )
    return PostStatus.PUBLISHING if in_flight else PostStatus.SCHEDULED


def post_published_at(destinations: Iterable[DestinationState]) -> datetime | None:
    """Return the latest publication time on any platform; None if the post is published nowhere."""
    return max((d.published_at for d in destinations if d.published_at), default=None)


def search_text(content: str, platform_content: Mapping[str, object]) -> str:
    """Return the searchable text: the folded content, and each platform's own by platform name."""
    overrides = (platform_content[platform] for platform in sorted(platform_content))
    texts = (override.get("content") for override in overrides if isinstance(override, Mapping))
    return fold_for_search(content, *(text for text in texts if isinstance(text, str)))
