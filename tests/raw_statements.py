"""Statements of tests, which no workspace restricts."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from sqlalchemy import bindparam, insert
from sqlalchemy.orm import DeclarativeBase

from app.db.core.statements import AllWorkspacesStatement, AnyStatement, Record
from app.db.core.write_session import AllWorkspacesWriteSession

_PREFIX = "new_"


async def run_raw(
    session: AllWorkspacesWriteSession, statement: AnyStatement, **values: object
) -> Sequence[Record]:
    """Run any statement in a write transaction, and return its rows."""
    return await session.rows(of_test(statement), **values)


def of_test(statement: AnyStatement) -> AllWorkspacesStatement:
    return AllWorkspacesStatement(statement, reason="test")


async def insert_raw(
    session: AllWorkspacesWriteSession,
    model: type[DeclarativeBase],
    rows: Iterable[Mapping[str, object]],
) -> None:
    """Insert rows, each with its workspace."""
    for row in rows:
        statement = _insert_statement(model, tuple(row))
        await session.rows(statement, **{f"{_PREFIX}{name}": row[name] for name in row})


@cache
def _insert_statement(
    model: type[DeclarativeBase], columns: tuple[str, ...]
) -> AllWorkspacesStatement:
    return of_test(insert(model).values({name: bindparam(f"{_PREFIX}{name}") for name in columns}))
