"""Tables of what was attempted and reported for destinations."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Index,
    Integer,
    and_,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import LongText, enum_check
from app.db.models.base import Base, check, foreign_key, partial_index
from app.db.models.destinations import Destination
from app.domain.attempts import AttemptKind
from app.domain.destinations import ErrorCategory, Outcome


class Attempt(Base):
    """Publishing attempt on a platform: inserted when started or reported, finished once."""

    __tablename__ = "attempt"
    __table_args__ = (
        foreign_key("destination_id", "destination"),
        enum_check("kind", AttemptKind),
        enum_check("outcome", Outcome),
        enum_check("category", ErrorCategory),
        check("finished_at", "(outcome = 'none') = (finished_at IS NULL)"),
        check("message", "(outcome IN ('failed', 'unknown')) = (message IS NOT NULL)"),
        check("category", "(message IS NULL) = (category IS NULL)"),
        check("code", "(message IS NULL) = (code IS NULL)"),
        check(
            "not_sent",
            "NOT not_sent OR"
            " COALESCE(category IN ('transient', 'rate_limited', 'unclassified'), 1 = 0)",
        ),
        # Log of a destination.
        Index(None, "workspace_id", "destination_id", "started_at", "id"),
        partial_index(
            "uq_attempt_fence", "destination_id", "fence", where="kind = 'regular'", unique=True
        ),
        partial_index(
            "uq_attempt_key",
            "destination_id",
            "attempt_key",
            where="kind = 'regular' AND attempt_key IS NOT NULL",
            unique=True,
        ),
        # Statistics of attempts that are counted.
        partial_index(
            "ix_attempt_started",
            "platform",
            "started_at",
            "account_id",
            "category",
            where="number IS NOT NULL",
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    destination_id: Mapped[UUID]
    kind: Mapped[AttemptKind]
    number: Mapped[int | None]
    fence: Mapped[int | None]
    attempt_key: Mapped[str | None]
    outcome: Mapped[Outcome]
    category: Mapped[ErrorCategory | None]
    code: Mapped[str | None]
    message: Mapped[str | None] = mapped_column(LongText)
    http_status: Mapped[int | None]
    retry_after_ms: Mapped[int | None] = mapped_column(BigInteger)
    raw: Mapped[str | None] = mapped_column(LongText)
    worker: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    not_sent: Mapped[bool] = mapped_column(server_default=false())
    account_id: Mapped[int | None]
    """Account of the destination."""
    platform: Mapped[str | None]
    """Platform of the destination."""


ATTEMPT_JOIN = and_(
    Attempt.workspace_id == Destination.workspace_id, Attempt.destination_id == Destination.id
)
"""Join condition of a destination with its attempts."""


class PublishEvidence(Base):
    """Report that a destination is published; at most one report per destination is counted."""

    __tablename__ = "publish_evidence"
    __table_args__ = (
        foreign_key("destination_id", "destination"),
        partial_index(
            "uq_publish_evidence_counted", "destination_id", where="counted", unique=True
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    destination_id: Mapped[UUID] = mapped_column(primary_key=True)
    fence: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    counted: Mapped[bool]
    """True for the first report of the destination, which set its state."""
    platform_post_id: Mapped[str | None]
    platform_post_url: Mapped[str | None]
    published_at: Mapped[datetime]
    reported_at: Mapped[datetime]


class DuplicateCheck(Base):
    """Published destination whose platform is to be searched once for a second publication.

    Due at `check_at`, which is also the end of the lease of a check. The row is deleted with the result.
    """

    __tablename__ = "duplicate_check"
    __table_args__ = (
        foreign_key("destination_id", "destination"),
        check("attempts", "attempts >= 0"),
        # Due checks of all workspaces.
        Index(None, "check_at"),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    destination_id: Mapped[UUID] = mapped_column(primary_key=True)
    post_id: Mapped[UUID]
    """Post of the destination."""
    account_id: Mapped[int]
    """Account of the destination."""
    first_attempt_at: Mapped[datetime]
    """Start of the first attempt: a publication of the destination is not older."""
    check_at: Mapped[datetime]
    attempts: Mapped[int]
    """Checks that began."""
