"""Building blocks of writes that differ between the engines or that several repositories share."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

from app.db.core.database import WriteSession
from app.db.core.types import ColumnValues


async def insert_rows(
    session: WriteSession, model: type[DeclarativeBase], rows: Sequence[ColumnValues]
) -> None:
    """Insert rows by one statement, whichever of their columns are null."""
    if rows:
        # Without this option SQLAlchemy runs one statement for each set of columns that are not null.
        await session.execute(insert(model), rows, execution_options={"render_nulls": True})


async def update_rows(
    session: WriteSession, model: type[DeclarativeBase], rows: Sequence[ColumnValues]
) -> None:
    """Update rows by their primary keys."""
    if rows:
        await session.execute(update(model), rows)


def insert_with_on_conflict(
    session: WriteSession, model: type[DeclarativeBase]
) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that accepts ON CONFLICT; each dialect has its own class for it."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(model)
    return postgresql.insert(model)


async def acquire_advisory_lock(session: WriteSession, name: str, *, wait: bool) -> bool:
    """Lock a name until the transaction ends; return whether the lock was acquired.

    With `wait`, the call waits for another holder. SQLite has one writer at a time, so there the lock is
    always free.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    if wait:
        await session.execute(select(func.pg_advisory_xact_lock(key)))
        return True
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(key))))
