"""Checks for a second publication of a destination."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableUuid, UtcDateTime

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Create the table. Destinations that are published already are not checked."""
    op.create_table(
        "duplicate_check",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("destination_id", PortableUuid(), nullable=False),
        sa.Column("post_id", PortableUuid(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("check_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "destination_id", name="pk_duplicate_check"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "destination_id"],
            ["destination.workspace_id", "destination.id"],
            name="fk_duplicate_check_workspace_id_destination_id",
        ),
        sa.CheckConstraint("attempts >= 0", name="ck_duplicate_check_attempts"),
    )
    op.create_index("ix_duplicate_check_check_at", "duplicate_check", ["check_at"])
