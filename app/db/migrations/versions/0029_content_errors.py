"""Waiting destinations whose content does not fit their platform."""

import sqlalchemy as sa
from alembic import op

from app.db.migrations.sqlite_schema import add_checks

revision = "0029"
down_revision = "0028"

_CHECK_NAME = "ck_destination_content_error"
_CHECK = "content_error IS NULL OR (status = 'queued' AND claimable_at IS NOT NULL)"


def upgrade() -> None:
    """Add the columns and the index. The first server that starts checks the waiting destinations."""
    op.add_column("destination", sa.Column("content_error", sa.Text()))
    op.add_column(
        "deployment",
        sa.Column(
            "content_schema_version", sa.SmallInteger(), server_default=sa.text("0"), nullable=False
        ),
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        add_checks(connection, "destination", {_CHECK_NAME: _CHECK})
    else:
        op.create_check_constraint(_CHECK_NAME, "destination", _CHECK)
    condition = sa.text("content_error IS NOT NULL")
    op.create_index(
        "ix_destination_content_error",
        "destination",
        ["workspace_id", "created_at", "id", "account_id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
