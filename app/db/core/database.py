"""Database access for both engines: reads of one workspace, and write transactions.

Reads and writes are different types. A read cannot change anything, and each of its statements has its
own snapshot. A write is one transaction, which the driver commits. On PostgreSQL it may be repeated; see
`PostgreSQLDriver.write`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Generic, Protocol, Self, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Dialect, bindparam, func, literal, make_url, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.core.failures import (
    is_damage,
    is_storage_failure,
    is_unavailable,
    translate_unavailable,
    unavailable_error,
)
from app.db.core.postgresql import acquire_schema_lock, driver_options, postgresql_engine
from app.db.core.postgresql_batching import compile_point_read
from app.db.core.postgresql_driver import PostgreSQLDriver
from app.db.core.postgresql_pooler import MAX_SESSION_AGE, begin_statement, pooler_options
from app.db.core.sqlite import (
    REFRESH_STATISTICS,
    STATISTICS_INTERVAL,
    ConnectionThreads,
    check_foreign_keys,
    foreign_keys_disabled,
    sqlite_read_engine,
    sqlite_write_engine,
)
from app.db.core.sqlite_read_driver import SQLiteReadDriver
from app.db.core.sqlite_write_driver import SQLiteWriteDriver
from app.db.core.statements import (
    AllWorkspacesStatement,
    AnyRow,
    CompiledStatement,
    Record,
    Statement,
    compile_statement,
    count_json_characters,
)
from app.db.core.tenancy import WorkspaceFilter, restrict_to_workspace
from app.db.core.write_lock import FileWriteLock, WriteLock
from app.db.core.write_session import (
    WORKSPACE_PARAM,
    AllWorkspacesWriteSession,
    Transaction,
    WriteDriver,
    WriteSession,
    WriteStatements,
)
from app.domain.ids import WorkspaceId
from app.domain.settlement import Transition
from app.runtime.computations import await_in_main_loop
from app.settings import Settings

T = TypeVar("T")

StatementT = TypeVar("StatementT", Statement, AllWorkspacesStatement)

_SELECT_ONE = AllWorkspacesStatement(select(literal(1)), reason="health of the database")
_PROBE_WRITE = AllWorkspacesStatement(
    text("UPDATE deployment SET id = id"), reason="health of the database"
)
_READ_SQLITE_SCHEMA = AllWorkspacesStatement(
    select(func.count()).select_from(table("sqlite_master")),
    reason="health of the database",
)
_REFRESH_STATISTICS = AllWorkspacesStatement(
    text(REFRESH_STATISTICS), reason="statistics of whole tables"
)


class _StatementReader(ABC, Generic[StatementT]):
    """Reads by statements; each one has its own snapshot."""

    @abstractmethod
    async def rows(self, statement: StatementT, **values: object) -> Sequence[Record]:
        """Run a statement with `values` for its bind parameters, and return all rows."""

    async def first(self, statement: StatementT, **values: object) -> Record | None:
        rows = await self.rows(statement, **values)
        return rows[0] if rows else None

    async def count(self, statement: StatementT, **values: object) -> int:
        """Return the number of a `SELECT count(*)`."""
        ((number,),) = await self.rows(statement, **values)
        return int(number)


class Reader(_StatementReader[Statement]):
    """Reads of one workspace; every statement is restricted to the workspace automatically."""

    def __init__(
        self, workspace_id: WorkspaceId, database: "Database", fetch: "_FetchRecords"
    ) -> None:
        self._workspace_id = workspace_id
        self._database = database
        self._fetch = fetch
        self.row_count = 0
        """Number of rows that were read."""
        self.json_character_count = 0
        """Number of characters of JSON that may have to be decoded for a response."""

    @property
    def is_sqlite(self) -> bool:
        return self._database.is_sqlite

    async def rows(self, statement: Statement, **values: object) -> Sequence[Record]:
        compiled = self._database.compile_restricted(statement)
        values[WORKSPACE_PARAM] = self._workspace_id
        rows = await self._fetch(compiled, compiled.encode_arguments(values))
        count = len(rows)
        self.row_count += count
        if rows and rows[0].json_indexes:  # the same for all rows of a statement
            self.count_json(rows)
        return rows

    def count_json(self, rows: Iterable[AnyRow]) -> None:
        """Count the JSON of rows; of rows that several objects share, once for each of them."""
        # A call inside the addition could let another thread add, whose count would be lost.
        characters = count_json_characters(rows)
        self.json_character_count += characters


class AllWorkspacesReader(_StatementReader[AllWorkspacesStatement]):
    """Reads of all workspaces, for the server itself and the operator's commands."""

    def __init__(
        self, dialect: Dialect, fetch: "_FetchRecords", *, uses_reserved_connections: bool
    ) -> None:
        """Create a reader; with reserved connections, it does not wait for reads of clients."""
        self.is_sqlite = dialect.name == "sqlite"
        self._dialect = dialect
        self._fetch = fetch
        self._uses_reserved_connections = uses_reserved_connections
        self._statements: WeakKeyDictionary[AllWorkspacesStatement, CompiledStatement] = (
            WeakKeyDictionary()
        )

    async def rows(self, statement: AllWorkspacesStatement, **values: object) -> Sequence[Record]:
        compiled = self._statements.get(statement)
        if compiled is None:
            compiled = replace(
                compile_statement(statement.unrestricted, self._dialect),
                uses_reserved_connections=self._uses_reserved_connections,
            )
            self._statements[statement] = compiled
        return await self._fetch(compiled, compiled.encode_arguments(values))


