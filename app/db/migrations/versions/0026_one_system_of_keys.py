"""Keys of workers instead of canaries, and indexes of the keys of rows. No encrypted data change."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import UtcDateTime

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Create the table and the indexes, rename the columns of encrypted data, and drop the canaries."""
    for table in ("credential", "checkpoint"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN sealed TO ciphertext")
    op.create_index("ix_credential_workspace_id_key_id", "credential", ["workspace_id", "key_id"])
    op.create_index("ix_checkpoint_key_id", "checkpoint", ["key_id"])
    op.create_table(
        "worker_key",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_worker_key"),
        sa.CheckConstraint("key_id <> ''", name="ck_worker_key_key_id"),
    )
    op.drop_table("credential_canary")
