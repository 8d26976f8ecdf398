"""Driver for reads and write transactions on PostgreSQL, with one round trip per statement.

The pool of asyncpg costs as much as a quick statement: it starts a task to reset each released connection.
Nothing needs a reset here: a read runs outside any transaction block, and a write ends its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from app.db.core.postgresql import connect, redact_values
from app.db.core.postgresql_batching import PointReadBatches
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_session import Transaction, suppressed_statement_error
from app.runtime.fair_slots import FairSlots, current_caller

T = TypeVar("T")

_MAX_IDLE = timedelta(minutes=5)
"""Idle connections older than this are closed: a firewall or proxy may have dropped them."""

_CANCEL_TIMEOUT = timedelta(seconds=1)
"""Time for the server to confirm a cancelled statement or a rollback; after it the connection is closed."""

_RESERVED_CONNECTIONS = 2

_BATCH_CONNECTIONS = 2
"""Connections for the batches of all statements; more would make batches smaller."""

RETRYABLE_STATES = ("40001", "40P01")
"""SQLSTATEs of serialization_failure and deadlock_detected."""

_FOREIGN_KEY_VIOLATION = "23503"
"""SQLSTATE of foreign_key_violation: the referenced row may have been deleted since it was read."""

_MAX_WRITE_ATTEMPTS = 5

_PLAN_SETTING = "plan_cache_mode"


class PostgreSQLDriver:
    """Statements of one database, from several event loops if it is closed in each of them."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        size: int,
        timeout: timedelta,
        begin: str = "BEGIN",
        max_idle: timedelta = _MAX_IDLE,
        max_age: timedelta | None = None,
    ) -> None:
        """Create a driver; `options` are those of `connect`, `timeout` includes the wait for a connection.

        `begin` begins a write transaction. Connections are closed at the age `max_age`, after their use.
        """
        self._options = options
        self._begin = begin
        self._size = size
        self._timeout = timeout.total_seconds()
        self._max_idle = max_idle
        self._read_slots = FairSlots(size)
        self._write_slots = FairSlots(size, max_per_caller=size)
        self._max_age = max_age
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pools: _Pools | None = None

    @property
    def is_reading(self) -> bool:
        """True while a statement other than a point read runs."""
        return not self._read_slots.is_unused

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        """Return all rows; raises errors of asyncpg, or TimeoutError if no connection is free in time.

        A point read may run in a batch with reads of other requests.
        """
        pools = self._get_pools()
        deadline = asyncio.get_running_loop().time() + self._timeout
        if statement.uses_reserved_connections:
            return await self._fetch_from(pools.reserved, statement, arguments, deadline)
        if statement.batch is None:
            return await self._fetch_alone(statement, arguments, deadline)
        return await pools.point_reads.fetch(statement, arguments, statement.batch, deadline)

    async def _fetch_alone(
        self, statement: CompiledStatement, arguments: Sequence[object], deadline: float
    ) -> Sequence[Record]:
        """Run a statement of one request on a connection of its caller's share."""
        async with self._read_slots.hold(current_caller.get(), deadline):
            return await self._fetch_from(self._get_pools().main, statement, arguments, deadline)

    async def _fetch_from(
        self,
        pool: "_Pool",
        statement: CompiledStatement,
        arguments: Sequence[object],
        deadline: float,
    ) -> Sequence[Record]:
        try:
            async with asyncio.timeout_at(deadline):
                return await pool.fetch(statement, arguments)
        except TimeoutError:
            self._get_pools().close_idle()
            raise

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; any exception rolls it back.

        Repeats the transaction after a serialization failure, a deadlock or a foreign key violation, with at
        most 5 attempts. Raises the last attempt's error of asyncpg, or TimeoutError if an attempt has not
        begun in time.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout
        async with self._write_slots.hold(current_caller.get(), deadline):
            try:
                return await self._write(work, deadline)
            except TimeoutError:
                self._get_pools().close_idle()
                raise

    async def _write(self, work: Callable[[Transaction], Awaitable[T]], deadline: float) -> T:
        pool = self._get_pools().main
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_retryable),
            stop=stop_after_attempt(_MAX_WRITE_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            reraise=True,
        ):
            with attempt:
                async with asyncio.timeout_at(deadline):
                    connection = await pool.begin(self._begin)
                result = await pool.run_transaction(connection, work)
        return result

    async def close(self) -> None:
        """Wait for running statements and close all connections; a later one opens new ones."""
        pools, self._pools = self._pools, None
        if pools is not None and self._loop is asyncio.get_running_loop():
            for pool in (pools.batch, pools.reserved, pools.main):
                await pool.close()

    def _get_pools(self) -> "_Pools":
        loop = asyncio.get_running_loop()
        if self._pools is None or self._loop is not loop:
            self._loop = loop
            ages = self._max_idle, self._max_age
            main = _Pool(self._options, self._size, *ages)
            batch = _Pool(_batch_options(self._options), _BATCH_CONNECTIONS, *ages)
            reserved = _Pool(self._options, _RESERVED_CONNECTIONS, *ages)
            point_reads = PointReadBatches(
                self._fetch_alone, batch.fetch, may_run_alone=self._read_slots.can_acquire_now
            )
            self._pools = _Pools(main, batch, reserved, point_reads)
        return self._pools


