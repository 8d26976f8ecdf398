"""Backup during concurrent writes, and restore; failures leave no partial files."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import text

from app.db.core.database import Database
from app.db.migrations import SchemaMismatch
from app.db.repositories.posts import PostCriteria, count_posts
from app.db.tools.integrity import find_problems
from app.domain.ids import WorkspaceId
from app.services.backup import BackupError, backup, restore
from tests.db.all_tables import WORKSPACE, Ids, add_event, add_row_in_every_table, all_rows
from tests.external_programs import ROOT
from tests.factories import NOW, add_post, add_workspace, queued


def random_bytes(length: int) -> bytes:
    return b"r" * length


def fail_for_secret_key(length: int) -> bytes:
    if length > 8:
        raise LookupError(length)
    return bytes(length)


@pytest.fixture
async def empty_database(anyio_backend: str, empty_database_url: str) -> AsyncIterator[Database]:
    async with Database(empty_database_url) as opened:
        yield opened


async def test_restored_backup_has_identical_rows(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    await add_row_in_every_table(database)
    file = tmp_path / "weekly [1] 100%?.db"

    backed_up = await backup(database, file, now=NOW, random_bytes=random_bytes)
    restored = await restore(file, empty_database, now=NOW, random_bytes=random_bytes)

    assert restored == backed_up
    # A restored session would be valid again after its end.
    assert await all_rows(empty_database) == {**await all_rows(database), "session": []}
    reader = empty_database.reader(WorkspaceId(WORKSPACE))
    assert await count_posts(reader, PostCriteria(search="grüsse")) == 1


async def test_backup_is_one_private_file_that_a_server_can_use(
    database: Database, tmp_path: Path
) -> None:
    await add_row_in_every_table(database)
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "backup.db"

    await backup(database, file, now=NOW, random_bytes=random_bytes)

    assert list(folder.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600
    async with Database.from_file(file) as served:
        assert await all_rows(served) == {**await all_rows(database), "session": []}
        await add_workspace(served)


async def test_existing_file_is_refused_and_left_unchanged(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "backup.txt"
    file.write_text("existing")

    with pytest.raises(BackupError) as refusal:
        await backup(database, file, now=NOW, random_bytes=random_bytes)

    assert str(refusal.value) == f"{file} exists; choose another name, or use --replace."
    assert file.read_text() == "existing"


async def test_failed_backup_leaves_no_file(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    with pytest.raises(LookupError):
        await backup(database, folder / "backup.db", now=NOW, random_bytes=fail_for_secret_key)

    assert list(folder.iterdir()) == []


async def test_older_backup_is_replaced(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "latest.db"
    await backup(database, file, now=NOW, random_bytes=random_bytes)
    await add_row_in_every_table(database)

    replaced = await backup(database, file, replace=True, now=NOW, random_bytes=random_bytes)

    assert list(folder.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600
    assert await restore(file, empty_database, now=NOW, random_bytes=random_bytes) == replaced


async def test_failed_replacement_leaves_the_older_backup(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "latest.db"
    await backup(database, file, now=NOW, random_bytes=random_bytes)
    older = file.read_bytes()

    with pytest.raises(LookupError):
        await backup(database, file, replace=True, now=NOW, random_bytes=fail_for_secret_key)

    assert list(folder.iterdir()) == [file]
    assert file.read_bytes() == older


async def test_other_files_than_backups_are_not_replaced(
    database: Database, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database")
    served = tmp_path / "served.db"
    await backup(database, served, now=NOW, random_bytes=random_bytes)
    content = served.read_bytes()

    async with Database.from_file(served) as server:
        reader = server.reader(WorkspaceId(WORKSPACE))
        assert await count_posts(reader, PostCriteria()) == 0
        with pytest.raises(BackupError) as in_use:
            await backup(database, served, replace=True, now=NOW, random_bytes=random_bytes)
    with pytest.raises(BackupError) as no_backup:
        await backup(database, notes, replace=True, now=NOW, random_bytes=random_bytes)

    assert str(in_use.value) == (
        f"{served} is a database in use; choose another name for the backup."
    )
    assert str(no_backup.value) == f"{notes} is not a backup of post-results."
    assert (notes.read_text(), served.read_bytes()) == ("not a database", content)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_database_is_not_replaced_by_its_backup(database: Database, tmp_path: Path) -> None:
    file = Path(str(database.url.database))
    link = tmp_path / "link.db"
    link.symlink_to(file)
    number = os.stat(file).st_ino  # noqa: PTH116

    for name in (file, link):
        with pytest.raises(BackupError, match="is a database in use"):
            await backup(database, name, replace=True, now=NOW, random_bytes=random_bytes)

    assert os.stat(file).st_ino == number  # noqa: PTH116


async def test_backup_whose_rows_are_not_in_one_file_is_not_written(
    database: Database, tmp_path: Path
) -> None:
    """Another connection prevents what a full disk prevents: that SQLite empties its write-ahead log."""
    folder = tmp_path / "backups"
    folder.mkdir()
    with ExitStack() as readers:

        def read_in_another_connection(length: int) -> bytes:
            for partial in folder.glob("*/backup.db"):
                reader = readers.enter_context(closing(sqlite3.connect(partial)))
                reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            return random_bytes(length)

        with pytest.raises(BackupError, match="which needs twice the size of the backup"):
            await backup(
                database, folder / "backup.db", now=NOW, random_bytes=read_in_another_connection
            )

    assert list(folder.iterdir()) == []


BACKUP_THAT_IS_KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path

from app.db.core.database import Database
from app.services.backup import backup

def random_bytes(length):
    if length > 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return b"k" * length

async def main(url, file):
    async with Database(url) as database:
        await backup(
            database, Path(file), replace=True, now=datetime.now(UTC), random_bytes=random_bytes
        )

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_backup_leaves_the_older_one_and_nothing_for_ever(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "latest [1].db"
    await backup(database, file, now=NOW, random_bytes=random_bytes)
    older = file.read_bytes()

    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BACKUP_THAT_IS_KILLED, database_url, str(file), cwd=ROOT
    )
    await killed.wait()

    assert killed.returncode == -signal.SIGKILL
    (incomplete,) = {*folder.iterdir()} - {file}
    assert incomplete.is_dir()
    assert file.read_bytes() == older
    await backup(database, file, replace=True, now=NOW, random_bytes=random_bytes)
    assert list(folder.iterdir()) == [file]


async def test_backup_does_not_disturb_a_running_one_to_the_same_file(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "latest.db"
    command = ["backup", "--replace", str(file)]
    outputs = []

    def run_another_backup(length: int) -> bytes:
        if length > 8:
            other = subprocess.run(
                [sys.executable, "-m", "app", *command],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": database_url},
                capture_output=True,
                text=True,
                check=True,
            )
            outputs.append(other.stdout)
        return random_bytes(length)

    await backup(database, file, replace=True, now=NOW, random_bytes=run_another_backup)

    assert outputs == [f"{file} has 1 rows.\n"]
    assert list(folder.iterdir()) == [file]


async def test_database_of_another_version_is_not_backed_up(
    empty_database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    with pytest.raises(SchemaMismatch):
        await backup(empty_database, folder / "backup.db", now=NOW, random_bytes=random_bytes)

    assert list(folder.iterdir()) == []


async def test_backup_during_concurrent_writes_is_consistent(
    database: Database, tmp_path: Path
) -> None:
    ids = await add_row_in_every_table(database)
    file = tmp_path / "backup.db"
    backup_ended = asyncio.Event()

    async def keep_writing() -> int:
        rounds = 0
        while not backup_ended.is_set():
            await write_rows(database, ids)
            rounds += 1
        return rounds

    async def back_up() -> None:
        try:
            await backup(database, file, now=NOW, random_bytes=random_bytes)
        finally:
            backup_ended.set()

    writer = asyncio.create_task(keep_writing())
    await back_up()
    rounds = await writer

    async with Database.from_file(file) as copy:
        copied, live = await all_rows(copy), await all_rows(database)
        assert await find_problems(copy) == []
        assert await find_problems(database) == []
    assert rounds > 1
    assert 3 <= len(copied["event"]) < len(live["event"]) == 3 + rounds


async def write_rows(database: Database, ids: Ids) -> None:
    await add_event(database, ids)
    await add_post(database, ids.workspace, {ids.account: queued()})


async def test_unreadable_backup_is_refused(empty_database: Database, tmp_path: Path) -> None:
    text_file = tmp_path / "notes.txt"
    text_file.write_text("not a database")
    missing_file = tmp_path / "missing.db"

    with pytest.raises(BackupError) as not_a_backup:
        await restore(text_file, empty_database, now=NOW, random_bytes=random_bytes)
    with pytest.raises(BackupError) as missing:
        await restore(missing_file, empty_database, now=NOW, random_bytes=random_bytes)

    assert str(not_a_backup.value) == f"{text_file} is not a backup of post-results."
    assert str(missing.value) == f"{missing_file} cannot be read: No such file or directory."
    assert not missing_file.exists()


async def test_backup_of_a_newer_version_is_refused(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "backup.db"
    await backup(database, file, now=NOW, random_bytes=random_bytes)
    async with Database.from_file(file) as newer, newer.schema_transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaMismatch):
        await restore(file, empty_database, now=NOW, random_bytes=random_bytes)
