"""Base of the tables: types, naming of constraints, and constraints inside one workspace."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Text,
    TextClause,
    text,
)
from sqlalchemy.orm import DeclarativeBase

from app.db.core.types import PortableUuid, StrEnumType, UtcDateTime
from app.domain.accounts import AccountPublisher, LostAccessPolicy
from app.domain.attempts import AttemptKind
from app.domain.circuit_breakers import ServerFailure
from app.domain.destinations import DestinationStatus, ErrorCategory, Outcome
from app.domain.ids import WorkspaceKind
from app.domain.posts import PostStatus
from app.domain.webhooks.endpoints import DisabledReason
from app.domain.webhooks.event_types import WebhookEventType


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
        AccountPublisher: StrEnumType(AccountPublisher),
        LostAccessPolicy: StrEnumType(LostAccessPolicy),
        AttemptKind: StrEnumType(AttemptKind),
        ServerFailure: StrEnumType(ServerFailure),
        WorkspaceKind: StrEnumType(WorkspaceKind),
        WebhookEventType: StrEnumType(WebhookEventType),
        DisabledReason: StrEnumType(DisabledReason),
    }


def check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def foreign_key(column: str, table: str) -> ForeignKeyConstraint:
    """Return a foreign key inside one workspace: both keys start with the workspace."""
    return ForeignKeyConstraint(["workspace_id", column], [f"{table}.workspace_id", f"{table}.id"])


def partial_index(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """Return a partial index; its columns start with `workspace_id` unless they include it elsewhere."""
    if "workspace_id" not in columns:
        columns = ("workspace_id", *columns)
    condition = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def index_of_values(name: str, column: str, *others: str) -> Index:
    """Return a partial index of the rows in which its first column is not NULL."""
    return partial_index(name, column, *others, where=f"{column} IS NOT NULL")
