"""Tables of the change feed and of webhooks."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import PortableJson
from app.db.models.base import Base, check, foreign_key, index_of_values


class Event(Base):
    """Change of a workspace, numbered in commit order, without gaps, by the workspace's counter."""

    __tablename__ = "event"
    __table_args__ = (
        foreign_key("post_id", "post"),
        foreign_key("account_id", "account"),
        check("seq", "seq >= 1"),
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


class Webhook(Base):
    """Webhook endpoint, with the secret that signs its deliveries. Not used by this version.

    Deliveries exist for the workspace's events up to `fan_out_seq`, which starts at the workspace's
    `event_seq`. One transaction inserts the deliveries of later events and advances it, so that every
    event has exactly one delivery row.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        check("consecutive_failures", "consecutive_failures >= 0"),
        check("fan_out_seq", "fan_out_seq >= 0"),
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
        foreign_key("webhook_id", "webhook"),
        UniqueConstraint(
            "workspace_id",
            "webhook_id",
            "event_seq",
            "event_name",
            name="uq_webhook_delivery_event",
        ),
        check("tries", "tries >= 0"),
        check("lease", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
        check(
            "next_try_at", "next_try_at IS NULL OR (delivered_at IS NULL AND given_up_at IS NULL)"
        ),
        index_of_values("ix_webhook_delivery_due", "next_try_at", "workspace_id", "id"),
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
    __table_args__ = (foreign_key("delivery_id", "webhook_delivery"),)

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    http_status: Mapped[int | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int]
    tried_at: Mapped[datetime]
