"""Indexes with the columns that decide filters by status and error."""

from alembic import op

revision = "0010"
down_revision = "0009"

_STATEMENTS = (
    "DROP INDEX ix_destination_workspace_id_due_at_id",
    "DROP INDEX ix_destination_failed",
    "DROP INDEX ix_destination_error_category",
    "DROP INDEX ix_destination_waiting",
    "DROP INDEX ix_destination_account_failed",
    "CREATE INDEX ix_destination_due"
    " ON destination (workspace_id, due_at, id, status, error_category)",
    "CREATE INDEX ix_destination_failed"
    " ON destination (workspace_id, failed_at, id, outcome, post_id, error_category, error_code)"
    " WHERE failed_at IS NOT NULL",
    "CREATE INDEX ix_destination_error_category"
    " ON destination (workspace_id, error_category, created_at, id, error_code)"
    " WHERE error_category IS NOT NULL",
    # The same again, because SQLite prefers the later one of equal indexes.
    "CREATE INDEX ix_destination_waiting"
    " ON destination (workspace_id, due_at, id, claimable_at, account_id)"
    " WHERE settled_at IS NULL AND due_at IS NOT NULL",
    "CREATE INDEX ix_destination_account_failed"
    " ON destination (workspace_id, account_id, settled_at, status, error_code, error_category)"
    " WHERE error_category IS NOT NULL",
)


def upgrade() -> None:
    """Replace the indexes."""
    for statement in _STATEMENTS:
        op.execute(statement)