def _batch_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of connections for batches, which use generic plans.

    Otherwise a small batch is planned in each run, because a generic plan assumes ten requests. Connections
    to a pooler have no settings, and plan each run.
    """
    settings = options["server_settings"]
    if _PLAN_SETTING not in settings:
        return dict(options)
    return {**options, "server_settings": {**settings, _PLAN_SETTING: "force_generic_plan"}}


_CONNECTION_ERRORS = (
    asyncpg.ConnectionDoesNotExistError,
    # asyncpg raises this after the server's termination message, before the socket closes.
    asyncpg.InternalClientError,
    ConnectionError,
)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in (
        *RETRYABLE_STATES,
        _FOREIGN_KEY_VIOLATION,
    )


class _Pools(NamedTuple):
    """Connections of one event loop."""

    main: "_Pool"
    batch: "_Pool"
    reserved: "_Pool"
    """Connections for statements of the server itself."""
    point_reads: PointReadBatches

    def close_idle(self) -> None:
        """Close all idle connections after a statement without an answer.

        A network that loses packets, or the state of its connections, silences them too. Otherwise, each
        would let another statement wait for its timeout.
        """
        for pool in (self.main, self.batch, self.reserved):
            pool.close_idle()


class _Pool:
    """LIFO connection pool of bounded size; connections are opened on demand."""

    def __init__(
        self,
        options: Mapping[str, Any],
        size: int,
        max_idle: timedelta,
        max_age: timedelta | None,
    ) -> None:
        self._options = options
        self._size = size
        self._max_idle = max_idle.total_seconds()
        self._max_age = max_age
        self._slots = asyncio.Semaphore(size)
        self._idle: list[tuple[float, asyncpg.Connection]] = []
        """Idle connections, each with the time of its release."""
        self._expired: set[asyncpg.Connection] = set()
        """Connections in use that are closed at their release."""
        self._recovery_tasks: set[asyncio.Task[None]] = set()

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        """Return all rows of a statement.

        A connection that broke while idle is detected only when a statement is sent. The read is then
        repeated up to once per pooled connection, so that no broken one can be left.
        """
        for _ in range(self._size):
            try:
                return await self._fetch_once(statement, arguments)
            except _CONNECTION_ERRORS:
                continue
        return await self._fetch_once(statement, arguments)

    async def _fetch_once(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        connection = await self._acquire()
        try:
            rows: Sequence[Record] = await connection.fetch(
                statement.sql, *arguments, record_class=statement.record_class
            )
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError):
                redact_values(error)
            # asyncpg has asked the server to cancel an interrupted statement, or has not sent an invalid one.
            self._start_recovery(connection, "SELECT 1")
            raise
        self._release(connection)
        return rows

    async def begin(self, statement: str) -> asyncpg.Connection:
        """Acquire a connection and begin a transaction by `statement`.

        Replaces connections that broke while idle.
        """
        for broken_connections in count():
            connection = await self._acquire()
            try:
                await connection.execute(statement)
            except BaseException as error:
                recovery = self._start_recovery(connection, "ROLLBACK")
                if broken_connections == self._size or not isinstance(error, _CONNECTION_ERRORS):
                    raise
                await asyncio.shield(recovery)
            else:
                break
        return connection

    async def run_transaction(
        self, connection: asyncpg.Connection, work: Callable[[Transaction], Awaitable[T]]
    ) -> T:
        """Run `work` on a connection of `begin`, and commit or roll back."""
        try:
            result = await work(_PostgreSQLTransaction(connection))
            if await connection.execute("COMMIT") != "COMMIT":  # PostgreSQL has rolled back instead
                raise suppressed_statement_error()
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError):
                redact_values(error)
            await asyncio.shield(self._start_recovery(connection, "ROLLBACK"))
            raise
        self._release(connection)
        return result

    def close_idle(self) -> None:
        while self._idle:
            self._idle.pop()[1].terminate()

    async def close(self) -> None:
        """Wait until no connection is in use, then close all."""
        for _ in range(self._size):
            await self._slots.acquire()
        while self._idle:
            _, connection = self._idle.pop()
            with suppress(Exception):
                await connection.close(timeout=_CANCEL_TIMEOUT.total_seconds())

    def _start_recovery(self, connection: asyncpg.Connection, statement: str) -> asyncio.Task[None]:
        recovery = asyncio.create_task(self._recover(connection, statement))
        self._recovery_tasks.add(recovery)
        recovery.add_done_callback(self._recovery_tasks.discard)
        return recovery

    async def _recover(self, connection: asyncpg.Connection, statement: str) -> None:
        """Return the connection to the pool only if the server responds; else every use of it would fail."""
        try:
            await connection.execute(statement, timeout=_CANCEL_TIMEOUT.total_seconds())
            if connection.is_in_transaction():  # begun by messages without a Sync message
                await connection.execute("ROLLBACK", timeout=_CANCEL_TIMEOUT.total_seconds())
        except Exception:  # noqa: BLE001 - whatever the error, another connection replaces this one
            connection.terminate()
        finally:
            self._release(connection)

    def _release(self, connection: asyncpg.Connection) -> None:
        if connection in self._expired:
            self._expired.discard(connection)
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append((time.monotonic(), connection))
        self._slots.release()

    async def _acquire(self) -> asyncpg.Connection:
        await self._slots.acquire()
        try:
            return self._take_idle() or await self._open()
        except BaseException:
            self._slots.release()
            raise

    async def _open(self) -> asyncpg.Connection:
        connection = await connect(self._options)
        if self._max_age is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._max_age.total_seconds(), self._expire, connection)
        return connection

    def _expire(self, connection: asyncpg.Connection) -> None:
        """Close a connection now if it is idle, otherwise at its release."""
        idle = [item for item in self._idle if item[1] is not connection]
        if len(idle) < len(self._idle):
            self._idle = idle
            connection.terminate()
        elif not connection.is_closed():
            self._expired.add(connection)

    def _take_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            since, connection = self._idle.pop()
            is_recent = time.monotonic() < since + self._max_idle
            if is_recent and not connection.is_closed():
                return connection
            connection.terminate()
        return None


class _PostgreSQLTransaction:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        rows: Sequence[Record] = await self._connection.fetch(
            statement.sql, *arguments, record_class=statement.record_class
        )
        return rows

    async def fetch_many(
        self, statement: CompiledStatement, arguments: Sequence[Sequence[object]]
    ) -> Sequence[Record]:
        rows: Sequence[Record] = await self._connection.fetchmany(
            statement.sql, arguments, record_class=statement.record_class
        )
        return rows
