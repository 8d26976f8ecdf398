"""Allow the publishers Threads and Instagram."""

from alembic import op

from app.db.migrations import SchemaMismatch
from app.db.migrations.sqlite_schema import edit_create_table

revision = "0019"
down_revision = "0018"

_OLD_PUBLISHERS = "('external', 'sandbox', 'bluesky', 'mastodon', 'webhook')"
_NEW_PUBLISHERS = (
    "('external', 'sandbox', 'bluesky', 'mastodon', 'webhook', 'threads', 'instagram')"
)
_CHECK_NAME = "ck_account_publisher_word"


def upgrade() -> None:
    """Replace the CHECK of the column `publisher`, which no stored row can violate.

    Raises SchemaMismatch if the CHECK has another text.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint(_CHECK_NAME, "account")
        op.create_check_constraint(_CHECK_NAME, "account", f"publisher IN {_NEW_PUBLISHERS}")
    elif not edit_create_table(connection, "account", _replace_publishers):
        raise SchemaMismatch(
            f"The table account has no CHECK of publisher with the text {_OLD_PUBLISHERS}: another program"
            " has changed it. Restore a backup."
        )


def _replace_publishers(sql: str) -> str | None:
    return sql.replace(_OLD_PUBLISHERS, _NEW_PUBLISHERS) if _OLD_PUBLISHERS in sql else None
