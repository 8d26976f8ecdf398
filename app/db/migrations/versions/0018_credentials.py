"""Encrypted credentials of accounts, checkpoints of destinations, and canaries of the keys."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableUuid, UtcDateTime

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "credential",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.Column("refresh_until", UtcDateTime()),
        sa.Column("refresh_fence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "account_id", name="pk_credential"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "account_id"],
            ["account.workspace_id", "account.id"],
            name="fk_credential_workspace_id_account_id",
        ),
        sa.CheckConstraint("version >= 1", name="ck_credential_version"),
        sa.CheckConstraint("refresh_fence >= 0", name="ck_credential_refresh_fence"),
    )
    op.create_table(
        "checkpoint",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("destination_id", PortableUuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "destination_id", name="pk_checkpoint"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "destination_id"],
            ["destination.workspace_id", "destination.id"],
            name="fk_checkpoint_workspace_id_destination_id",
        ),
    )
    op.create_index("ix_checkpoint_updated_at", "checkpoint", ["updated_at"])
    op.create_table(
        "credential_canary",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_credential_canary"),
        sa.CheckConstraint("key_id <> ''", name="ck_credential_canary_key_id"),
    )
