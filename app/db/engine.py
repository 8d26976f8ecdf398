"""The database: short reads in one workspace, short writes, and the one commit. No queries.

Reads and writes are different types. A read sees each statement's own snapshot and cannot change
anything; a write is one transaction that is committed here and nowhere else, and is retried as a
whole when the database asks for it.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar, cast

from sqlalchemy import URL, Join, Row, Select, Table, TextClause, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.expression import ColumnClause, FunctionElement
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from app.db.postgresql import postgresql_engine, wait_for_other_schema_changes
from app.db.sqlite import (
    NO_TIME_LIMIT,
    REFRESH_STATISTICS,
    Threads,
    foreign_keys_unchecked,
    refuse_broken_links,
    sqlite_reading,
    sqlite_writing,
)
from app.db.turns import FileTurns, Turns
from app.domain.errors import ServiceUnavailable
from app.domain.ids import WorkspaceId

T = TypeVar("T")

AnySelect: TypeAlias = Select[*tuple[Any, ...]]
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

WriteSession: TypeAlias = AsyncSession
"""The transaction of one `Database.write`."""

WorkspaceFilter = Callable[[AnySelect, WorkspaceId], AnySelect]

_WRITE_TRIES = 5
_RETRY_AFTER_SECONDS = 2

# Classes and codes of SQLSTATE; https://www.postgresql.org/docs/current/errcodes-appendix.html
_RETRY_WHOLE_TRANSACTION = ("40001", "40P01")  # serialization_failure, deadlock_detected
_NO_CONNECTION = ("08", "28", "3D", "55000", "57P")  # lost, not let in, not there, closed to all
_UNAVAILABLE = (*_NO_CONNECTION, "53", "55P03", "57014", *_RETRY_WHOLE_TRANSACTION)
_SQLITE_UNAVAILABLE = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_NOTADB",
    "SQLITE_IOERR",
    "SQLITE_FULL",
    "SQLITE_INTERRUPT",
)


def within_workspace(statement: AnySelect, workspace_id: WorkspaceId) -> AnySelect:
    """Confine every table that a statement reads from, at any depth, to one workspace.

    TypeError for what no WHERE can confine: a source that is not a table with a workspace, raw SQL,
    and an outer join, which the WHERE would make an inner one.
    """
    tables: dict[Table, None] = {}
    nested = False
    for part in _parts(statement):
        if isinstance(part, Select):
            nested = True
        elif isinstance(part, Table) and "workspace_id" in part.c:
            tables[part] = None
        elif not _reads_nothing_more(part):
            raise TypeError(f"{part} cannot be read inside a workspace")
    # A join by .join() is no part yet; its Join is built when the statement is compiled.
    if any(flags["isouter"] or flags["full"] for *_join, flags in statement._setup_joins):
        raise TypeError("an outer join cannot be read inside a workspace")

    if nested:
        statement = _with_nested(statement, lambda inner: within_workspace(inner, workspace_id))
    return statement.where(*(table.c.workspace_id == workspace_id for table in tables))


def _parts(statement: AnySelect) -> Iterator[ExternallyTraversible]:
    """Whatever a statement is made of; a SELECT in it is one part."""
    waiting: deque[ExternallyTraversible] = deque([statement])
    while waiting:
        for part in waiting.popleft().get_children():
            yield part
            if not isinstance(part, Select):
                waiting.append(part)


def _reads_nothing_more(part: ExternallyTraversible) -> bool:
    """Whether a part reads from no other source than its own parts do."""
    if isinstance(part, Join):
        return not part.isouter and not part.full
    if isinstance(part, ColumnClause):
        return not part.is_literal or part.name == "*"  # as in count(*)
    return isinstance(part, FunctionElement) or not isinstance(part, FromClause | TextClause)


def _with_nested(statement: AnySelect, confine: Callable[[AnySelect], AnySelect]) -> AnySelect:
    def confined(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
        is_nested = isinstance(element, Select) and element is not statement
        return confine(cast("AnySelect", element)) if is_nested else None

    return cast("AnySelect", replacement_traverse(statement, {}, confined))


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
        turns: Callable[[Path, timedelta], Turns] = FileTurns,
    ) -> None:
        self._confine = confine
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._threads = Threads()
        if self.is_sqlite:
            self.reading = sqlite_reading(self.url, pool_size, timeout, self._threads)
            self.writing = sqlite_writing(
                self.url, timeout, self._threads, turns(Path(str(self.url.database)), timeout)
            )
        else:
            self.reading = postgresql_engine(self.url, pool_size, timeout, read_only=True)
            self.writing = postgresql_engine(self.url, pool_size, timeout, read_only=False)

    @classmethod
    def in_file(cls, file: Path) -> Self:
        """The SQLite database in a file, whatever characters its path has."""
        return cls(URL.create("sqlite+aiosqlite", database=str(file)))

    @asynccontextmanager
    async def read(self, workspace_id: WorkspaceId) -> AsyncIterator[Reader]:
        """Read one workspace. Close it before awaiting anything that is not a statement."""
        async with self.read_all_workspaces() as connection:
            yield Reader(connection, workspace_id, self._confine)

    async def reading_within(self, session: WriteSession, workspace_id: WorkspaceId) -> Reader:
        """Reads of one workspace inside a write, as its transaction sees it."""
        return Reader(await session.connection(), workspace_id, self._confine)

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
            await connection.execution_options(isolation_level=level, **{NO_TIME_LIMIT: True})
            begin = "BEGIN" if self.is_sqlite else "SET LOCAL statement_timeout = 0"
            await connection.exec_driver_sql(begin)
            try:
                yield connection
            finally:
                if self.is_sqlite:
                    await connection.exec_driver_sql("ROLLBACK")

    async def write(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
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
                    await connection.execution_options(**{NO_TIME_LIMIT: True})
                    async with foreign_keys_unchecked(connection), connection.begin():
                        yield connection
                        await refuse_broken_links(connection)
                else:
                    async with connection.begin():
                        await wait_for_other_schema_changes(connection)
                        yield connection

    async def refresh_statistics(self) -> None:
        """Let SQLite count again what its planner goes by; PostgreSQL sees to it by itself.

        Takes the write lock, for a part of a second also where there are millions of rows.
        ServiceUnavailable, and nothing changed, if the database is busy.
        """
        if self.is_sqlite:
            await self.write(_refresh_statistics)

    def missing_file(self) -> Path | None:
        """Where the SQLite file should be that nobody has made yet; None if there is one."""
        if not self.is_sqlite:
            return None
        file = Path(str(self.url.database))
        with _unavailable_explained():  # a folder may be closed to us
            return None if file.exists() else file

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
        await self._threads.ended()


def insert_with_on_conflict(
    session: WriteSession, model: type[DeclarativeBase]
) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that may say ON CONFLICT; each engine has its own class for it."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(model)
    return postgresql.insert(model)


async def _refresh_statistics(session: WriteSession) -> None:
    await session.execute(text(REFRESH_STATISTICS))


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
