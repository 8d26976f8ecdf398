"""Tables of the background checks of media: one row for each post, and the bytes of each workspace."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, check, foreign_key, index_of_values


class MediaCheck(Base):
    """Check of the media of a post that is not due yet; its results are in `Destination.media_warning`.

    Due at `check_at`, which is also the end of the lease of a check. The row is deleted when a destination of
    the post begins to be published.
    """

    __tablename__ = "media_check"
    __table_args__ = (
        foreign_key("post_id", "post"),
        check("attempts", "attempts >= 0"),
        # Due checks of each workspace, the longest due first.
        index_of_values("ix_media_check_due", "check_at", "post_id"),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    post_id: Mapped[UUID] = mapped_column(primary_key=True)
    check_at: Mapped[datetime | None]
    """NULL if no further check is planned."""
    attempts: Mapped[int] = mapped_column(SmallInteger)
    """Times that the check began since it was planned."""
    checked_at: Mapped[datetime | None]
    """End of the last check of the present media."""


class MediaCheckUsage(Base):
    """Bytes that the checks of a workspace have loaded in the hour from `started_at`."""

    __tablename__ = "media_check_usage"
    __table_args__ = (check("byte_count", "byte_count >= 0"),)

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    started_at: Mapped[datetime]
    byte_count: Mapped[int] = mapped_column(BigInteger)
