"""Tables of the database, as ORM classes without relationships.

The primary key of every table starts with the workspace id, and so do foreign keys: a reference to
another workspace cannot be stored. Exceptions are `workspace` itself, and `deployment` with its one row.

The indexes of a table are created in the order in which they are listed, by which SQLite's planner chooses
among equal plans. Databases have been created in this order, so a new index is added at the end.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    TextClause,
    UniqueConstraint,
    and_,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.db.core.types import PortableJson, PortableUuid, StrEnumType, UtcDateTime, enum_check
from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import WorkspaceKind
from app.domain.posts import PostStatus


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own interface
        datetime: UtcDateTime,
        UUID: PortableUuid,
        str: Text,
        DestinationStatus: StrEnumType(DestinationStatus),
        Outcome: StrEnumType(Outcome),
        ErrorCategory: StrEnumType(ErrorCategory),
        PostStatus: StrEnumType(PostStatus),
        AttemptKind: StrEnumType(AttemptKind),
        WorkspaceKind: StrEnumType(WorkspaceKind),
    }


def _check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def _foreign_key(column: str, table: str) -> ForeignKeyConstraint:
    """Return a foreign key inside one workspace: both keys start with the workspace."""
    return ForeignKeyConstraint(["workspace_id", column], [f"{table}.workspace_id", f"{table}.id"])


def _partial_index(
    name: str, *columns: str | TextClause, where: str, unique: bool = False
) -> Index:
    """Return a partial index; its columns start with `workspace_id` unless they include it elsewhere."""
    if "workspace_id" not in columns:
        columns = ("workspace_id", *columns)
    condition = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _index_of_values(name: str, column: str, *others: str) -> Index:
    """Return a partial index of the rows in which its first column is not NULL."""
    return _partial_index(name, column, *others, where=f"{column} IS NOT NULL")


_NOT_DELETED = "deleted_at IS NULL"
"""Condition of all queries of posts, so that the indexes do not contain deleted ones."""


class Deployment(Base):
    """The installation: one row, shared by all processes."""

    __tablename__ = "deployment"
    __table_args__ = (_check("single_row", "id = 1"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    secret_key: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class Workspace(Base):
    """Tenant, with the counters for event sequence numbers and account ids."""

    __tablename__ = "workspace"
    __table_args__ = (
        enum_check("kind", WorkspaceKind),
        _check("mirror_of", "(kind = 'mirror') = (mirror_of IS NOT NULL)"),
        _check("event_seq", "event_seq >= 0"),
        _check("next_account_id", "next_account_id >= 1"),
        UniqueConstraint("name"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[WorkspaceKind]
    mirror_of: Mapped[str | None]
    event_seq: Mapped[int] = mapped_column(BigInteger)
    next_account_id: Mapped[int]
    created_at: Mapped[datetime]


class ApiKey(Base):
    """API key: only the SHA-256 digest of the secret is stored; it is looked up in all workspaces."""

    __tablename__ = "api_key"
    __table_args__ = (UniqueConstraint("digest"),)

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    display_prefix: Mapped[str]
    name: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(PortableJson)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Account(Base):
    """Account on a platform, without credentials, which publishers store themselves.

    An account known only from imported posts is inactive; its times are those of the first such post.
    """

    __tablename__ = "account"
    __table_args__ = (_check("id", "id >= 1"),)

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    platform: Mapped[str]
    account_name: Mapped[str | None]
    display_name: Mapped[str | None]
    platform_user_id: Mapped[str | None]
    platform_username: Mapped[str | None]
    avatar_url: Mapped[str | None]
    is_active: Mapped[bool]
    needs_reconnection_since: Mapped[datetime | None]
    token_expires_at: Mapped[datetime | None]
    token_refreshed_at: Mapped[datetime | None]
    connected_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Post(Base):
    """Post, with the status that follows from its destinations.

    `imported_at` is the time of the last change by an import; NULL for a post that was created here.
    """

    __tablename__ = "post"
    __table_args__ = (
        enum_check("status", PostStatus),
        _check("is_draft", "status = 'draft' OR NOT is_draft"),
        _check("version", "version >= 1"),
        # Pages of posts in each order, with filters by time; analytics of a period.
        _partial_index("ix_post_created_at", "created_at", "id", where=_NOT_DELETED),
        _partial_index("ix_post_published_at", "published_at", "id", where=_NOT_DELETED),
        # Filters by reference and by status, newest first.
        _partial_index(
            "ix_post_reference",
            "reference",
            "created_at",
            "id",
            where=f"reference IS NOT NULL AND {_NOT_DELETED}",
        ),
        _partial_index("ix_post_scheduled_for", "scheduled_for", "id", where=_NOT_DELETED),
        _partial_index("ix_post_status", "status", "created_at", "id", where=_NOT_DELETED),
        _partial_index("ix_post_updated_at", "updated_at", "id", where=_NOT_DELETED),
        # Join of destinations with posts that are not deleted; count of all posts.
        _partial_index("uq_post_kept", "id", where=_NOT_DELETED, unique=True),
        # Totals: posts and destinations that are counted, although the post is deleted.
        _partial_index("ix_post_deleted", "id", where="deleted_at IS NOT NULL"),
        # Effect of a retry of failure groups.
        _partial_index("ix_post_imported", "id", where="imported_at IS NOT NULL"),
        # Calendar: posts by their scheduled time, or else by their creation.
        _partial_index(
            "ix_post_calendar",
            text("coalesce(scheduled_for, created_at)"),
            "id",
            "status",
            where=_NOT_DELETED,
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    content: Mapped[str]
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


class Destination(Base):
    """One post on one account. Each CHECK has the name of an invariant in `domain.destinations`.

    The CHECKs hold for imported rows too. Those are never claimed: `claimable_at`, leases and rounds stay
    empty. The importer fills in values that the other service does not have.
    """

    __tablename__ = "destination"
    __table_args__ = (
        _foreign_key("post_id", "post"),
        _foreign_key("account_id", "account"),
        UniqueConstraint("workspace_id", "post_id", "account_id"),
        enum_check("status", DestinationStatus),
        enum_check("outcome", Outcome),
        enum_check("error_category", ErrorCategory),
        _check("position", "position >= 0"),
        _check("outcome_published", "(status = 'published') = (outcome = 'published')"),
        _check("outcome_failed", "(status = 'failed') = (outcome IN ('failed', 'unknown'))"),
        _check("published_at", "(status = 'published') = (published_at IS NOT NULL)"),
        _check("platform_post_id", "status = 'published' OR platform_post_id IS NULL"),
        _check("platform_post_url", "status = 'published' OR platform_post_url IS NULL"),
        _check("error_failed", "status <> 'failed' OR error IS NOT NULL"),
        _check("error_published", "status <> 'published' OR error IS NULL"),
        _check("error_category", "(error IS NULL) = (error_category IS NULL)"),
        _check("error_code", "(error IS NULL) = (error_code IS NULL)"),
        _check(
            "next_retry_at", "next_retry_at IS NULL OR (status = 'queued' AND error IS NOT NULL)"
        ),
        _check("round_started_at", "(due_at IS NULL) = (round_started_at IS NULL)"),
        _check("attempts", "0 <= round_attempts AND round_attempts <= attempts"),
        _check("fence", "fence >= 0"),
        _check("lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
        _check("lease_publishing", "status = 'publishing' OR lease_token IS NULL"),
        _check("started_at", "lease_token IS NOT NULL OR started_at IS NULL"),
        _check(
            "claimable_at",
            "CASE WHEN claimable_at IS NULL"
            " THEN status = 'queued' OR lease_token IS NULL OR started_at IS NOT NULL"
            " WHEN status = 'queued'"
            " THEN COALESCE(claimable_at = COALESCE(next_retry_at, due_at), 1 = 0)"
            " ELSE lease_token IS NOT NULL AND started_at IS NULL"
            " AND claimable_at = lease_expires_at"
            " END",
        ),
        _check("settled_at", "(outcome = 'none') = (settled_at IS NULL)"),
        _check("verifiable_at", "(outcome = 'unknown') = (verifiable_at IS NOT NULL)"),
        _check("verification_token", "outcome = 'unknown' OR verification_token IS NULL"),
        _check("due_day", "(outcome = 'none') = (due_day IS NULL)"),
        _check("lateness_ms", "(status = 'published') = (lateness_ms IS NOT NULL)"),
        _check("failed_at", "(status = 'failed') = (failed_at IS NOT NULL)"),
        _check("failure_group", "(status = 'failed') = (failure_group IS NOT NULL)"),
        _check("is_duplicated", "status = 'published' OR NOT is_duplicated"),
        # Pages of destinations in each order; filters, newest first. The filter of
        # posts by platform: that by account is served by the unique constraint.
        Index(None, "workspace_id", "account_id", "created_at", "id"),
        Index(None, "workspace_id", "created_at", "id"),
        Index(None, "workspace_id", "due_at", "id"),
        Index(None, "workspace_id", "platform", "post_id"),
        Index(None, "workspace_id", "published_at", "id"),
        Index(None, "workspace_id", "status", "created_at", "id"),
        Index(None, "workspace_id", "updated_at", "id"),
        # Health of accounts: last publication.
        _partial_index(
            "ix_destination_account_published",
            "account_id",
            "published_at",
            where="published_at IS NOT NULL",
        ),
        # Claimable destinations; also the filter by overdue.
        _index_of_values("ix_destination_claimable", "claimable_at", "id"),
        # Filters, newest first: most destinations never have an error.
        _index_of_values("ix_destination_error_category", "error_category", "created_at", "id"),
        _index_of_values("ix_destination_error_code", "error_code", "created_at", "id"),
        # Unknown outcomes to verify.
        _index_of_values("ix_destination_verifiable", "verifiable_at", "id"),
        # Expired leases; also the filter by overdue.
        _partial_index(
            "ix_destination_leased", "lease_expires_at", "id", where="lease_token IS NOT NULL"
        ),
        _partial_index(
            "ix_destination_claimable_platform",
            "platform",
            "claimable_at",
            "id",
            where="claimable_at IS NOT NULL",
        ),
        # Filter by platform, newest first; totals by platform and status. Without post_id: SQLite without
        # statistics would read it for posts, because it covers more statements than their own indexes.
        Index("ix_destination_platform", "workspace_id", "platform", "created_at", "id", "status"),
        # Health of accounts: recent failures.
        _partial_index(
            "ix_destination_account_failed",
            "account_id",
            "settled_at",
            "status",
            "error_code",
            "error_category",
            where="error_category IS NOT NULL",
        ),
        # Queued and due destinations of accounts; health of accounts.
        _partial_index(
            "ix_destination_account_unsettled",
            "account_id",
            "status",
            "claimable_at",
            "due_at",
            "post_id",
            where="settled_at IS NULL",
        ),
        # Order and filter by next_retry_at. The primary key serves destinations without it.
        _index_of_values("ix_destination_next_retry", "next_retry_at", "id", "post_id"),
        # Pages and filters by time of failure; groups of failures, and their destinations.
        _index_of_values("ix_destination_failed", "failed_at", "id", "outcome", "post_id"),
        _index_of_values(
            "ix_destination_failure_group",
            "failure_group",
            "failed_at",
            "outcome",
            "account_id",
            "post_id",
        ),
        # Order and filter by lateness: of publications, and of destinations that wait for one.
        _index_of_values("ix_destination_lateness", "lateness_ms", "id"),
        _partial_index(
            "ix_destination_waiting",
            "due_at",
            "id",
            "claimable_at",
            "account_id",
            where="settled_at IS NULL AND due_at IS NOT NULL",
        ),
        Index(
            "ix_destination_duplicated",
            "workspace_id",
            "created_at",
            "id",
            sqlite_where=text("is_duplicated = 1"),  # as conditions of booleans are compiled there
            postgresql_where=text("is_duplicated"),
        ),
        # Statistics of outcomes: one range for each platform and span of time.
        _partial_index(
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
        _index_of_values(
            "ix_destination_post_created",
            "post_created_at",
            "created_at",
            "platform",
            "status",
            "due_at",
        ),
        # Analytics of a period: destinations of drafts, which do not count.
        _partial_index(
            "ix_destination_draft", "platform", "created_at", where="round_started_at IS NULL"
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
    error: Mapped[str | None]
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


POST_JOIN = and_(Post.workspace_id == Destination.workspace_id, Post.id == Destination.post_id)
ACCOUNT_JOIN = and_(
    Account.workspace_id == Destination.workspace_id, Account.id == Destination.account_id
)
"""Join conditions of a destination with its post and with its account."""


class Attempt(Base):
    """Publishing attempt on a platform: inserted when started or reported, finished once."""

    __tablename__ = "attempt"
    __table_args__ = (
        _foreign_key("destination_id", "destination"),
        enum_check("kind", AttemptKind),
        enum_check("outcome", Outcome),
        enum_check("category", ErrorCategory),
        _check("finished_at", "(outcome = 'none') = (finished_at IS NULL)"),
        _check("message", "(outcome IN ('failed', 'unknown')) = (message IS NOT NULL)"),
        _check("category", "(message IS NULL) = (category IS NULL)"),
        _check("code", "(message IS NULL) = (code IS NULL)"),
        # Log of a destination.
        Index(None, "workspace_id", "destination_id", "started_at", "id"),
        _partial_index(
            "uq_attempt_fence", "destination_id", "fence", where="kind = 'regular'", unique=True
        ),
        _partial_index(
            "uq_attempt_key",
            "destination_id",
            "attempt_key",
            where="kind = 'regular' AND attempt_key IS NOT NULL",
            unique=True,
        ),
        # Statistics of attempts that are counted.
        _partial_index(
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
    message: Mapped[str | None]
    http_status: Mapped[int | None]
    retry_after_ms: Mapped[int | None] = mapped_column(BigInteger)
    raw: Mapped[str | None]
    worker: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
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
        _foreign_key("destination_id", "destination"),
        _partial_index(
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


class Event(Base):
    """Change of a workspace, numbered in commit order, without gaps, by the workspace's counter."""

    __tablename__ = "event"
    __table_args__ = (
        _foreign_key("post_id", "post"),
        _foreign_key("account_id", "account"),
        _check("seq", "seq >= 1"),
        Index(None, "workspace_id", "post_id", "seq"),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    # No foreign key: a key with the scope for all workspaces belongs to one, and acts in others.
    actor_key_id: Mapped[UUID | None]
    post_id: Mapped[UUID | None]
    # No foreign key: removing an account from a post deletes the destination.
    destination_id: Mapped[UUID | None]
    account_id: Mapped[int | None]
    payload: Mapped[dict[str, Any]] = mapped_column(PortableJson)
    created_at: Mapped[datetime]
    person: Mapped[str | None]
    """Name of the person who caused the event, if the client states it."""


class IdempotencyKey(Base):
    """Outcome of an operation for a client's idempotency key, written in the transaction of its effect.

    Each operation has its own keys; their format is in `domain.idempotency`. The fingerprint of the input
    detects a key that is reused with another input. Expired rows are ignored.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (Index(None, "expires_at"),)

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    outcome: Mapped[dict[str, Any]] = mapped_column(PortableJson)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Webhook(Base):
    """Webhook endpoint, with the secret that signs its deliveries. Not used by this version.

    Deliveries exist for the workspace's events up to `fan_out_seq`, which starts at the workspace's
    `event_seq`. One transaction inserts the deliveries of later events and advances it, so that every
    event has exactly one delivery row.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        _check("consecutive_failures", "consecutive_failures >= 0"),
        _check("fan_out_seq", "fan_out_seq >= 0"),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]] = mapped_column(PortableJson)
    name: Mapped[str | None]
    description: Mapped[str | None]
    is_active: Mapped[bool]
    fan_out_seq: Mapped[int] = mapped_column(BigInteger)
    consecutive_failures: Mapped[int]
    auto_disabled_at: Mapped[datetime | None]
    last_delivery_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    last_failure_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WebhookDelivery(Base):
    """Delivery of one event to one webhook, retried until it succeeds or is given up. Not used yet.

    A delivery attempt holds a lease. Finishing the row requires the lease token, so a process that lost
    the lease cannot overwrite the result of the next one.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        _foreign_key("webhook_id", "webhook"),
        UniqueConstraint(
            "workspace_id",
            "webhook_id",
            "event_seq",
            "event_name",
            name="uq_webhook_delivery_event",
        ),
        _check("tries", "tries >= 0"),
        _check("lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
        _check(
            "next_try_at", "next_try_at IS NULL OR (delivered_at IS NULL AND given_up_at IS NULL)"
        ),
        _index_of_values("ix_webhook_delivery_due", "next_try_at", "workspace_id", "id"),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    webhook_id: Mapped[UUID]
    event_seq: Mapped[int] = mapped_column(BigInteger)
    event_name: Mapped[str]
    body: Mapped[str]
    tries: Mapped[int]
    next_try_at: Mapped[datetime | None]
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class WebhookDeliveryAttempt(Base):
    """One HTTP request of a delivery, with its response. Not used yet."""

    __tablename__ = "webhook_delivery_try"
    __table_args__ = (_foreign_key("delivery_id", "webhook_delivery"),)

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    http_status: Mapped[int | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int]
    tried_at: Mapped[datetime]
