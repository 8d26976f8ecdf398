"""Locks of what has no row yet: a name, held until a transaction ends. No tables."""

import hashlib

from sqlalchemy import func, select

from app.db.core.database import WriteSession


async def acquire_advisory_lock(session: WriteSession, name: str, *, wait: bool) -> bool:
    """Whether no other transaction holds the same name; with `wait`, the other one's end is awaited.

    On SQLite there is one writer at a time, and so never another one.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    if wait:
        await session.execute(select(func.pg_advisory_xact_lock(number)))
        return True
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(number))))
