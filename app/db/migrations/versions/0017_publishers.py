"""What publishes the posts of an account, copied to its destinations for claims."""

import re

from alembic import op

from app.db.migrations import SchemaMismatch
from app.db.migrations.sqlite_schema import add_checks, edit_create_table

revision = "0017"
down_revision = "0016"

_STATEMENTS = (
    "ALTER TABLE account ADD COLUMN publisher VARCHAR(32) DEFAULT 'external' NOT NULL",
    "ALTER TABLE destination ADD COLUMN publisher VARCHAR(32) DEFAULT 'external' NOT NULL",
    # Only the worker has the sandbox, so it has published these accounts.
    "UPDATE account SET publisher = 'sandbox' WHERE platform = 'sandbox'",
    "UPDATE destination SET publisher = account.publisher FROM account"
    " WHERE account.workspace_id = destination.workspace_id AND account.id = destination.account_id"
    " AND account.publisher <> 'external'",
    "CREATE UNIQUE INDEX ix_account_publisher ON account (workspace_id, id, publisher)",
    "DROP INDEX ix_destination_claimable_platform",
    "CREATE INDEX ix_destination_claimable_publisher"
    " ON destination (workspace_id, publisher, claimable_at, id) WHERE claimable_at IS NOT NULL",
    "CREATE INDEX ix_destination_claimable_platform"
    " ON destination (workspace_id, publisher, platform, claimable_at, id)"
    " WHERE claimable_at IS NOT NULL",
)
_CHECK_NAME = "ck_account_publisher_word"
_CHECK = "publisher IN ('external', 'sandbox', 'bluesky', 'mastodon', 'webhook')"

_OLD_KEY = "fk_destination_workspace_id_account_id"
_OLD_KEY_PATTERN = re.compile(
    rf"CONSTRAINT {_OLD_KEY} FOREIGN\s+KEY\s*\(workspace_id,\s+account_id\)\s+REFERENCES\s+account"
    r"\s+\(workspace_id,\s+id\)"
)
_NEW_KEY = (
    f"CONSTRAINT {_OLD_KEY}_publisher FOREIGN KEY(workspace_id, account_id, publisher)"
    " REFERENCES account (workspace_id, id, publisher) ON UPDATE CASCADE"
)


def upgrade() -> None:
    """Add the columns and indexes, and replace the foreign key of destinations.

    Raises SchemaMismatch if the foreign key has another text.
    """
    for statement in _STATEMENTS:
        op.execute(statement)
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.create_check_constraint(_CHECK_NAME, "account", _CHECK)
        op.drop_constraint(_OLD_KEY, "destination")
        op.execute(f"ALTER TABLE destination ADD {_NEW_KEY}")
        return
    add_checks(connection, "account", {_CHECK_NAME: _CHECK})
    if not edit_create_table(connection, "destination", _replace_foreign_key):
        raise SchemaMismatch(
            f"The table destination has no foreign key {_OLD_KEY}: another program has changed it. Restore a"
            " backup."
        )


def _replace_foreign_key(sql: str) -> str | None:
    replaced, count = _OLD_KEY_PATTERN.subn(_NEW_KEY, sql)
    return replaced if count else None
