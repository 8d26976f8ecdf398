"""Building blocks of writes that differ between the engines or that several repositories share."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    UpdateBase,
    and_,
    bindparam,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

from app.db.core.types import ColumnValues
from app.db.core.write_session import WriteSession

_KEY_PREFIX = "key_"


async def write_rows(
    session: WriteSession,
    model: type[DeclarativeBase],
    rows: Sequence[ColumnValues],
    *,
    stored_ids: Collection[object],
) -> None:
    """Insert new rows, and update those whose `id` is stored; all rows have the same columns."""
    await insert_rows(session, model, [row for row in rows if row["id"] not in stored_ids])
    await update_rows(session, model, [row for row in rows if row["id"] in stored_ids])


async def insert_rows(
    session: WriteSession, model: type[DeclarativeBase], rows: Sequence[ColumnValues]
) -> None:
    """Insert rows by one statement; all rows have the same columns."""
    if rows:
        await session.execute_many(_insert_statement(model, tuple(rows[0])), rows)


async def update_rows(
    session: WriteSession, model: type[DeclarativeBase], rows: Sequence[ColumnValues]
) -> None:
    """Update rows of the workspace by their primary keys; all rows have the same columns.

    Raises RuntimeError if one does not exist, which a lock should have prevented.
    """
    if not rows:
        return
    params = {column.key: f"{_KEY_PREFIX}{column.key}" for column in _keys_in_workspace(model)}
    updated = await session.execute_many(
        _update_statement(model, tuple(rows[0])),
        [{params.get(name, name): row[name] for name in row} for row in rows],
    )
    if len(updated) != len(rows):
        raise RuntimeError(f"{len(rows) - len(updated)} rows of {model.__tablename__} do not exist")


@cache
def _insert_statement(model: type[DeclarativeBase], _columns: tuple[str, ...]) -> Insert:
    """Return a statement of its own for each set of columns, as `WriteSession.execute_many` needs."""
    return insert(model)


@cache
def _update_statement(model: type[DeclarativeBase], _columns: tuple[str, ...]) -> UpdateBase:
    key = _keys_in_workspace(model)
    conditions = (column == bindparam(f"{_KEY_PREFIX}{column.key}") for column in key)
    return update(model).where(*conditions).returning(key[0])


def _keys_in_workspace(model: type[DeclarativeBase]) -> list[ColumnElement[Any]]:
    """Return the columns of the primary key after the workspace."""
    return [column for column in inspect(model).primary_key if column.key != "workspace_id"]


def insert_with_on_conflict(
    model: type[DeclarativeBase], *, is_sqlite: bool
) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT of all columns that accepts ON CONFLICT; each dialect has its own class for it."""
    return sqlite.insert(model) if is_sqlite else postgresql.insert(model)


def is_unchanged(model: type[DeclarativeBase], columns: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition of an optimistic lock: a row still has the `expected_values` of these columns."""
    return and_(*(getattr(model, name) == bindparam(f"expected_{name}") for name in columns))


def expected_values(read: object, columns: Iterable[str]) -> dict[str, Any]:
    """Return the parameters of `is_unchanged`: the columns as they were read."""
    return {f"expected_{name}": getattr(read, name) for name in columns}


async def acquire_advisory_lock(session: WriteSession, name: str, *, wait: bool) -> bool:
    """Lock a name until the transaction ends; return whether the lock was acquired.

    With `wait`, the call waits for another holder. SQLite has one writer at a time, so there the lock is
    always free.
    """
    if session.is_sqlite:
        return True
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    if wait:
        await session.rows(_WAIT_FOR_LOCK, key=key)
        return True
    ((is_acquired,),) = await session.rows(_TRY_LOCK, key=key)
    return bool(is_acquired)


_LOCK_KEY = bindparam("key", type_=BigInteger())
_WAIT_FOR_LOCK = select(func.pg_advisory_xact_lock(_LOCK_KEY))
_TRY_LOCK = select(func.pg_try_advisory_xact_lock(_LOCK_KEY))
