"""Backup of a database to one SQLite file, and restore into an empty database of either engine."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from app.db.core.database import Database
from app.db.core.write_lock import LOCK_FILE_SUFFIXES
from app.db.migrations import check_schema_version, migrate
from app.db.tools.copying import copy_database

_OWNER_ONLY_MODE = 0o600
_SQLITE_MAGIC = b"SQLite format 3\0"


class BackupError(Exception):
    """Backup or restore refused before writing; the message is a sentence for the operator."""


async def backup(
    database: Database, file: Path, *, now: datetime, random_bytes: Callable[[int], bytes]
) -> dict[str, int]:
    """Write a snapshot of all rows to a new SQLite file; return the number of rows per table.

    The file gets its name when it is complete, and a server can use it directly. It contains secrets, so
    only its owner may read it. Raises BackupError if the file exists.
    """
    await check_schema_version(database)
    _require_new_file(file)
    partial = file.with_name(f".{file.name}.{random_bytes(8).hex()}.partial")
    partial.touch(mode=_OWNER_ONLY_MODE, exist_ok=False)
    try:
        async with Database.from_file(partial) as target:
            await migrate(target, now=now, random_bytes=random_bytes)
            rows = await copy_database(database, target)
        _require_new_file(file)
        partial.rename(file)
    finally:
        for suffix in ("", "-wal", "-shm", *LOCK_FILE_SUFFIXES):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return rows


async def restore(
    file: Path, database: Database, *, now: datetime, random_bytes: Callable[[int], bytes]
) -> dict[str, int]:
    """Copy a backup into an empty database; return the number of rows per table.

    Raises BackupError if the file is not a backup, SchemaMismatch if it has another version, and
    TargetNotEmpty if the database has data.
    """
    _require_sqlite_file(file)
    async with Database.from_file(file) as source:
        await check_schema_version(source)
        await migrate(database, now=now, random_bytes=random_bytes)
        return await copy_database(source, database)


def _require_new_file(file: Path) -> None:
    if file.exists():
        raise BackupError(f"{file} exists; choose another name, a backup never overwrites a file.")


def _require_sqlite_file(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}.") from error
    if magic != _SQLITE_MAGIC:
        raise BackupError(f"{file} is not a backup of post-results.")
