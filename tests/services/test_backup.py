"""Backup during concurrent writes, and restore; failures leave no partial files."""

import asyncio
from collections.abc import AsyncIterator
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
from tests.factories import NOW, add_post, add_workspace, queued


def random_bytes(length: int) -> bytes:
    return b"r" * length


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

    assert (
        str(refusal.value)
        == f"{file} exists; choose another name, a backup never overwrites a file."
    )
    assert file.read_text() == "existing"


async def test_failed_backup_leaves_no_file(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    def fail_for_secret_key(length: int) -> bytes:
        if length > 8:
            raise LookupError(length)
        return bytes(length)

    with pytest.raises(LookupError):
        await backup(database, folder / "backup.db", now=NOW, random_bytes=fail_for_secret_key)

    assert list(folder.iterdir()) == []


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
