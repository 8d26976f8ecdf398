"""Number of rounds of a destination that a forced retry began."""

from alembic import op

from app.db.migrations.sqlite_schema import add_checks

revision = "0022"
down_revision = "0021"

_CHECK_NAME = "ck_destination_forced_rounds"
_CHECK = "0 <= forced_rounds AND forced_rounds <= attempts"


def upgrade() -> None:
    """Add the column, with its check."""
    op.execute("ALTER TABLE destination ADD COLUMN forced_rounds INTEGER DEFAULT 0 NOT NULL")
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        add_checks(connection, "destination", {_CHECK_NAME: _CHECK})
    else:
        op.create_check_constraint(_CHECK_NAME, "destination", _CHECK)
