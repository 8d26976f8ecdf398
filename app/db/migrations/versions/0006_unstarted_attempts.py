"""Allow attempts that were published without a start."""

from alembic import op

from app.db.migrations import SchemaMismatch
from app.db.migrations.sqlite_schema import edit_create_table

revision = "0006"
down_revision = "0005"

_OLD_KINDS = "('regular', 'late')"
_NEW_KINDS = "('regular', 'late', 'unstarted')"


def upgrade() -> None:
    """Replace the CHECK of the column `kind`, which no stored row can violate.

    Raises SchemaMismatch if the CHECK has another text.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint("ck_attempt_kind_word", "attempt")
        op.create_check_constraint("ck_attempt_kind_word", "attempt", f"kind IN {_NEW_KINDS}")
    elif not edit_create_table(connection, "attempt", _replace_kinds):
        raise SchemaMismatch(
            f"The table attempt has no CHECK of kind with the text {_OLD_KINDS}: another program has changed"
            " it. Restore a backup."
        )


def _replace_kinds(sql: str) -> str | None:
    return sql.replace(_OLD_KINDS, _NEW_KINDS) if _OLD_KINDS in sql else None
