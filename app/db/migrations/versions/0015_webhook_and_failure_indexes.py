"""Indexes of active webhooks for polls, and of failures with the columns of their groups."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the first index, and replace the second."""
    op.create_index(
        "ix_webhook_active",
        "webhook",
        ["workspace_id", "id"],
        sqlite_where=sa.text("is_active = 1"),
        postgresql_where=sa.text("is_active"),
    )
    op.execute("DROP INDEX ix_destination_failed")
    op.execute(
        "CREATE INDEX ix_destination_failed ON destination (workspace_id, failed_at, id, outcome, post_id,"
        " error_category, error_code, failure_group, account_id) WHERE failed_at IS NOT NULL"
    )
