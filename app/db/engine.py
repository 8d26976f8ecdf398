"""The database: short reads in one workspace, short writes, and the one commit. No queries.

Reads and writes are different types. A read sees each statement's own snapshot and cannot change
anything; a write is one transaction that is committed here and nowhere else, and is retried as a
whole when the database asks for it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar, cast

import aiosqlite
from sqlalchemy import URL, Join, Row, Select, Table, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.sql import FromClause
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId

T = TypeVar("T")

AnySelect: TypeAlias = Select[*tuple[Any, ...]]
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

WriteSession: TypeAlias = AsyncSession
"""The transaction of one `Database.write`."""

WorkspaceFilter = Callable[[AnySelect, WorkspaceId], AnySelect]

_SCHEMA_LOCK = 0x706F7374  # "post"; any number that no other program on the server uses
_WRITE_TRIES = 5
_RETRY_AFTER_SECONDS = 2

# Classes and codes of SQLSTATE; https://www.postgresql.org/docs/current/errcodes-appendix.html
_RETRY_WHOLE_TRANSACTION = ("40001", "40P01")  # serialization_failure, deadlock_detected
_NO_CONNECTION = ("08", "28", "3D", "57P")  # lost, not let in, no such database, shutting down
_UNAVAILABLE = (*_NO_CONNECTION, "53", "55P03", "57014", *_RETRY_WHOLE_TRANSACTION)
_SQLITE_UNAVAILABLE = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_IOERR",
    "SQLITE_FULL",
)


def within_workspace(statement: AnySelect, workspace_id: WorkspaceId) -> AnySelect:
    """Confine every table that a statement reads from to one workspace."""
    for source in statement.get_final_froms():
        for table in _tables(source):
            statement = statement.where(table.c.workspace_id == workspace_id)
    return statement


def _tables(source: FromClause) -> Iterator[Table]:
    if isinstance(source, Join):
        yield from _tables(source.left)
        yield from _tables(source.right)
    elif isinstance(source, Table) and "workspace_id" in source.c:
        yield source
    else:
        raise TypeError(f"{source} cannot be read inside a workspace")


class Reader:
    """Reads of one workspace. The filter is applied here, so a query cannot forget it."""

    def __init__(
        self, connection: AsyncConnection, workspace_id: WorkspaceId, confine: WorkspaceFilter
    ) -> None:
        self._connection = connection
        self._workspace_id = workspace_id
        self._confine = confine

    async def rows(self, statement: AnySelect) -> Sequence[AnyRow]:
        result = await self._connection.execute(self._confine(statement, self._workspace_id))
        return result.all()

    async def first(self, statement: AnySelect) -> AnyRow | None:
        result = await self._connection.execute(self._confine(statement, self._workspace_id))
        return result.first()

    async def count(self, statement: AnySelect) -> int:
        """The one number of a `SELECT count(*)`."""
        result = await self._connection.execute(self._confine(statement, self._workspace_id))
        return int(result.scalar_one())


class Database:
    """Both engines behind one face; made once per process and closed at its end."""

    def __init__(
        self,
        url: str | URL,
        *,
        pool_size: int = 5,
        timeout: timedelta = timedelta(seconds=10),
        confine: WorkspaceFilter = within_workspace,
    ) -> None:
        self._confine = confine
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.reading = _sqlite_reading(self.url, pool_size, timeout)
            self.writing = _sqlite_writing(self.url, timeout)
        else:
            self.reading = _postgresql_engine(self.url, pool_size, timeout, read_only=True)
            self.writing = _postgresql_engine(self.url, pool_size, timeout, read_only=False)

    @classmethod
    def in_file(cls, file: Path) -> Self:
        """The SQLite database in a file, whatever characters its path has."""
        return cls(URL.create("sqlite+aiosqlite", database=str(file)))

    @asynccontextmanager
    async def read(self, workspace_id: WorkspaceId) -> AsyncIterator[Reader]:
        """Read one workspace. Close it before awaiting anything that is not a statement."""
        async with self.read_all_workspaces() as connection:
            yield Reader(connection, workspace_id, self._confine)

    @asynccontextmanager
    async def read_all_workspaces(self) -> AsyncIterator[AsyncConnection]:
        """Read without a workspace: to find a key's own, and for the operator's commands."""
        with _unavailable_explained():
            async with self.reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Read any number of statements, however long, as of one instant; for the operator."""
        level = "AUTOCOMMIT" if self.is_sqlite else "REPEATABLE READ"
        async with self.read_all_workspaces() as connection:
            await connection.execution_options(isolation_level=level)
            begin = "BEGIN" if self.is_sqlite else "SET LOCAL statement_timeout = 0"
            await connection.exec_driver_sql(begin)
            try:
                yield connection
            finally:
                if self.is_sqlite:
                    await connection.exec_driver_sql("ROLLBACK")

    async def write(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; on any exception nothing is kept.

        `work` may run more than once, so it must have no effect but its statements.
        """
        with _unavailable_explained():
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_asks_for_a_retry),
                stop=stop_after_attempt(_WRITE_TRIES),
                wait=wait_random_exponential(multiplier=0.02, max=0.5),
                reraise=True,
            ):
                with attempt:
                    async with AsyncSession(self.writing, expire_on_commit=False) as session:
                        result = await work(session)
                        await session.commit()
        return result

    @asynccontextmanager
    async def changing_schema(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that no other process shares a schema change with; for migrations.

        Foreign keys are unchecked until its end, because SQLite rebuilds a table by dropping it,
        and a drop would delete the rows that refer to it.
        """
        with _unavailable_explained():
            async with self.writing.connect() as connection:
                if self.is_sqlite:
                    async with _foreign_keys_unchecked(connection), connection.begin():
                        yield connection
                        await _refuse_broken_links(connection)
                else:
                    async with connection.begin():
                        await _wait_for_other_schema_changes(connection)
                        yield connection

    async def ping(self) -> None:
        """Raise ServiceUnavailable unless a statement can be run."""
        async with self.read_all_workspaces() as connection:
            await connection.execute(text("SELECT 1"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        """Close every connection; whoever made a database leaves it here."""
        await self.reading.dispose()
        await self.writing.dispose()


def _sqlite_reading(url: URL, pool_size: int, timeout: timedelta) -> AsyncEngine:
    engine = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        hide_parameters=True,  # an exception is logged, and must not carry what people wrote
    )
    _on_connect(engine, timeout, {"query_only": "ON"})
    return engine


def _sqlite_writing(url: URL, timeout: timedelta) -> AsyncEngine:
    """One connection: inside a process, writers wait in the pool's queue, not in SQLite's."""
    engine = create_async_engine(
        url,
        connect_args={"isolation_level": None},
        pool_size=1,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        hide_parameters=True,  # an exception is logged, and must not carry what people wrote
    )
    _on_connect(
        engine, timeout, {"journal_mode": "WAL", "synchronous": "FULL", "foreign_keys": "ON"}
    )

    @event.listens_for(engine.sync_engine, "begin")
    def take_the_write_lock_first(connection: Any) -> None:
        # A transaction that reads before it writes would fail at once when another one got between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _on_connect(engine: AsyncEngine, timeout: timedelta, pragmas: Mapping[str, str]) -> None:
    busy_timeout = str(timeout // timedelta(milliseconds=1))

    @event.listens_for(engine.sync_engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for name, value in {"busy_timeout": busy_timeout, **pragmas}.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()


def _postgresql_engine(
    url: URL, pool_size: int, timeout: timedelta, *, read_only: bool
) -> AsyncEngine:
    milliseconds = str(timeout // timedelta(milliseconds=1))
    return create_async_engine(
        url,
        isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds(),
        hide_parameters=True,  # an exception is logged, and must not carry what people wrote
        pool_pre_ping=True,
        connect_args={
            "timeout": timeout.total_seconds(),
            "server_settings": {
                "application_name": "post-results",
                "statement_timeout": milliseconds,
                "lock_timeout": milliseconds,
                "default_transaction_read_only": "on" if read_only else "off",
            },
        },
    )


@asynccontextmanager
async def _foreign_keys_unchecked(connection: AsyncConnection) -> AsyncIterator[None]:
    """Off for a whole transaction: inside of one, SQLite ignores this pragma."""
    await _set_foreign_keys(connection, "OFF")
    try:
        yield
    finally:
        await _set_foreign_keys(connection, "ON")


async def _set_foreign_keys(connection: AsyncConnection, value: str) -> None:
    # On the driver's connection, because a statement of SQLAlchemy's would begin a transaction.
    pooled = await connection.get_raw_connection()
    await cast("aiosqlite.Connection", pooled.driver_connection).execute(
        f"PRAGMA foreign_keys={value}"
    )


async def _refuse_broken_links(connection: AsyncConnection) -> None:
    broken = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all()
    if broken:
        raise RuntimeError(f"{len(broken)} rows would refer to rows that do not exist")


async def _wait_for_other_schema_changes(connection: AsyncConnection) -> None:
    # The other process may rebuild large tables: no limit on the wait, nor on our own statements.
    for limit in ("statement_timeout", "lock_timeout"):
        await connection.execute(text(f"SET LOCAL {limit} = 0"))
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})


@contextmanager
def _unavailable_explained() -> Iterator[None]:
    """Turn "the database cannot answer now" into the public error; leave mistakes as they are."""
    try:
        yield
    except (PoolTimeout, OSError) as error:
        raise _unavailable() from error
    except DBAPIError as error:
        if not _is_unavailable(error):
            raise
        raise _unavailable() from error


def _unavailable() -> ServiceUnavailable:
    return ServiceUnavailable(
        "The database did not answer in time. Try again in a moment.",
        retry_after=_RETRY_AFTER_SECONDS,
    )


def _is_unavailable(error: DBAPIError) -> bool:
    sqlite_name = str(getattr(error.orig, "sqlite_errorname", ""))
    return (
        error.connection_invalidated
        or _has_state(error, _UNAVAILABLE)
        or sqlite_name.startswith(_SQLITE_UNAVAILABLE)
    )


def _asks_for_a_retry(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and _has_state(error, _RETRY_WHOLE_TRANSACTION)


def _has_state(error: DBAPIError, states: tuple[str, ...]) -> bool:
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(states)
