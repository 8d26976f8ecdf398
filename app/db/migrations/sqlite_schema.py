"""Changes of tables that SQLite cannot alter: the text of their CREATE TABLE is edited.

https://www.sqlite.org/lang_altertable.html, section 7, allows this for constraints that all stored rows
satisfy.
"""

from collections.abc import Callable

from sqlalchemy import Connection


def edit_create_table(
    connection: Connection, table: str, edit: Callable[[str], str | None]
) -> bool:
    """Replace the CREATE TABLE of a table; return False, and change nothing, if `edit` returns None.

    Later statements of the connection use the edited table.
    """
    (sql,) = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)
    ).one()
    edited = edit(sql)
    if edited is None:
        return False
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    connection.exec_driver_sql(
        "UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (edited, table)
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
    return True


def add_checks(connection: Connection, table: str, checks: dict[str, str]) -> None:
    """Add CHECK constraints, by name, that all stored rows satisfy."""
    constraints = "".join(
        f", \n\tCONSTRAINT {name} CHECK ({check})" for name, check in checks.items()
    )
    edit_create_table(
        connection, table, lambda sql: sql.rstrip().removesuffix(")").rstrip() + constraints + "\n)"
    )
