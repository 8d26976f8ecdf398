"""SQLAlchemy engines and connection options for PostgreSQL."""

from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import URL, event, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_SCHEMA_LOCK_KEY = 0x706F7374  # "post"; any number that no other program on the server uses
_SQLALCHEMY_OPTION_PREFIXES = ("prepared_statement_", "async_")  # URL options that asyncpg rejects
_DATA_EXCEPTION_CLASS = "22"  # SQLSTATE class whose messages quote the offending value


def postgresql_engine(
    url: URL, pool_size: int, timeout: timedelta, *, read_only: bool
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        hide_parameters=True,  # exceptions are logged, and must not contain user content
        pool_pre_ping=True,
        connect_args={
            "timeout": timeout.total_seconds(),
            "server_settings": _server_settings(timeout, read_only=read_only),
        },
    )
    event.listen(engine.sync_engine, "handle_error", _redact_values)
    return engine


def driver_options(url: URL, timeout: timedelta, *, read_only: bool) -> dict[str, Any]:
    """Return the keyword arguments of `asyncpg.connect`."""
    options = dialect().create_connect_args(url)[1]  # type: ignore[no-untyped-call]
    return {
        **{
            name: value
            for name, value in options.items()
            if not name.startswith(_SQLALCHEMY_OPTION_PREFIXES)
        },
        "timeout": timeout.total_seconds(),
        "server_settings": _server_settings(timeout, read_only=read_only),
    }


def _server_settings(timeout: timedelta, *, read_only: bool) -> dict[str, str]:
    """Return the server settings of every connection."""
    milliseconds = str(timeout // timedelta(milliseconds=1))
    return {
        "application_name": "post-results",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "default_transaction_read_only": "on" if read_only else "off",
        # The selectivity of a claim depends on its values: it skips between none and almost all rows.
        "plan_cache_mode": "auto" if read_only else "force_custom_plan",
    }


async def acquire_schema_lock(connection: AsyncConnection) -> None:
    """Lock schema changes until the transaction ends, waiting for as long as another process has the lock."""
    # The other process may rebuild large tables, and so may this one: no timeouts.
    for limit in ("statement_timeout", "lock_timeout"):
        await connection.execute(text(f"SET LOCAL {limit} = 0"))
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK_KEY})


def _redact_values(context: ExceptionContext) -> None:
    error = context.original_exception
    if isinstance(error.__cause__, asyncpg.PostgresError):
        redact_values(error.__cause__, error, context.sqlalchemy_exception)


def redact_values(error: asyncpg.PostgresError, *wrappers: BaseException | None) -> None:
    """Remove row contents and values from an exception and its wrappers, because all of them are logged.

    The DETAIL of a violated constraint shows the row. The message stays: it names table and constraint.
    """
    error.detail = None
    if str(error.sqlstate).startswith(_DATA_EXCEPTION_CLASS):
        error.__cause__ = error.__context__ = None
        for exception in (error, *wrappers):
            if exception is not None:
                message = str(exception.args[0]).partition(": ")[0]
                exception.args = (message, *exception.args[1:])
