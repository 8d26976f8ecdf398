"""Allow attempts that were published without a start."""

from alembic import op

revision = "0006"
down_revision = "0005"

_OLD_KINDS = "('regular', 'late')"
_NEW_KINDS = "('regular', 'late', 'unstarted')"


def upgrade() -> None:
    """Replace the CHECK of the column `kind`.

    SQLite cannot alter a CHECK. Its text is edited, as no stored row can violate the new one:
    https://www.sqlite.org/lang_altertable.html, section 7.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint("ck_attempt_kind_word", "attempt")
        op.create_check_constraint("ck_attempt_kind_word", "attempt", f"kind IN {_NEW_KINDS}")
        return
    schema_version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    connection.exec_driver_sql(
        "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'attempt'",
        (_OLD_KINDS, _NEW_KINDS),
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {schema_version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
