"""A demo post: what was written, when, and what became of it on each account. No ids, no rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from app.demo.courses import Course
from app.domain.ids import AccountId, DestinationId, PostId

Medium: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPost:
    content: str
    courses: Mapping[AccountId, Course]
    """What became of it on each account, in the order of the request."""
    created_at: datetime
    scheduled_for: datetime | None = None
    submitted_now: bool = False
    is_draft: bool = False
    timezone: str | None = None
    media: tuple[Medium, ...] = ()
    platform_content: Mapping[str, object] = field(default_factory=dict)
    reference: str | None = None
    version: int = 1
    deleted_at: datetime | None = None
    id: PostId | None = None
    """None: drawn when the rows are made, as are the destinations' ids."""
    destination_ids: tuple[DestinationId, ...] = ()

    @property
    def updated_at(self) -> datetime:
        """When the post or one of its destinations last changed."""
        changes = [course.changed_at for course in self.courses.values()]
        return max(filter(None, [self.created_at, self.deleted_at, *changes]))


def medium(media_id: UUID, media_type: Literal["image", "video"]) -> Medium:
    """A picture or video as a media library describes it."""
    suffix, mime_type = {"image": ("jpg", "image/jpeg"), "video": ("mp4", "video/mp4")}[media_type]
    return {
        "id": str(media_id),
        "filename": f"{media_type}-{str(media_id)[:8]}.{suffix}",
        "media_type": media_type,
        "mime_type": mime_type,
    }
