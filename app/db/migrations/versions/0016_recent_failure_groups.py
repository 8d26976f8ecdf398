"""Index of failures with the columns of their groups."""

from alembic import op

revision = "0016"
down_revision = "0015"

_STATEMENTS = (
    "DROP INDEX ix_destination_failed",
    "CREATE INDEX ix_destination_failed ON destination (workspace_id, failed_at, id, outcome, post_id,"
    " error_category, error_code, failure_group, account_id) WHERE failed_at IS NOT NULL",
)


def upgrade() -> None:
    """Replace the index."""
    for statement in _STATEMENTS:
        op.execute(statement)
