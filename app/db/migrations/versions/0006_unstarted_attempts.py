"""Allow attempts that were published without a start."""

from alembic import op

from app.db.migrations import SchemaMismatch

revision = "0006"
down_revision = "0005"

_OLD_KINDS = "('regular', 'late')"
_NEW_KINDS = "('regular', 'late', 'unstarted')"


def upgrade() -> None:
    """Replace the CHECK of the column `kind`.

    SQLite cannot alter a CHECK. Its text is edited, as no stored row can violate the new one:
    https://www.sqlite.org/lang_altertable.html, section 7. Raises SchemaMismatch if the CHECK has another
    text, as the edit would change nothing.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint("ck_attempt_kind_word", "attempt")
        op.create_check_constraint("ck_attempt_kind_word", "attempt", f"kind IN {_NEW_KINDS}")
        return
    schema_version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    edited = connection.exec_driver_sql(
        "UPDATE sqlite_schema SET sql = replace(sql, ?1, ?2)"
        " WHERE type = 'table' AND name = 'attempt' AND instr(sql, ?1)",
        (_OLD_KINDS, _NEW_KINDS),
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {schema_version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
    if edited.rowcount != 1:
        raise SchemaMismatch(
            f"The table attempt has no CHECK of kind with the text {_OLD_KINDS}: another program has changed"
            " it. Restore a backup."
        )
