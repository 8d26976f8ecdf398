"""SQLAlchemy engines and connection options for PostgreSQL."""

import socket
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import URL, NullPool, event, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.core.types import encode_json
from app.settings import SettingsError

_SCHEMA_LOCK_KEY = 0x706F7374  # "post"; any number that no other program on the server uses
ANSWER_MARGIN = timedelta(seconds=1)
"""Time for the server's answer to arrive after its own limit."""

_TCP_OPTIONS = {
    "TCP_USER_TIMEOUT": 10_000,
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
}
"""Milliseconds without an acknowledgement after which a connection breaks; seconds of silence until the
first probe of an idle one, seconds between probes, and number of unanswered probes."""

_READ_ONLY_SETTING = "default_transaction_read_only"

_POOLER_MESSAGE = (
    "A connection that must lead to PostgreSQL itself leads to a connection pooler: set DATABASE_POOLER to"
    " session or transaction if DATABASE_URL is that of a pooler, and DATABASE_DIRECT_URL to the URL of"
    " PostgreSQL."
)

_DATA_EXCEPTION_CLASS = "22"  # SQLSTATE class whose messages quote the offending value


def postgresql_engine(url: URL, timeout: timedelta, *, read_only: bool) -> AsyncEngine:
    """Create an engine for migrations and tools, whose statements have no time limit.

    Connections are closed after use: a server needs none of them after its start.
    """
    engine = create_async_engine(
        url,
        poolclass=NullPool,
        async_creator=partial(connect, _direct_options(url, timeout, read_only=read_only)),
        isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        json_serializer=encode_json,
        hide_parameters=True,  # exceptions are logged, and must not contain user content
    )
    event.listen(engine.sync_engine, "handle_error", _redact_values)
    return engine


def driver_options(url: URL, timeout: timedelta, *, read_only: bool) -> dict[str, Any]:
    """Return the arguments of `connect` for connections whose statements have a time limit."""
    options = _direct_options(url, timeout, read_only=read_only)
    return {
        **options,
        "server_settings": {**options["server_settings"], **statement_limits(timeout)},
        # Only ends what the server's limits cannot: statements without any answer.
        "command_timeout": (timeout + ANSWER_MARGIN).total_seconds(),
    }


def statement_limits(timeout: timedelta) -> dict[str, str]:
    """Return the settings of PostgreSQL that limit a statement."""
    milliseconds = str(timeout // timedelta(milliseconds=1))
    return {"statement_timeout": milliseconds, "lock_timeout": milliseconds}


def _direct_options(url: URL, timeout: timedelta, *, read_only: bool) -> dict[str, Any]:
    options = connect_options(url, timeout)
    settings = {
        _READ_ONLY_SETTING: "on" if read_only else "off",
        # The selectivity of a claim depends on its values: it skips between none and almost all rows.
        "plan_cache_mode": "auto" if read_only else "force_custom_plan",
    }
    return {**options, "server_settings": {**options["server_settings"], **settings}}


def connect_options(url: URL, timeout: timedelta) -> dict[str, Any]:
    """Return the arguments of `connect` that every PostgreSQL server and pooler accepts."""
    return {
        **dialect().create_connect_args(url)[1],  # type: ignore[no-untyped-call]
        "timeout": timeout.total_seconds(),
        "server_settings": {"application_name": "post-results"},
    }


async def connect(options: Mapping[str, Any]) -> asyncpg.Connection:
    """Open a connection that breaks soon after the network has stopped delivering its packets.

    Raises SettingsError for a pooler that refuses or ignores the settings of the session.
    """
    try:
        connection = await asyncpg.connect(**options)
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" in str(error):
            raise SettingsError(_POOLER_MESSAGE) from error
        raise
    read_only = options["server_settings"].get(_READ_ONLY_SETTING)
    # PostgreSQL before version 14 does not report the setting.
    if read_only and getattr(connection.get_settings(), _READ_ONLY_SETTING, read_only) != read_only:
        connection.terminate()
        raise SettingsError(_POOLER_MESSAGE)
    opened: socket.socket = connection._transport.get_extra_info("socket")
    if opened.family != socket.AF_UNIX:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS.items():
            if hasattr(socket, name):  # all of them on Linux
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


async def acquire_schema_lock(connection: AsyncConnection) -> None:
    """Lock schema changes until the transaction ends, waiting for as long as another process has the lock."""
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
