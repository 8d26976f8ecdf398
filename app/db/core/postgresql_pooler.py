"""Connections through a pooler, such as PgBouncer, that leave no state in its sessions.

A pooler runs each transaction of a connection in any of its own sessions, which other clients use too. So
nothing may last longer than a transaction: no setting, no prepared statement, no LISTEN and no lock.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement
from cachetools import LRUCache
from sqlalchemy import URL

from app.db.core.postgresql import ANSWER_MARGIN, connect_options, statement_limits

MAX_SESSION_AGE = timedelta(milliseconds=500)
"""Age at which a connection is closed if the pooler reserves a session for each open one.

Otherwise one process would keep its sessions from all others. A new connection takes a few milliseconds.
"""

_MAX_DESCRIPTIONS = 200
"""Statements whose parameter and column types are cached, per connection."""


class PoolerConnection(asyncpg.Connection):  # type: ignore[misc]
    """Connection that sends each statement unnamed, in one round trip, with its limits.

    The first run of a statement takes another round trip, which reads the types of parameters and columns.
    """

    read_prefix: ClassVar[bytes]
    """Messages in front of a statement outside a transaction block; they return no row."""

    def __init__(self, *args: Any) -> None:
        """Create a connection; called by `asyncpg.connect`."""
        super().__init__(*args)
        # Otherwise asyncpg would set `jit` for the session while it reads about the types of arrays.
        self._server_caps = self._server_caps._replace(jit=False)  # type: ignore[has-type]
        self._statements: LRUCache[tuple[str, type | None], PreparedStatement] = LRUCache(
            _MAX_DESCRIPTIONS
        )

    async def fetch(
        self,
        query: str,
        *args: object,
        record_class: type | None = None,
    ) -> list[asyncpg.Record]:
        """Run a statement and return its rows; it is read-only outside a transaction block."""
        try:
            statement = await self._describe(query, record_class)
            self._start_read()
            rows: list[asyncpg.Record] = await statement.fetch(*args)
        except Exception:
            self._statements.clear()  # a migration may have changed the types
            raise
        return rows

    async def fetchmany(
        self,
        query: str,
        args: Sequence[Sequence[object]],
        *,
        record_class: type | None = None,
    ) -> list[asyncpg.Record]:
        """Run a statement of a transaction for each of the arguments and return the rows of all runs."""
        try:
            statement = await self._describe(query, record_class)
            rows: list[asyncpg.Record] = await statement.fetchmany(args)
        except Exception:
            self._statements.clear()
            raise
        return rows

    async def _describe(self, query: str, record_class: type | None) -> PreparedStatement:
        key = query, record_class
        statement = self._statements.get(key)
        if statement is None:
            self._start_read()
            # Without a name and asyncpg's cache, each run sends the text again.
            statement = await self.prepare(query, name="", record_class=record_class)
            self._statements[key] = statement
        return statement

    def _start_read(self) -> None:
        """Write the prefix; PostgreSQL runs it in one transaction with all messages up to the next Sync."""
        if not self.is_in_transaction():
            self._transport.write(self.read_prefix)


def pooler_options(url: URL, timeout: timedelta) -> dict[str, Any]:
    """Return the arguments of `connect` for connections whose statements have a time limit."""

    class LimitedConnection(PoolerConnection):
        read_prefix = _read_prefix(timeout)

    return {
        **connect_options(url, timeout),
        "command_timeout": (timeout + ANSWER_MARGIN).total_seconds(),
        "connection_class": LimitedConnection,
        "statement_cache_size": 0,
    }


def begin_statement(timeout: timedelta) -> str:
    """Return the statements that begin a write transaction with time limits, in one round trip."""
    limits = statement_limits(timeout).items()
    return "; ".join(
        ["BEGIN READ WRITE", *(f"SET LOCAL {name} = {value}" for name, value in limits)]
    )


def _read_prefix(timeout: timedelta) -> bytes:
    """Return the messages Parse, Bind and Execute of a statement that sets limits of its transaction.

    asyncpg would take its rows for those of the next statement; it has none. SET LOCAL would log a warning
    outside a transaction block.
    """
    settings = {"transaction_read_only": "on", **statement_limits(timeout)}
    calls = [f"set_config('{name}', '{value}', true)" for name, value in settings.items()]
    sql = f"SELECT WHERE {' || '.join(calls)} IS NULL"
    parse = b"\0" + sql.encode() + b"\0" + bytes(2)  # unnamed, without types of parameters
    bind = bytes(8)  # unnamed portal and statement, without parameters
    execute = bytes(5)  # unnamed portal, without a limit of rows
    messages = ((b"P", parse), (b"B", bind), (b"E", execute))
    return b"".join(kind + (len(body) + 4).to_bytes(4) + body for kind, body in messages)
