"""Tables of a deployment and its workspaces: keys, sessions, accounts, stored results of requests."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import PortableJson, enum_check
from app.db.models.base import Base, check, foreign_key
from app.domain.accounts import AccountPublisher, LostAccessPolicy
from app.domain.ids import WorkspaceKind


class Deployment(Base):
    """The installation: one row, shared by all processes."""

    __tablename__ = "deployment"
    __table_args__ = (check("single_row", "id = 1"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    secret_key: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    webhooks_polled_at: Mapped[datetime | None]
    """Time at which a process last looked for deliveries of webhooks, with an error of some seconds."""
    content_schema_version: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Version of the content schemas by which the waiting destinations were checked; 0 after an upgrade."""


class Workspace(Base):
    """Tenant, with the counters for event sequence numbers and account ids."""

    __tablename__ = "workspace"
    __table_args__ = (
        enum_check("kind", WorkspaceKind),
        check("mirror_of", "(kind = 'mirror') = (mirror_of IS NOT NULL)"),
        check("event_seq", "event_seq >= 0"),
        check("next_account_id", "next_account_id >= 1"),
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


class Session(Base):
    """Sign-in of a person with an API key on the board; it also ends with its key.

    Only the SHA-256 digest of the secret in its cookie is stored, which is looked up in all workspaces.
    `scopes` are at most those of the key. Each recorded use postpones `expires_at`.
    """

    __tablename__ = "session"
    __table_args__ = (
        foreign_key("api_key_id", "api_key"),
        UniqueConstraint("digest"),
        Index(None, "expires_at"),
    )

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    api_key_id: Mapped[UUID]
    person: Mapped[str | None]
    scopes: Mapped[list[str]] = mapped_column(PortableJson)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Account(Base):
    """Account on a platform; its credentials are in a table of their own.

    Its destinations have a copy of `publisher`: the unique index is the target of their foreign key. An
    account known only from imported posts is inactive; its times are those of the first such post.
    """

    __tablename__ = "account"
    __table_args__ = (
        check("id", "id >= 1"),
        enum_check("publisher", AccountPublisher),
        enum_check("on_lost_access", LostAccessPolicy),
        Index("ix_account_publisher", "workspace_id", "id", "publisher", unique=True),
    )

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
    publisher: Mapped[AccountPublisher] = mapped_column(server_default=AccountPublisher.EXTERNAL)
    on_lost_access: Mapped[LostAccessPolicy] = mapped_column(server_default=LostAccessPolicy.FAIL)
    held_until: Mapped[datetime | None]


class AccountPause(Base):
    """Account whose posts wait, because a rate limit of its platform is used up."""

    __tablename__ = "account_pause"
    __table_args__ = (foreign_key("account_id", "account"), Index(None, "paused_until"))

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    paused_until: Mapped[datetime]


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
