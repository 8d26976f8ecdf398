"""Indexes that sort the destinations of a range of due times or updates without the table."""

from alembic import op

revision = "0013"
down_revision = "0012"

_STATEMENTS = (
    "DROP INDEX ix_destination_due",
    "DROP INDEX ix_destination_workspace_id_updated_at_id",
    "DROP INDEX ix_destination_waiting",
    "CREATE INDEX ix_destination_due ON destination (workspace_id, due_at, id, status, error_category,"
    " created_at, failed_at, post_id) WHERE due_at IS NOT NULL",
    "CREATE INDEX ix_destination_undated ON destination (workspace_id, due_at, id, status, error_category)"
    " WHERE due_at IS NULL",
    "CREATE INDEX ix_destination_updated ON destination (workspace_id, updated_at, id, status,"
    " created_at, failed_at, post_id) WHERE updated_at IS NOT NULL",
    # The same again, because SQLite prefers the later one of equal indexes.
    "CREATE INDEX ix_destination_waiting"
    " ON destination (workspace_id, due_at, id, claimable_at, account_id)"
    " WHERE settled_at IS NULL AND due_at IS NOT NULL",
)


def upgrade() -> None:
    """Replace the indexes."""
    for statement in _STATEMENTS:
        op.execute(statement)
