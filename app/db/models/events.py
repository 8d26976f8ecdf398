"""Table of the change feed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db.core.types import PortableJson
from app.db.models.base import Base, check, foreign_key


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
