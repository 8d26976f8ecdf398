"""Table of destinations, each a post on one account."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    and_,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.conditions import MAX_INDEXED_TEXT_LENGTH
from app.db.core.types import LongText, enum_check
from app.db.models.base import Base, check, foreign_key, index_of_values, partial_index
from app.db.models.posts import Post
from app.db.models.workspaces import Account
from app.domain.accounts import AccountPublisher
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome


class Destination(Base):
    """One post on one account. Each CHECK has the name of an invariant in `domain.destinations`.

    The CHECKs hold for imported rows too. Those are never claimed: `claimable_at`, leases and rounds stay
    empty. The importer fills in values that the other service does not have.
    """

    __tablename__ = "destination"
    __table_args__ = (
        foreign_key("post_id", "post"),
        # A changed publisher is copied to all destinations of the account, in the same transaction.
        ForeignKeyConstraint(
            ["workspace_id", "account_id", "publisher"],
            ["account.workspace_id", "account.id", "account.publisher"],
            onupdate="CASCADE",
        ),
        UniqueConstraint("workspace_id", "post_id", "account_id"),
        enum_check("status", DestinationStatus),
        enum_check("outcome", Outcome),
        enum_check("error_category", ErrorCategory),
        check("position", "position >= 0"),
        check("outcome_published", "(status = 'published') = (outcome = 'published')"),
        check("outcome_failed", "(status = 'failed') = (outcome IN ('failed', 'unknown'))"),
        check("published_at", "(status = 'published') = (published_at IS NOT NULL)"),
        check("platform_post_id", "status = 'published' OR platform_post_id IS NULL"),
        check("platform_post_url", "status = 'published' OR platform_post_url IS NULL"),
        check("error_failed", "status <> 'failed' OR error IS NOT NULL"),
        check("error_published", "status <> 'published' OR error IS NULL"),
        check("error_category", "(error IS NULL) = (error_category IS NULL)"),
        check("error_code", "(error IS NULL) = (error_code IS NULL)"),
        check(
            "not_sent",
            "NOT not_sent OR"
            " COALESCE(error_category IN ('transient', 'rate_limited', 'unclassified'), 1 = 0)",
        ),
        check(
            "next_retry_at", "next_retry_at IS NULL OR (status = 'queued' AND error IS NOT NULL)"
        ),
        check("round_started_at", "(due_at IS NULL) = (round_started_at IS NULL)"),
        check("attempts", "0 <= round_attempts AND round_attempts <= attempts"),
        check("forced_rounds", "0 <= forced_rounds AND forced_rounds <= attempts"),
        check("fence", "fence >= 0"),
        check("lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
        check("lease_publishing", "status = 'publishing' OR lease_token IS NULL"),
        check("started_at", "lease_token IS NOT NULL OR started_at IS NULL"),
        check(
            "claimable_at",
            "CASE WHEN claimable_at IS NULL"
            " THEN status = 'queued' OR lease_token IS NULL OR started_at IS NOT NULL"
            " WHEN status = 'queued'"
            " THEN COALESCE(claimable_at = next_retry_at, claimable_at >= due_at, 1 = 0)"
            " ELSE lease_token IS NOT NULL AND started_at IS NULL"
            " AND claimable_at = lease_expires_at"
            " END",
        ),
        check("settled_at", "(outcome = 'none') = (settled_at IS NULL)"),
        check("verifiable_at", "(outcome = 'unknown') = (verifiable_at IS NOT NULL)"),
        check("verification_token", "outcome = 'unknown' OR verification_token IS NULL"),
        check("due_day", "(outcome = 'none') = (due_day IS NULL)"),
        check("lateness_ms", "(status = 'published') = (lateness_ms IS NOT NULL)"),
        check("failed_at", "(status = 'failed') = (failed_at IS NOT NULL)"),
        check("failure_group", "(status = 'failed') = (failure_group IS NOT NULL)"),
        check(
            "content_error",
            "content_error IS NULL OR (status = 'queued' AND claimable_at IS NOT NULL)",
        ),
        check("is_duplicated", "status = 'published' OR NOT is_duplicated"),
        # Pages of destinations in each order; filters, newest first. The filter of
        # posts by platform: that by account is served by the unique constraint.
        Index(None, "workspace_id", "account_id", "created_at", "id"),
        Index(None, "workspace_id", "created_at", "id"),
        Index(None, "workspace_id", "platform", "post_id"),
        Index(None, "workspace_id", "published_at", "id"),
        Index(None, "workspace_id", "status", "created_at", "id"),
        # Health of accounts: last publication.
        partial_index(
            "ix_destination_account_published",
            "account_id",
            "published_at",
            where="published_at IS NOT NULL",
        ),
        # Filter by overdue, and what waits for publishers.
        index_of_values("ix_destination_claimable", "claimable_at", "id"),
        # Filter, newest first: most destinations never have an error.
        index_of_values("ix_destination_error_code", "error_code", "created_at", "id"),
        # Unknown outcomes to verify.
        index_of_values("ix_destination_verifiable", "verifiable_at", "id"),
        # Expired leases; also the filter by overdue.
        partial_index(
            "ix_destination_leased", "lease_expires_at", "id", where="lease_token IS NOT NULL"
        ),
        # Filter by platform, newest first; totals by platform and status. Without post_id: SQLite without
        # statistics would read it for posts, because it covers more statements than their own indexes.
        Index("ix_destination_platform", "workspace_id", "platform", "created_at", "id", "status"),
        # Queued and due destinations of accounts; health of accounts.
        partial_index(
            "ix_destination_account_unsettled",
            "account_id",
            "status",
            "claimable_at",
            "due_at",
            "post_id",
            where="settled_at IS NULL",
        ),
        # Order and filter by next_retry_at. The primary key serves destinations without it.
        index_of_values("ix_destination_next_retry", "next_retry_at", "id", "post_id"),
        # Groups of failures, and their destinations.
        index_of_values(
            "ix_destination_failure_group",
            "failure_group",
            "failed_at",
            "outcome",
            "account_id",
            "post_id",
        ),
        # Order and filter by lateness of publications.
        index_of_values("ix_destination_lateness", "lateness_ms", "id"),
        Index(
            "ix_destination_duplicated",
            "workspace_id",
            "created_at",
            "id",
            sqlite_where=text("is_duplicated = 1"),  # as conditions of booleans are compiled there
            postgresql_where=text("is_duplicated"),
        ),
        # Statistics of outcomes: one range for each platform and span of time.
        partial_index(
            "ix_destination_settled",
            "platform",
            "settled_at",
            "outcome",
            "attempts",
            "lateness_ms",
            "error_category",
            "account_id",
            where="settled_at IS NOT NULL",
        ),
        # Analytics of a period: destinations that were added to an older post.
        index_of_values(
            "ix_destination_post_created",
            "post_created_at",
            "created_at",
            "platform",
            "status",
            "due_at",
        ),
        # Analytics of a period: destinations of drafts, which do not count.
        partial_index(
            "ix_destination_draft", "platform", "created_at", where="round_started_at IS NULL"
        ),
        # Filter by error, newest first.
        index_of_values(
            "ix_destination_error_category", "error_category", "created_at", "id", "error_code"
        ),
        # Health of accounts: recent failures.
        partial_index(
            "ix_destination_account_failed",
            "account_id",
            "settled_at",
            "status",
            "error_code",
            "error_category",
            where="error_category IS NOT NULL",
        ),
        # Filter by the URL of the publication.
        partial_index(
            "ix_destination_platform_post_url",
            "platform_post_url",
            where=f"length(platform_post_url) <= {MAX_INDEXED_TEXT_LENGTH}",
        ),
        # Pages and filters by due time and by update. The other columns decide filters by status or error,
        # and sort the matches of a filter, without the table. Partial, though all rows have `updated_at`:
        # SQLite without statistics would read it for posts, because it covers more than their own indexes.
        index_of_values(
            "ix_destination_due",
            "due_at",
            "id",
            "status",
            "error_category",
            "created_at",
            "failed_at",
            "post_id",
        ),
        partial_index(
            "ix_destination_undated",
            "due_at",
            "id",
            "status",
            "error_category",
            where="due_at IS NULL",
        ),
        index_of_values(
            "ix_destination_updated",
            "updated_at",
            "id",
            "status",
            "created_at",
            "failed_at",
            "post_id",
        ),
        # Lateness of destinations that wait for a publication. After the others with due times, because
        # SQLite prefers the later of equal indexes.
        partial_index(
            "ix_destination_waiting",
            "due_at",
            "id",
            "claimable_at",
            "account_id",
            where="settled_at IS NULL AND due_at IS NOT NULL",
        ),
        # Pages and filters by time of failure, filters by error, and groups of recent failures. The last
        # columns decide filters by error, and make groups, without the table.
        index_of_values(
            "ix_destination_failed",
            "failed_at",
            "id",
            "outcome",
            "post_id",
            "error_category",
            "error_code",
            "failure_group",
            "account_id",
        ),
        # Claims of a publisher, on all platforms or on one.
        partial_index(
            "ix_destination_claimable_publisher",
            "publisher",
            "claimable_at",
            "id",
            where="claimable_at IS NOT NULL",
        ),
        partial_index(
            "ix_destination_claimable_platform",
            "publisher",
            "platform",
            "claimable_at",
            "id",
            where="claimable_at IS NOT NULL",
        ),
        # Filter by the time of the outcome.
        index_of_values("ix_destination_settled_at", "settled_at", "id"),
        # Claims on an account, the earliest first.
        partial_index(
            "ix_destination_account_claimable",
            "account_id",
            "claimable_at",
            "id",
            where="claimable_at IS NOT NULL",
        ),
        # Waiting destinations whose content does not fit, newest first.
        partial_index(
            "ix_destination_content_error",
            "created_at",
            "id",
            "account_id",
            where="content_error IS NOT NULL",
        ),
        # Destinations whose media could not be loaded, newest first.
        partial_index(
            "ix_destination_media_warning",
            "created_at",
            "id",
            "settled_at",
            where="media_warning IS NOT NULL",
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    post_id: Mapped[UUID]
    account_id: Mapped[int]
    platform: Mapped[str]
    position: Mapped[int]
    status: Mapped[DestinationStatus]
    outcome: Mapped[Outcome]
    due_at: Mapped[datetime | None]
    claimable_at: Mapped[datetime | None]
    attempts: Mapped[int]
    round_attempts: Mapped[int]
    round_started_at: Mapped[datetime | None]
    next_retry_at: Mapped[datetime | None]
    fence: Mapped[int]
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    platform_post_id: Mapped[str | None]
    platform_post_url: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(LongText)
    error_category: Mapped[ErrorCategory | None]
    error_code: Mapped[str | None]
    settled_at: Mapped[datetime | None]
    verifiable_at: Mapped[datetime | None]
    verification_token: Mapped[UUID | None]
    due_day: Mapped[date | None] = mapped_column(Date)
    lateness_ms: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    failed_at: Mapped[datetime | None]
    """`settled_at` of a failed destination."""
    failure_group: Mapped[str | None]
    """Result of `domain.failure_groups.failure_group`."""
    is_duplicated: Mapped[bool] = mapped_column(server_default=false())
    """True if there is publish evidence that does not count."""
    post_created_at: Mapped[datetime | None]
    """Creation of the post; NULL if it is `created_at`, as it is unless the account was added later."""
    publisher: Mapped[AccountPublisher] = mapped_column(server_default=AccountPublisher.EXTERNAL)
    """Copy of the account's."""
    forced_rounds: Mapped[int] = mapped_column(server_default=text("0"))
    is_mirrored: Mapped[bool] = mapped_column(server_default=false())
    """True in a mirror: copy of the workspace's kind, which never changes."""
    not_sent: Mapped[bool] = mapped_column(server_default=false())
    content_error: Mapped[str | None]
    media_warning: Mapped[str | None]
    """Result of the last background check of the media; matters only before the outcome.

    No part of the domain's state: it changes neither `updated_at` nor the version of the post, without event.
    """
    media_warning_code: Mapped[str | None]


POST_JOIN = and_(Post.workspace_id == Destination.workspace_id, Post.id == Destination.post_id)
ACCOUNT_JOIN = and_(
    Account.workspace_id == Destination.workspace_id, Account.id == Destination.account_id
)
"""Join conditions of a destination with its post and with its account."""
