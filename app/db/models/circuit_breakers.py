"""Tables of circuit breakers: of accounts, and of the servers that accounts of all workspaces share."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import enum_check
from app.db.models.base import Base, check, foreign_key, partial_index
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import ServerFailure

_CHECKS = (
    ("failures", "failures >= 0 AND failed_probes >= 0"),
    ("failing_since", "(failures = 0) = (failing_since IS NULL)"),
    ("last_failed_at", "(failures = 0) = (last_failed_at IS NULL)"),
    ("is_open", "NOT is_open OR (failures > 0 AND open_until IS NOT NULL)"),
)


class AccountBreaker(Base):
    """Circuit breaker of an account that a worker has published on, and the server that it called last.

    The first six columns after the key are those of `domain.circuit_breakers.Breaker`.
    """

    __tablename__ = "account_breaker"
    __table_args__ = (
        foreign_key("account_id", "account"),
        enum_check("publisher", AccountPublisher),
        enum_check("failure", ServerFailure),
        *(check(*each) for each in _CHECKS),
        # Accounts on a server.
        partial_index(
            "ix_account_breaker_origin",
            "publisher",
            "origin",
            "workspace_id",
            where="origin IS NOT NULL",
        ),
        # Failing accounts: those on a server, those with an open breaker, and those to prune.
        partial_index("ix_account_breaker_failing", "account_id", where="failures > 0"),
        # Accounts that renew their access on a server.
        partial_index(
            "ix_account_breaker_login_origin",
            "publisher",
            "login_origin",
            "workspace_id",
            where="login_origin IS NOT NULL",
        ),
    )

    workspace_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    failures: Mapped[int]
    failing_since: Mapped[datetime | None]
    last_failed_at: Mapped[datetime | None]
    is_open: Mapped[bool]
    open_until: Mapped[datetime | None]
    failed_probes: Mapped[int]
    publisher: Mapped[AccountPublisher]
    origin: Mapped[str | None]
    """Server of the last call; NULL for a publisher of the user's own."""
    login_origin: Mapped[str | None]
    """Server that renewed the access of the account last; NULL if no other one did."""
    failure: Mapped[ServerFailure | None]
    """Way in which the last failed call failed."""
    worker: Mapped[str | None]
    """Worker whose call failed last."""
    is_of_several_workers: Mapped[bool]
    """True if the last failures in a row, those in the same way, are those of several workers."""


class ServerBreaker(Base):
    """Circuit breaker of a server that accounts of all workspaces share; has no data of a workspace.

    Statements inside a workspace may read it. The first six columns after the key are those
    of `domain.circuit_breakers.Breaker`.
    """

    __tablename__ = "server_breaker"
    __table_args__ = (
        enum_check("publisher", AccountPublisher),
        *(check(*each) for each in _CHECKS),
    )

    publisher: Mapped[AccountPublisher] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    failing_since: Mapped[datetime | None]
    last_failed_at: Mapped[datetime | None]
    is_open: Mapped[bool]
    open_until: Mapped[datetime | None]
    failed_probes: Mapped[int]
    answered_at: Mapped[datetime | None]
    """Time of an answer while the calls of some accounts failed."""


class LiveWorker(Base):
    """Worker process, and the time at which it last reported to run."""

    __tablename__ = "live_worker"
    __table_args__ = (check("name", "name <> ''"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
