"""Columns and indexes for statistics of outcomes and attempts, for analytics, and for the calendar."""

from alembic import op

revision = "0009"
down_revision = "0008"

_STATEMENTS = (
    "DROP INDEX ix_destination_workspace_id_due_day_platform_status_lateness_ms",
    "UPDATE destination SET post_created_at ="
    " (SELECT post.created_at FROM post WHERE post.workspace_id = destination.workspace_id"
    " AND post.id = destination.post_id)"
    " WHERE created_at <> (SELECT post.created_at FROM post"
    " WHERE post.workspace_id = destination.workspace_id AND post.id = destination.post_id)",
    "UPDATE attempt SET account_id = destination.account_id, platform = destination.platform"
    " FROM destination WHERE destination.workspace_id = attempt.workspace_id"
    " AND destination.id = attempt.destination_id",
    "CREATE INDEX ix_post_calendar"
    " ON post (workspace_id, coalesce(scheduled_for, created_at), id, status)"
    " WHERE deleted_at IS NULL",
    "CREATE INDEX ix_destination_settled"
    " ON destination (workspace_id, platform, settled_at, outcome, attempts, lateness_ms,"
    " error_category, account_id) WHERE settled_at IS NOT NULL",
    "CREATE INDEX ix_destination_post_created"
    " ON destination (workspace_id, post_created_at, created_at, platform, status, due_at)"
    " WHERE post_created_at IS NOT NULL",
    "CREATE INDEX ix_destination_draft"
    " ON destination (workspace_id, platform, created_at) WHERE round_started_at IS NULL",
    "CREATE INDEX ix_attempt_started"
    " ON attempt (workspace_id, platform, started_at, account_id, category) WHERE number IS NOT NULL",
)


def upgrade() -> None:
    """Add columns with their values, and replace indexes."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    instant = "DATETIME" if is_sqlite else "TIMESTAMP WITH TIME ZONE"
    op.execute(f"ALTER TABLE destination ADD COLUMN post_created_at {instant}")
    op.execute("ALTER TABLE attempt ADD COLUMN account_id INTEGER")
    op.execute("ALTER TABLE attempt ADD COLUMN platform TEXT")
    for statement in _STATEMENTS:
        op.execute(statement)
