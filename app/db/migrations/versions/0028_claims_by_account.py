"""Index for claims of the destinations of each account."""

from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Create the index."""
    op.execute(
        "CREATE INDEX ix_destination_account_claimable"
        " ON destination (workspace_id, account_id, claimable_at, id)"
        " WHERE claimable_at IS NOT NULL"
    )
