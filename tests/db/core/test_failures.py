"""Failures of disks and files: their description for operators, and the reaction of readiness probes."""

import errno
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from app.db.core.database import Database, ReadDriver
from app.db.core.failures import describe_failure, is_storage_failure, is_unavailable
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_session import AllWorkspacesWriteSession, Transaction, WriteDriver
from app.db.migrations import migrate
from app.db.models import Deployment
from app.domain.errors import ServiceUnavailable
from tests.db.core.test_database import only_on_sqlite
from tests.factories import NOW, add_workspace
from tests.raw_statements import of_test, run_raw

T = TypeVar("T")

FULL = "database or disk is full. Free some space on its disk."
DAMAGED = (
    "The database is damaged, or belongs to another program. Stop the server, run post-results check,"
    " and restore a backup."
)


def sqlite_error(name: str, message: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "description"),
    [
        (sqlite_error("SQLITE_FULL", "database or disk is full"), FULL),
        (asyncpg.DiskFullError("no space left"), "no space left. Free some space on its disk."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/srv/a.db-lock"),
            "No space left on device. Free some space on its disk.",
        ),
        (sqlite_error("SQLITE_CORRUPT_INDEX", "malformed"), f"malformed. {DAMAGED}"),
        (asyncpg.DataCorruptedError("invalid page"), f"invalid page. {DAMAGED}"),
        (
            sqlite_error("SQLITE_READONLY", "attempt to write a readonly database"),
            "attempt to write a readonly database. Let this process write the database file and its"
            " folder.",
        ),
        (sqlite_error("SQLITE_IOERR_READ", "disk I/O error"), "disk I/O error. Check its disk."),
        (
            asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE"),
            "cannot execute UPDATE. Connect to the primary server.",
        ),
        (
            OperationalError("UPDATE x", {}, sqlite_error("SQLITE_FULL", "is full")),
            "is full. Free some space on its disk.",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failure_of_storage_is_described_with_advice(error: Exception, description: str) -> None:
    assert describe_failure(error) == description
    assert is_storage_failure(error)
    assert is_unavailable(error) is not _is_refused_write(error)


def _is_refused_write(error: Exception) -> bool:
    """A write in a read is a mistake of the code; only `Database.write` reports it as unavailable."""
    return (
        isinstance(error, asyncpg.ReadOnlySQLTransactionError)
        or getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY"
    )


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error("SQLITE_BUSY", "database is locked"),
        asyncpg.LockNotAvailableError("lock timeout"),
        OSError(errno.ECONNREFUSED, "Connection refused"),
        TimeoutError("timed out"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_unavailability_is_no_failure_of_storage(error: Exception) -> None:
    assert describe_failure(error) == str(error)
    assert not is_storage_failure(error)
    assert is_unavailable(error)


class FullDiskWriter:
    """Writer of a disk that may be full."""

    after_write: Callable[[], Awaitable[None]] | None = None
    """Function that runs after each write, before its caller gets the result."""

    def __init__(self, writer: WriteDriver) -> None:
        self._writer = writer
        self.is_full = False

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        if self.is_full:
            raise sqlite_error("SQLITE_FULL", "database or disk is full")
        result = await self._writer.write(work)
        if self.after_write is not None:
            await self.after_write()
        return result

    async def close(self) -> None:
        await self._writer.close()


class DamagedFileReader:
    """Reader of a file that may be damaged."""

    def __init__(self, driver: ReadDriver) -> None:
        self._driver = driver
        self.is_damaged = False

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        if self.is_damaged:
            raise sqlite_error("SQLITE_CORRUPT", "malformed")
        return await self._driver.fetch(statement, arguments)

    async def close(self) -> None:
        await self._driver.close()


async def expect_failure_of_write(database: Database) -> str:
    """Return the description of the failure of a write."""
    with pytest.raises(ServiceUnavailable) as raised:
        await add_workspace(database)
    assert raised.value.message == "The database is not available. Try again in a moment."
    assert raised.value.__cause__ is not None
    return describe_failure(raised.value.__cause__)


async def test_full_disk_is_not_ready_until_there_is_space(database_url: str) -> None:
    async with Database(database_url, wrap_writer=FullDiskWriter) as database:
        writer = cast("FullDiskWriter", database.writer)
        writer.is_full = True
        await database.ping()  # reads work, and no write has failed yet
        assert await expect_failure_of_write(database) == FULL
        for _ in range(2):
            with pytest.raises(ServiceUnavailable) as not_ready:
                await database.ping()
            assert isinstance(not_ready.value.__cause__, sqlite3.OperationalError)

        writer.is_full = False
        await database.ping()
        writer.is_full = True
        await database.ping()  # the failure is over, and no other write has failed


async def test_damage_that_is_found_during_the_write_of_a_probe_is_remembered(
    database_url: str,
) -> None:
    async with Database(
        database_url, wrap_driver=DamagedFileReader, wrap_writer=FullDiskWriter
    ) as database:
        reader = cast("DamagedFileReader", database.driver)
        writer = cast("FullDiskWriter", database.writer)

        async def find_damage() -> None:
            reader.is_damaged = True
            with pytest.raises(ServiceUnavailable):
                await database.all_workspaces.rows(of_test(select(Deployment.id)))
            reader.is_damaged = False

        writer.is_full = True
        await expect_failure_of_write(database)
        writer.is_full, writer.after_write = False, find_damage
        await database.ping()
        with pytest.raises(ServiceUnavailable) as not_ready:
            await database.ping()

    assert str(not_ready.value.__cause__) == "malformed"


@only_on_sqlite
async def test_full_database_is_reported(database: Database) -> None:
    async def limit_size(session: AllWorkspacesWriteSession) -> None:
        await run_raw(
            session, text("PRAGMA max_page_count = 1")
        )  # of all pages, no more are allowed

    async def fill(session: AllWorkspacesWriteSession) -> None:
        await run_raw(session, text("CREATE TABLE filler AS SELECT zeroblob(100000) AS content"))

    await database.write_all_workspaces(limit_size)
    with pytest.raises(ServiceUnavailable) as raised:
        await database.write_all_workspaces(fill)

    assert raised.value.__cause__ is not None
    assert describe_failure(raised.value.__cause__) == FULL


async def test_damaged_file_is_not_ready_any_longer(anyio_backend: str, tmp_path: Path) -> None:
    file = tmp_path / "damaged.db"
    async with Database.from_file(file) as intact:
        await migrate(intact, now=NOW, random_bytes=bytes)
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'workspace'"
        ).fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(file.read_bytes())
    content[(page - 1) * page_size : page * page_size] = b"\xff" * page_size
    file.write_bytes(content)

    async with Database.from_file(file) as damaged:
        await damaged.ping()  # it reads the schema only
        description = await expect_failure_of_write(damaged)
        with pytest.raises(ServiceUnavailable) as not_ready:
            await damaged.ping()

    assert description == f"database disk image is malformed. {DAMAGED}"
    assert isinstance(not_ready.value.__cause__, sqlite3.DatabaseError)
