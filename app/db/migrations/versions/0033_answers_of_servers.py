"""Answers of servers while calls of some accounts fail, and the servers that renew the access of accounts."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import UtcDateTime

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Add the columns, and the index of accounts."""
    op.add_column("server_breaker", sa.Column("answered_at", UtcDateTime()))
    op.add_column("account_breaker", sa.Column("login_origin", sa.Text()))
    op.execute(
        "CREATE INDEX ix_account_breaker_login_origin"
        " ON account_breaker (publisher, login_origin, workspace_id) WHERE login_origin IS NOT NULL"
    )
