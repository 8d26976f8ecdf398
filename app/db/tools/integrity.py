"""What is wrong in a database, if anything: the engine's own check, values, links, the domain's rules.

Reads one snapshot and changes nothing. Each problem is one sentence for an operator.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import cache, partial
from typing import TypeAlias

from sqlalchemy import ForeignKeyConstraint, Table, exists, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.database import Database
from app.db.core.statements import AnySelect
from app.db.core.tolerant_reads import (
    Unreadable,
    has_unreadable,
    make_tolerant,
    raw_column,
    stream_readable_rows,
    stream_rows,
    to_printable,
    tolerant_decoding,
)
from app.db.migrations import check_schema_version
from app.db.models import Base
from app.db.tools.invariants import RULES

MAX_PROBLEMS = 1000
"""A check stops here: a database that has so many needs its backup, not a longer list."""

Check: TypeAlias = Callable[[AsyncConnection], AsyncGenerator[str]]


async def find_problems(database: Database) -> list[str]:
    """Every problem found, up to MAX_PROBLEMS; an empty list means that all is well.

    SchemaMismatch unless the database is at this code's version.
    """
    try:
        await check_schema_version(database)
    except DBAPIError as error:
        return [f"The check could not begin: {_reason(error)}."]
    problems: list[str] = []
    async with database.snapshot() as connection, tolerant_decoding(connection):
        for what, check in _checks(database):
            try:
                async with _savepoint(connection), aclosing(check(connection)) as found:
                    async for problem in found:
                        problems.append(problem)
                        if len(problems) == MAX_PROBLEMS:
                            return [*problems, f"The check stopped after {MAX_PROBLEMS} problems."]
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise
                problems.append(f"The check of {what} could not be finished: {_reason(error)}.")
    return problems


def _savepoint(connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
    """A savepoint, where the engine answers nothing more in a transaction after an error."""
    return nullcontext() if connection.dialect.name == "sqlite" else connection.begin_nested()


def _checks(database: Database) -> Iterator[tuple[str, Check]]:
    """Each with what it looks at; none needs what another one found."""
    if database.is_sqlite:
        yield "the file", _file_damage
    for table in Base.metadata.sorted_tables:
        yield f"the values in {table.name}", partial(_unreadable_values, table)
    for table in Base.metadata.sorted_tables:
        yield f"the links of {table.name}", partial(_broken_foreign_keys, table)
    yield from RULES.items()


def _reason(error: DBAPIError) -> str:
    """The first line of what the driver says, which is the whole of it."""
    if str(getattr(error.orig, "sqlite_errorname", "")).startswith("SQLITE_CORRUPT"):
        return "the file is damaged"
    cause = getattr(error.orig, "__cause__", None) or error.orig
    return str(cause).partition("\n")[0].rstrip(".")


async def _file_damage(connection: AsyncConnection) -> AsyncGenerator[str]:
    """PostgreSQL verifies its pages by checksum whenever it reads, so only SQLite is asked."""
    result = await connection.exec_driver_sql("PRAGMA integrity_check")
    for answer in result.scalars():
        for line in answer.splitlines():
            if line != "ok" and not line.startswith("***"):
                yield f"SQLite's integrity check: {line}."


async def _unreadable_values(table: Table, connection: AsyncConnection) -> AsyncGenerator[str]:
    names = [column.name for column in table.columns]
    key = [raw_column(column).label(f"key_{column.name}") for column in table.primary_key]
    statement = make_tolerant(select(*table.columns), connection.dialect).add_columns(*key)
    async for row in stream_rows(connection, statement):
        if has_unreadable(row):
            reasons = (
                f"{name} is not {value.expected}"
                for name, value in zip(names, row, strict=False)
                if isinstance(value, Unreadable)
            )
            yield f"{_row_label(table, row[len(names) :])} cannot be read: {', '.join(reasons)}."


async def _broken_foreign_keys(table: Table, connection: AsyncConnection) -> AsyncGenerator[str]:
    for link in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
        async for row in stream_readable_rows(connection, _select_dangling_keys(table, link)):
            yield (
                f"{_row_label(table, row)} refers by {', '.join(link.column_keys)}"
                f" to a row of {link.referred_table.name} that does not exist."
            )


@cache
def _select_dangling_keys(table: Table, foreign_key: ForeignKeyConstraint) -> AnySelect:
    """The keys of the rows whose link has no NULL in it and leads nowhere."""
    target = foreign_key.referred_table.alias("target")
    pairs = [(each.parent, target.c[each.column.name]) for each in foreign_key.elements]
    return select(*table.primary_key).where(
        *(column.is_not(None) for column, _ in pairs),
        ~exists().where(*(column == other for column, other in pairs)),
    )


def _row_label(table: Table, key: Sequence[object]) -> str:
    """`Workspace 1b4e…: attempt 6fa4…`; the first column of a key is its workspace, if it has one."""
    first, *rest = map(to_printable, key)
    if "workspace_id" not in table.c:
        return f"{table.name.capitalize()} {first}"
    return f"Workspace {first}: {' '.join([table.name, *rest])}"