_FetchRecords: TypeAlias = Callable[
    [CompiledStatement, Sequence[object]], Awaitable[Sequence[Record]]
]


class ReadDriver(Protocol):
    """Driver of read-only statements."""

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]: ...

    async def close(self) -> None: ...


class Database:
    """SQLite or PostgreSQL database, opened once per process; close it as an async context manager."""

    def __init__(
        self,
        url: str | URL,
        *,
        pooler: str = "none",
        direct_url: str | None = None,
        pool_size: int = 5,
        timeout: timedelta = timedelta(seconds=10),
        workspace_filter: WorkspaceFilter = restrict_to_workspace,
        make_write_lock: Callable[[Path, timedelta], WriteLock] = FileWriteLock,
        wrap_driver: Callable[[ReadDriver], ReadDriver] | None = None,
        wrap_writer: Callable[[WriteDriver], WriteDriver] | None = None,
    ) -> None:
        """Create the engines; `wrap_driver` and `wrap_writer` may return drivers that intercept calls.

        `pooler` is what `url` leads to, as in DATABASE_POOLER. `direct_url` leads to PostgreSQL itself.
        """
        self._workspace_filter = workspace_filter
        self.url = make_url(url)
        self.direct_url = make_url(direct_url or url)
        self.has_pooler = pooler != "none"
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._connection_threads = ConnectionThreads()
        self._restricted_statements: WeakKeyDictionary[Statement, CompiledStatement] = (
            WeakKeyDictionary()
        )
        driver: SQLiteReadDriver | PostgreSQLDriver
        writer: SQLiteWriteDriver | PostgreSQLDriver
        if self.is_sqlite:
            file = Path(str(self.url.database))
            write_lock = make_write_lock(file, timeout)
            driver = SQLiteReadDriver(
                file, max_threads=pool_size, timeout=timeout, reconnect_after=STATISTICS_INTERVAL
            )
            self.read_engine = sqlite_read_engine(self.url, timeout, self._connection_threads)
            self.write_engine = sqlite_write_engine(
                self.url, timeout, self._connection_threads, write_lock
            )
            writer = SQLiteWriteDriver(file, write_lock, timeout)
        else:
            driver, writer = (
                PostgreSQLDriver(
                    pooler_options(self.url, timeout)
                    if self.has_pooler
                    else driver_options(self.url, timeout, read_only=read_only),
                    size=pool_size,
                    timeout=timeout,
                    begin=begin_statement(timeout) if self.has_pooler else "BEGIN",
                    max_age=MAX_SESSION_AGE if pooler == "session" else None,
                )
                for read_only in (True, False)
            )
            self.read_engine = postgresql_engine(self.direct_url, timeout, read_only=True)
            self.write_engine = postgresql_engine(self.direct_url, timeout, read_only=False)
        self._own_driver = driver
        self.driver: ReadDriver = driver if wrap_driver is None else wrap_driver(driver)
        self.writer: WriteDriver = writer if wrap_writer is None else wrap_writer(writer)
        dialect = self.read_engine.dialect
        self.all_workspaces = AllWorkspacesReader(
            dialect, self._fetch, uses_reserved_connections=True
        )
        self.authentication_reader = AllWorkspacesReader(
            dialect, self._fetch, uses_reserved_connections=False
        )
        """Reader of API keys and sessions, whose workspace is not known yet."""
        self._write_statements = WriteStatements(self.write_engine.dialect, workspace_filter)
        self.timeout = timeout
        self._storage_failure: Exception | None = None
        """Last failure caused by the disk or the file, until `ping` can write; damage is not cleared."""
        self._commit_callbacks: list[Callable[[WorkspaceId], None]] = []
        self._transition_callbacks: list[Callable[[str, Transition], None]] = []

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """Open an SQLite file; its path may contain any characters."""
        return cls(URL.create("sqlite+aiosqlite", database=str(file)))

    @property
    def is_reading(self) -> bool:
        """True while this process runs statements that may return many rows."""
        return self._own_driver.is_reading

    def reader(self, workspace_id: WorkspaceId) -> Reader:
        """Return a reader of one workspace; each statement has its own snapshot."""
        return Reader(workspace_id, self, self._fetch)

    def reader_in(self, session: WriteSession) -> Reader:
        """Return a reader inside a write transaction, in the same workspace."""
        return Reader(session.workspace_id, self, session.transaction.fetch)

    @asynccontextmanager
    async def read_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a read connection of SQLAlchemy without a workspace, for a few quick statements.

        Raises ServiceUnavailable if all of them take longer than the timeout.
        """
        with translate_unavailable:
            async with (
                asyncio.timeout(self.timeout.total_seconds()),
                self.read_engine.connect() as connection,
            ):
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read connection with one snapshot for all statements, and without a time limit."""
        level = "AUTOCOMMIT" if self.is_sqlite else "REPEATABLE READ"
        with translate_unavailable:
            async with self.read_engine.connect() as connection:
                await connection.execution_options(isolation_level=level)
                if not self.is_sqlite:
                    yield connection
                    return
                await connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    # A cancellation closes the connection and invalidates it.
                    if not connection.invalidated:
                        await connection.exec_driver_sql("ROLLBACK")

    async def write(
        self, workspace_id: WorkspaceId, work: Callable[[WriteSession], Awaitable[T]]
    ) -> T:
        """Run `work` in one transaction in a workspace and commit it; any exception rolls it back.

        `work` may run more than once, so it must have no effects besides its statements. It must await
        nothing but the session: on SQLite it runs in the writer thread, which raises RuntimeError otherwise.
        """
        statements = self._write_statements
        return await self._write(
            lambda transaction: work(WriteSession(transaction, statements, workspace_id))
        )

    async def write_all_workspaces(
        self, work: Callable[[AllWorkspacesWriteSession], Awaitable[T]]
    ) -> T:
        """Do what `write` does, in all workspaces."""
        statements = self._write_statements
        return await self._write(
            lambda transaction: work(AllWorkspacesWriteSession(transaction, statements))
        )

    async def _write(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        with translate_unavailable:
            try:
                return await self.writer.write(run)
            except Exception as error:
                if is_storage_failure(error):
                    self._record_storage_failure(error)
                    raise unavailable_error() from error
                raise

    @contextmanager
    def on_commit(self, callback: Callable[[WorkspaceId], None]) -> Iterator[None]:
        """While the context is open, call `callback` with each workspace passed to `notify_commit`."""
        self._commit_callbacks.append(callback)
        try:
            yield
        finally:
            self._commit_callbacks.remove(callback)

    def notify_commit(self, workspace_id: WorkspaceId) -> None:
        """Call the callbacks of `on_commit`."""
        for callback in self._commit_callbacks:
            callback(workspace_id)

    @contextmanager
    def on_transition(self, callback: Callable[[str, Transition], None]) -> Iterator[None]:
        """While the context is open, call `callback` with all that is passed to `notify_transition`."""
        self._transition_callbacks.append(callback)
        try:
            yield
        finally:
            self._transition_callbacks.remove(callback)

    def notify_transition(self, platform: str, transition: Transition) -> None:
        """Call the callbacks of `on_transition` with a committed transition of a destination."""
        for callback in self._transition_callbacks:
            callback(platform, transition)

    @asynccontextmanager
    async def schema_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open the transaction of a migration; only one process at a time can be inside.

        On SQLite foreign keys are checked only at its end: SQLite rebuilds a table by dropping it, and
        that would delete the rows that refer to it.
        """
        with translate_unavailable:
            async with self.write_engine.connect() as connection:
                if self.is_sqlite:
                    async with foreign_keys_disabled(connection), connection.begin():
                        yield connection
                        await check_foreign_keys(connection)
                else:
                    async with connection.begin():
                        await acquire_schema_lock(connection)
                        yield connection

    async def refresh_statistics(self) -> None:
        """Refresh SQLite's planner statistics; does nothing on PostgreSQL, which has autovacuum.

        Holds the write lock for a fraction of a second, even with millions of rows.
        Raises ServiceUnavailable, and changes nothing, if the database is busy.
        """
        if self.is_sqlite:
            await self.write_all_workspaces(lambda session: session.rows(_REFRESH_STATISTICS))

    def missing_file(self) -> Path | None:
        """Return the path of an SQLite database that does not exist yet, or None."""
        if not self.is_sqlite:
            return None
        file = Path(str(self.url.database))
        with translate_unavailable:  # the folder may be unreadable
            return None if file.exists() else file

    def compile_restricted(self, statement: Statement) -> CompiledStatement:
        """Return the compiled statement, restricted to the workspace of the parameter `workspace`.

        Raises TypeError for what cannot be restricted.
        """
        compiled = self._restricted_statements.get(statement)
        if compiled is None:
            compiled = self._restricted_statements[statement] = self._compile_restricted(statement)
        return compiled

    def _compile_restricted(self, statement: Statement) -> CompiledStatement:
        restricted = self._workspace_filter(statement.select, bindparam(WORKSPACE_PARAM))
        dialect = self.read_engine.dialect
        if statement.counts_rows:
            restricted = select(func.count()).select_from(restricted.subquery())
        if statement.point_key is None or self.is_sqlite:
            return compile_statement(restricted, dialect)
        return compile_point_read(restricted, WORKSPACE_PARAM, statement.point_key, dialect)

    async def _fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        try:
            return await await_in_main_loop(self.driver.fetch, statement, arguments)
        except Exception as error:
            if is_unavailable(error):
                self._record_storage_failure(error)
                raise unavailable_error() from error
            raise

    def _record_storage_failure(self, error: Exception) -> None:
        if is_storage_failure(error) and not (
            self._storage_failure and is_damage(self._storage_failure)
        ):
            self._storage_failure = error

    async def ping(self) -> None:
        """Raise ServiceUnavailable unless the database can be read, and written after a failure of its disk.

        Raises it also once stored data were found to be damaged.
        """
        if self.missing_file() is not None:  # an open connection may outlive its file
            raise unavailable_error()
        await self.all_workspaces.rows(_READ_SQLITE_SCHEMA if self.is_sqlite else _SELECT_ONE)
        failure = self._storage_failure
        if failure is None:
            return
        if is_damage(failure):
            raise unavailable_error() from failure
        await self.write_all_workspaces(lambda session: session.rows(_PROBE_WRITE))
        if self._storage_failure is failure:  # no read has found damage since
            self._storage_failure = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        """Close all connections, and wait until the threads of SQLite have ended."""
        await self.driver.close()
        await self.writer.close()
        await self.read_engine.dispose()
        await self.write_engine.dispose()
        await self._connection_threads.wait_closed()


def open_database(settings: Settings) -> Database:
    """Open the database of the settings; close it as an async context manager."""
    return Database(
        settings.database_url,
        pooler=settings.database_pooler,
        direct_url=settings.database_direct_url,
        pool_size=settings.database_pool_size,
        timeout=settings.database_timeout,
    )
