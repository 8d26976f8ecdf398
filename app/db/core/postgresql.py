"""How PostgreSQL is opened, and what only PostgreSQL needs. No queries."""

from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import URL, event, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_SCHEMA_LOCK_KEY = 0x706F7374  # "post"; any number that no other program on the server uses
_SQLALCHEMY_OPTION_PREFIXES = ("prepared_statement_", "async_")  # its own options of a URL
_DATA_EXCEPTION_CLASS = "22"  # the class of SQLSTATE whose messages quote the value they are about


def postgresql_engine(
    url: URL, pool_size: int, timeout: timedelta, *, read_only: bool
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        hide_parameters=True,  # an exception is logged, and must not carry what people wrote
        pool_pre_ping=True,
        connect_args={
            "timeout": timeout.total_seconds(),
            "server_settings": _server_settings(timeout, read_only=read_only),
        },
    )
    event.listen(engine.sync_engine, "handle_error", _redact_values)
    return engine


def driver_options(url: URL, timeout: timedelta) -> dict[str, Any]:
    """What a connection that only reads is opened with, by the driver's own names."""
    options = dialect().create_connect_args(url)[1]  # type: ignore[no-untyped-call]
    return {
        **{
            name: value
            for name, value in options.items()
            if not name.startswith(_SQLALCHEMY_OPTION_PREFIXES)
        },
        "timeout": timeout.total_seconds(),
        "server_settings": _server_settings(timeout, read_only=True),
    }


def _server_settings(timeout: timedelta, *, read_only: bool) -> dict[str, str]:
    """What every connection of ours is opened with."""
    milliseconds = str(timeout // timedelta(milliseconds=1))
    return {
        "application_name": "post-results",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "default_transaction_read_only": "on" if read_only else "off",
        # What a claim skips differs by its values from nothing to almost everything.
        "plan_cache_mode": "auto" if read_only else "force_custom_plan",
    }


async def acquire_schema_lock(connection: AsyncConnection) -> None:
    # The other process may rebuild large tables: no limit on the wait, nor on our own statements.
    for limit in ("statement_timeout", "lock_timeout"):
        await connection.execute(text(f"SET LOCAL {limit} = 0"))
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK_KEY})


def _redact_values(context: ExceptionContext) -> None:
    """Take out of an exception, and of what caused it, the row or the value that it is about.

    An exception is logged with its causes. The DETAIL of a violated constraint shows the row; the
    message itself names the table and the constraint, and stays.
    """
    error = context.original_exception
    cause = error.__cause__
    if not isinstance(cause, asyncpg.PostgresError):
        return
    cause.detail = None
    if str(cause.sqlstate).startswith(_DATA_EXCEPTION_CLASS):
        cause.__cause__ = cause.__context__ = None
        for each in (cause, error, context.sqlalchemy_exception):
            if each is not None:
                each.args = (str(each.args[0]).partition(": ")[0], *each.args[1:])
