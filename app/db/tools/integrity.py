"""Integrity check of a database: the engine's own check, stored values, foreign keys, domain rules.

Reads one snapshot and changes nothing. Each problem is one sentence for the operator.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import cache, partial
from typing import Any, TypeAlias

from sqlalchemy import (
    JSON,
    ColumnElement,
    Dialect,
    ForeignKeyConstraint,
    Table,
    and_,
    exists,
    select,
    text,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from app.db.core.database import Database
from app.db.core.statements import AnySelect
from app.db.migrations import check_schema_version
from app.db.migrations.search_index import SQLITE_SEARCH_INDEX
from app.db.models import Base, Post
from app.db.repositories.post_search import POST_SEARCH_KEY
from app.db.tools.invariants import RULES, stream_rows, to_printable
from app.domain.errors import ServiceUnavailable

MAX_PROBLEMS = 1000
"""The check stops after this many problems: such a database needs its backup, not a longer list."""

Check: TypeAlias = Callable[[AsyncConnection], AsyncGenerator[str]]

_DECODING_ERRORS = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Errors of SQLAlchemy types and drivers for stored values that are invalid."""


async def find_problems(database: Database) -> list[str]:
    """Return all problems, up to MAX_PROBLEMS.

    Raises SchemaMismatch unless the database is at this code's version.
    """
    try:
        await check_schema_version(database)
    except ServiceUnavailable as error:
        if not _is_file_damaged(error.__cause__):
            raise
        return ["The check could not begin: the file is damaged."]
    problems: list[str] = []
    async with database.snapshot() as connection:
        for subject, check in _checks(database):
            try:
                async with _savepoint(connection), aclosing(check(connection)) as found:
                    async for problem in found:
                        problems.append(problem)
                        if len(problems) == MAX_PROBLEMS:
                            return [*problems, f"The check stopped after {MAX_PROBLEMS} problems."]
            except (DBAPIError, *_DECODING_ERRORS) as error:
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise
                problems.append(f"The check of {subject} could not be finished: {_reason(error)}.")
    return problems


def _savepoint(connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
    """Open a savepoint on PostgreSQL, where an error would fail all later statements of the transaction."""
    return nullcontext() if connection.dialect.name == "sqlite" else connection.begin_nested()


def _checks(database: Database) -> Iterator[tuple[str, Check]]:
    """Yield independent checks, each with its subject."""
    if database.is_sqlite:
        yield "the file", _file_damage
        yield "the search index", _search_index_gaps
    for table in Base.metadata.sorted_tables:
        yield f"the values in {table.name}", partial(_unreadable_values, table)
    for table in Base.metadata.sorted_tables:
        yield f"the foreign keys of {table.name}", partial(_broken_foreign_keys, table)
    yield from RULES.items()


def _reason(error: Exception) -> str:
    """Return the first line of the error message."""
    if _is_file_damaged(error):
        return "the file is damaged"
    if isinstance(error, DBAPIError):
        return _first_line(getattr(error.orig, "__cause__", None) or error.orig)
    return _first_line(error)


def _is_file_damaged(error: BaseException | None) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else None
    return str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_CORRUPT")


def _first_line(error: object) -> str:
    return to_printable(str(error).partition("\n")[0].rstrip("."))


async def _file_damage(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Run SQLite's own check; PostgreSQL verifies page checksums on every read."""
    result = await connection.exec_driver_sql("PRAGMA integrity_check")
    for answer in result.scalars():
        for line in answer.splitlines():
            if line != "ok" and not line.startswith("***"):
                yield f"SQLite's integrity check: {line}."


async def _search_index_gaps(connection: AsyncConnection) -> AsyncGenerator[str]:
    """Compare the posts with those in SQLite's search index, from which no texts can be read."""
    names = await connection.scalars(_SEARCH_INDEX_NAMES)
    for name in sorted(SQLITE_SEARCH_INDEX - {*names}):
        yield f"The search index lacks {name}. A backup and its restore create the index again."
    keys = POST_SEARCH_KEY.c
    is_same = and_(keys.workspace_id == Post.workspace_id, keys.post_id == Post.id)
    for statement, problem in (
        (select(Post.workspace_id, Post.id).where(~exists().where(is_same)), "is not in"),
        (
            select(keys.workspace_id, keys.post_id).where(~exists().where(is_same)),
            "does not exist, but is in",
        ),
    ):
        async for row in stream_rows(connection, statement):
            yield f"{_row_label(_POST_TABLE, row)} {problem} the search index."


_POST_TABLE = Base.metadata.tables["post"]
_SEARCH_INDEX_NAMES = text("SELECT name FROM sqlite_schema WHERE type IN ('table', 'trigger')")


async def _unreadable_values(table: Table, connection: AsyncConnection) -> AsyncGenerator[str]:
    """Decode every value with the type of its column, as the service does."""
    columns = list(table.columns)
    readers = [_value_reader(column, connection.dialect) for column in columns]
    key_indexes = [columns.index(column) for column in table.primary_key]
    async for row in stream_rows(connection, _select_raw_values(table)):
        for column, read, stored in zip(columns, readers, row, strict=True):
            try:
                read(stored)
            except _DECODING_ERRORS as error:
                label = _row_label(table, [row[index] for index in key_indexes])
                yield f"{label} cannot be read: {column.name}: {_first_line(error)}."


@cache
def _select_raw_values(table: Table) -> AnySelect:
    return select(*(type_coerce(column, NullType()) for column in table.columns))


def _value_reader(column: ColumnElement[Any], dialect: Dialect) -> Callable[[Any], None]:
    """Return a function that decodes a stored value, and checks its Python type.

    SQLite stores values of any type in any column. JSON may have any type.
    """
    decode = column.type.dialect_impl(dialect).result_processor(dialect, None)
    expected = object if isinstance(column.type, JSON) else column.type.python_type

    def read(stored: Any) -> None:
        value = stored if decode is None else decode(stored)
        if value is not None and not isinstance(value, expected):
            raise TypeError(f"{value!r} is not a value of type {expected.__name__}")

    return read


async def _broken_foreign_keys(table: Table, connection: AsyncConnection) -> AsyncGenerator[str]:
    for link in sorted(table.foreign_key_constraints, key=lambda key: str(key.name)):
        async for row in stream_rows(connection, _select_dangling_keys(table, link)):
            yield (
                f"{_row_label(table, row)} refers by {', '.join(link.column_keys)}"
                f" to a row of {link.referred_table.name} that does not exist."
            )


@cache
def _select_dangling_keys(table: Table, foreign_key: ForeignKeyConstraint) -> AnySelect:
    """Select the keys of rows whose foreign key has no NULL and matches no row."""
    target = foreign_key.referred_table.alias("target")
    pairs = [(link.parent, target.c[link.column.name]) for link in foreign_key.elements]
    return select(*(type_coerce(column, NullType()) for column in table.primary_key)).where(
        *(column.is_not(None) for column, _ in pairs),
        ~exists().where(*(column == referred for column, referred in pairs)),
    )


def _row_label(table: Table, key: Sequence[object]) -> str:
    """Name a row by its key: `Workspace 1b4e…: attempt 6fa4…`."""
    first, *rest = map(to_printable, key)
    if "workspace_id" not in table.c:
        return f"{table.name.capitalize()} {first}"
    return f"Workspace {first}: {' '.join([table.name, *rest])}"
