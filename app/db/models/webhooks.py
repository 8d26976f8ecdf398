"""Tables of webhooks: endpoints, deliveries and their attempts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import LongText, PortableJson, enum_check
from app.db.models.base import Base, check, foreign_key, index_of_values, partial_index
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType


class Webhook(Base):
    """Webhook endpoint, with the encrypted secrets that sign its deliveries.

    Deliveries exist for the workspace's events up to `feed_seq`. One transaction inserts the deliveries of
    later events and advances it, so that each event has one delivery to each endpoint that wants it.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        check("feed_seq", "feed_seq >= 0"),
        check("consecutive_failures", "consecutive_failures >= 0"),
        check("failing_since", "(failing_since IS NULL) = (consecutive_failures = 0)"),
        enum_check("disabled_reason", DisabledReason),
        check("disabled_reason", "(disabled_reason IS NULL) = (auto_disabled_at IS NULL)"),
        check("auto_disabled_at", "auto_disabled_at IS NULL OR NOT is_active"),
        check("deleted_at", "deleted_at IS NULL OR NOT is_active"),
        check(
            "previous_secret",
            "(encrypted_previous_secret IS NULL) = (previous_secret_expires_at IS NULL)",
        ),
        # Polls of all workspaces; a deleted webhook is not active.
        Index(
            "ix_webhook_active",
            "workspace_id",
            "id",
            sqlite_where=text("is_active = 1"),  # as conditions of booleans are compiled there
            postgresql_where=text("is_active"),
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(PortableJson)
    platforms: Mapped[list[str]] = mapped_column(PortableJson)
    account_ids: Mapped[list[int]] = mapped_column(PortableJson)
    name: Mapped[str | None]
    description: Mapped[str | None]
    encrypted_secret: Mapped[str]
    encrypted_previous_secret: Mapped[str | None]
    previous_secret_expires_at: Mapped[datetime | None]
    is_active: Mapped[bool]
    feed_seq: Mapped[int] = mapped_column(BigInteger)
    consecutive_failures: Mapped[int]
    failing_since: Mapped[datetime | None]
    disabled_reason: Mapped[DisabledReason | None]
    auto_disabled_at: Mapped[datetime | None]
    last_delivery_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    last_failure_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WebhookDelivery(Base):
    """Delivery of one event to one endpoint, attempted until it succeeds or is given up.

    A process that attempts it holds a lease, which ends at `next_attempt_at`. Storing a result requires the
    lease token, so a process that lost the lease cannot overwrite the result of the next one.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        foreign_key("webhook_id", "webhook"),
        UniqueConstraint(
            "workspace_id", "webhook_id", "event_seq", name="uq_webhook_delivery_event"
        ),
        check("attempts", "round_attempts >= 0 AND attempts >= round_attempts"),
        check(
            "status",
            "(CASE WHEN next_attempt_at IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN delivered_at IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN given_up_at IS NULL THEN 0 ELSE 1 END) = 1",
        ),
        check("lease", "lease_token IS NULL OR next_attempt_at IS NOT NULL"),
        partial_index(
            "ix_webhook_delivery_due",
            "webhook_id",
            "next_attempt_at",
            "event_seq",
            where="next_attempt_at IS NOT NULL",
        ),
        partial_index(
            "ix_webhook_delivery_given_up",
            "webhook_id",
            "event_seq",
            where="given_up_at IS NOT NULL",
        ),
        index_of_values("ix_webhook_delivery_post", "post_id", "event_seq"),
        Index("ix_webhook_delivery_created_at", "created_at"),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    webhook_id: Mapped[UUID]
    event_seq: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[WebhookEventType]
    event_id: Mapped[UUID]
    post_id: Mapped[UUID | None]
    """No foreign key, as for the attempts: rows are only written for posts that exist."""
    body: Mapped[str] = mapped_column(LongText)
    """JSON that is sent, the same at each attempt."""
    attempts: Mapped[int]
    round_attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]
    lease_token: Mapped[UUID | None]
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class WebhookDeliveryAttempt(Base):
    """One request of a delivery, with the start of the receiver's response."""

    __tablename__ = "webhook_delivery_attempt"
    __table_args__ = (foreign_key("delivery_id", "webhook_delivery"),)

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime]
    duration_ms: Mapped[int]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    response_body: Mapped[str | None] = mapped_column(LongText)
