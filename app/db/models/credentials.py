"""Tables of encrypted data: credentials of accounts, checkpoints of destinations, and the keys of workers."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, check, foreign_key, partial_index


class AccountCredentials(Base):
    """Encrypted credentials of one account.

    `version` counts the values. One process at a time requests new ones from the platform, until
    `refresh_until`; `refresh_fence` is the number of its request.

    A worker verifies them at `verify_at`, which is also the end of the lease of a verification. It is NULL
    once the platform has accepted or refused them.
    """

    __tablename__ = "credential"
    __table_args__ = (
        foreign_key("account_id", "account"),
        check("version", "version >= 1"),
        check("refresh_fence", "refresh_fence >= 0"),
        check("verify_attempts", "verify_attempts >= 0"),
        check("verified", "verified_at IS NULL OR verify_error IS NULL"),
        # Credentials to verify, of all workspaces.
        partial_index(
            "ix_credential_verify_at",
            "verify_at",
            "workspace_id",
            "account_id",
            where="verify_at IS NOT NULL",
        ),
        # Credentials whose key a worker lacks.
        Index(None, "workspace_id", "key_id"),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    key_id: Mapped[str]
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    version: Mapped[int]
    set_at: Mapped[datetime]
    """Time at which a client set them; requests to the platform do not change it."""
    refresh_until: Mapped[datetime | None]
    refresh_fence: Mapped[int]
    refresh_budget_full_at: Mapped[datetime | None]
    """Time at which the budget of `domain.credentials.refresh_wait` is full again; NULL before its use."""
    verified_at: Mapped[datetime | None]
    """Time at which the platform accepted them."""
    verify_at: Mapped[datetime | None]
    verify_attempts: Mapped[int] = mapped_column(server_default="0")
    """Verifications since they were set."""
    verify_error: Mapped[str | None]
    """Reason why the last verification did not accept them."""


class DestinationCheckpoint(Base):
    """Encrypted data that an attempt has stored for the next attempt of its destination."""

    __tablename__ = "checkpoint"
    __table_args__ = (
        foreign_key("destination_id", "destination"),
        # Checkpoints to prune.
        Index(None, "updated_at"),
        # Numbers of checkpoints by key.
        Index(None, "key_id"),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    destination_id: Mapped[UUID] = mapped_column(primary_key=True)
    key_id: Mapped[str]
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime]


class WorkerKey(Base):
    """Key of SECRETS_KEY that a worker has, and the time at which one last reported to run with it."""

    __tablename__ = "worker_key"
    __table_args__ = (check("key_id", "key_id <> ''"),)

    key_id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
