"""Sessions of the board."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import PortableJson, PortableUuid, UtcDateTime

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "session",
        sa.Column("workspace_id", PortableUuid(), nullable=False),
        sa.Column("id", PortableUuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("api_key_id", PortableUuid(), nullable=False),
        sa.Column("person", sa.Text()),
        sa.Column("scopes", PortableJson, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_session"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "api_key_id"],
            ["api_key.workspace_id", "api_key.id"],
            name="fk_session_workspace_id_api_key_id",
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_session_workspace_id"),
        sa.UniqueConstraint("digest", name="uq_session_digest"),
    )
    op.create_index("ix_session_expires_at", "session", ["expires_at"])
