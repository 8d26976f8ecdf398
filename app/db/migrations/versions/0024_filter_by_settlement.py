"""Index for the filter of destinations by the time of their outcome."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Create the index."""
    op.execute(
        "CREATE INDEX ix_destination_settled_at ON destination (workspace_id, settled_at, id)"
        " WHERE settled_at IS NOT NULL"
    )
