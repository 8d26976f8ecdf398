"""What a workspace has of the things that records are about, as far as an import goes by it. No storage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.destinations import DestinationState
from app.domain.ids import AccountId, DestinationId, PostId
from app.domain.posts import PostStatus, post_status


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    id: AccountId
    platform: str
    name: str | None
    """What it is called; None while only its number is known."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDestination:
    id: DestinationId
    account_id: AccountId
    platform: str
    position: int
    state: DestinationState
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPost:
    id: PostId
    content: str
    is_draft: bool
    submitted_now: bool
    scheduled_for: datetime | None
    timezone: str | None
    media_ids: Sequence[str]
    media: Sequence[object]
    platform_content: Mapping[str, object]
    version: int
    deleted_at: datetime | None
    imported_at: datetime | None
    created_at: datetime
    updated_at: datetime
    destinations: tuple[StoredDestination, ...]

    @property
    def status(self) -> PostStatus:
        return post_status(
            is_draft=self.is_draft,
            submitted_now=self.submitted_now,
            destinations=[each.state for each in self.destinations],
        )

    @property
    def is_only_results(self) -> bool:
        """Whether no answer has carried the post itself yet, so that its times are those of an answer."""
        return (
            self.imported_at is not None
            and self.created_at == self.updated_at
            and not (self.content or self.media_ids or self.media or self.platform_content)
        )

    @property
    def belongs_here(self) -> bool:
        """Whether it was made here, or was brought in and then taken up here."""
        return self.imported_at is None or any(
            each.state.fence > 0 or each.state.claimable_at is not None
            for each in self.destinations
        )
