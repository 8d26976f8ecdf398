"""Background checks of media, and their warnings."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableUuid, UtcDateTime

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Create the tables, and add the columns and the index of destinations."""
    op.create_table(
        "media_check",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("post_id", PortableUuid(), nullable=False),
        sa.Column("check_at", UtcDateTime()),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("checked_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("workspace_id", "post_id", name="pk_media_check"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "post_id"],
            ["post.workspace_id", "post.id"],
            name="fk_media_check_workspace_id_post_id",
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_media_check_attempts")),
    )
    op.execute(
        "CREATE INDEX ix_media_check_due ON media_check (workspace_id, check_at, post_id)"
        " WHERE check_at IS NOT NULL"
    )
    op.create_table(
        "media_check_usage",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_media_check_usage"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name="fk_media_check_usage_workspace_id"
        ),
        sa.CheckConstraint("byte_count >= 0", name=op.f("ck_media_check_usage_byte_count")),
    )
    op.add_column("destination", sa.Column("media_warning", sa.Text()))
    op.add_column("destination", sa.Column("media_warning_code", sa.Text()))
    op.execute(
        "CREATE INDEX ix_destination_media_warning"
        " ON destination (workspace_id, created_at, id, settled_at)"
        " WHERE media_warning IS NOT NULL"
    )
