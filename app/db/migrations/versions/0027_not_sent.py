"""Mark of failures after which the post was certainly not sent."""

import sqlalchemy as sa
from alembic import op

from app.db.migrations.sqlite_schema import add_checks

revision = "0027"
down_revision = "0026"

_CATEGORY_COLUMNS = {"attempt": "category", "destination": "error_category"}


def upgrade() -> None:
    """Add the column to both tables, with its check."""
    connection = op.get_bind()
    for table, category in _CATEGORY_COLUMNS.items():
        op.add_column(
            table, sa.Column("not_sent", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        name = f"ck_{table}_not_sent"
        check = (
            "NOT not_sent OR"
            f" COALESCE({category} IN ('transient', 'rate_limited', 'unclassified'), 1 = 0)"
        )
        if connection.dialect.name == "sqlite":
            add_checks(connection, table, {name: check})
        else:
            op.create_check_constraint(name, table, check)
