"""Indexes for totals, for the health of accounts, and for the search of posts."""

from alembic import op

from app.db.migrations.search_index import create_search_index

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    "DROP INDEX ix_destination_account_failed",
    "DROP INDEX ix_destination_account_unsettled",
    "CREATE INDEX ix_post_deleted ON post (workspace_id, id) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX ix_destination_platform"
    " ON destination (workspace_id, platform, created_at, id, status)",
    "CREATE INDEX ix_destination_account_failed"
    " ON destination (workspace_id, account_id, settled_at, status, error_code, error_category)"
    " WHERE error_category IS NOT NULL",
    "CREATE INDEX ix_destination_account_unsettled"
    " ON destination (workspace_id, account_id, status, claimable_at, due_at, post_id)"
    " WHERE settled_at IS NULL",
)


def upgrade() -> None:
    """Replace indexes, and create the search index. No row changes."""
    for statement in _STATEMENTS:
        op.execute(statement)
    create_search_index(op.get_bind())
