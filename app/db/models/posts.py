"""Table of posts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import LongText, PortableJson, enum_check
from app.db.models.base import Base, check, partial_index
from app.domain.posts import PostStatus

_NOT_DELETED = "deleted_at IS NULL"
"""Condition of all queries of posts, so that the indexes do not contain deleted ones."""


class Post(Base):
    """Post, with the status that follows from its destinations.

    `imported_at` is the time of the last change by an import; NULL for a post that was created here.
    """

    __tablename__ = "post"
    __table_args__ = (
        enum_check("status", PostStatus),
        check("is_draft", "status = 'draft' OR NOT is_draft"),
        check("version", "version >= 1"),
        # Pages of posts in each order, with filters by time; analytics of a period.
        partial_index("ix_post_created_at", "created_at", "id", where=_NOT_DELETED),
        partial_index("ix_post_published_at", "published_at", "id", where=_NOT_DELETED),
        # Filters by reference and by status, newest first.
        partial_index(
            "ix_post_reference",
            "reference",
            "created_at",
            "id",
            where=f"reference IS NOT NULL AND {_NOT_DELETED}",
        ),
        partial_index("ix_post_scheduled_for", "scheduled_for", "id", where=_NOT_DELETED),
        partial_index("ix_post_status", "status", "created_at", "id", where=_NOT_DELETED),
        partial_index("ix_post_updated_at", "updated_at", "id", where=_NOT_DELETED),
        # Join of destinations with posts that are not deleted; count of all posts.
        partial_index("uq_post_kept", "id", where=_NOT_DELETED, unique=True),
        # Totals: posts and destinations that are counted, although the post is deleted.
        partial_index("ix_post_deleted", "id", where="deleted_at IS NOT NULL"),
        # Effect of a retry of failure groups.
        partial_index("ix_post_imported", "id", where="imported_at IS NOT NULL"),
        # Calendar: posts by their scheduled time, or else by their creation.
        partial_index(
            "ix_post_calendar",
            text("coalesce(scheduled_for, created_at)"),
            "id",
            "status",
            where=_NOT_DELETED,
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(LongText)
    is_draft: Mapped[bool]
    submitted_now: Mapped[bool]
    scheduled_for: Mapped[datetime | None]
    timezone: Mapped[str | None]
    media_ids: Mapped[list[Any]] = mapped_column(PortableJson)
    media: Mapped[list[Any]] = mapped_column(PortableJson)
    platform_content: Mapped[dict[str, Any]] = mapped_column(PortableJson)
    reference: Mapped[str | None]
    status: Mapped[PostStatus]
    published_at: Mapped[datetime | None]
    version: Mapped[int]
    search_text: Mapped[str]
    deleted_at: Mapped[datetime | None]
    imported_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
