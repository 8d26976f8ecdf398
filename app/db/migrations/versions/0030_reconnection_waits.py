"""What happens to queued posts of accounts that lost their access, and what waits after a reconnection."""

import sqlalchemy as sa
from alembic import op

from app.db.core.types import UtcDateTime
from app.db.migrations.sqlite_schema import add_checks

revision = "0030"
down_revision = "0029"

_CHECK_NAME = "ck_account_on_lost_access_word"
_CHECK = "on_lost_access IN ('fail', 'wait')"


def upgrade() -> None:
    """Add both columns of accounts, with the check of the first."""
    connection = op.get_bind()
    op.add_column(
        "account",
        sa.Column("on_lost_access", sa.String(32), server_default="fail", nullable=False),
    )
    op.add_column("account", sa.Column("held_until", UtcDateTime()))
    if connection.dialect.name == "sqlite":
        add_checks(connection, "account", {_CHECK_NAME: _CHECK})
    else:
        op.create_check_constraint(op.f(_CHECK_NAME), "account", _CHECK)
