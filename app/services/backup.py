"""Backup of a database to one SQLite file, and restore into an empty database of either engine."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from app.db.core.database import Database
from app.db.migrations import check_schema_version, migrate
from app.db.tools.copying import copy_database
from app.services.atomic_files import atomic_file

_OWNER_ONLY_MODE = 0o600
_SQLITE_MAGIC = b"SQLite format 3\0"


class BackupError(Exception):
    """Backup or restore refused before writing; the message is a sentence for the operator."""


async def backup(
    database: Database,
    file: Path,
    *,
    replace: bool = False,
    now: datetime,
    random_bytes: Callable[[int], bytes],
) -> dict[str, int]:
    """Write a snapshot of all rows to an SQLite file; return the number of rows per table.

    The file gets its name when it is complete and on the disk, and a server can use it directly. It contains
    secrets, so only its owner may read it. Raises BackupError if the file exists, or with `replace`, if it
    is anything but a backup that no process has open.
    """
    await check_schema_version(database)
    file = file.resolve()  # noqa: ASYNC240 - once, for a command
    check_target = partial(_check_replaced_file, database) if replace else _require_new_file
    check_target(file)
    with atomic_file(file) as incomplete:
        incomplete.touch(mode=_OWNER_ONLY_MODE, exist_ok=False)
        async with Database.from_file(incomplete) as target:
            await migrate(target, now=now, random_bytes=random_bytes)
            rows = await copy_database(database, target)
        if _write_ahead_log(incomplete).exists():
            raise BackupError(
                f"{file} is not written, because its rows could not be moved to one file. Check the free"
                " space of its disk, which needs twice the size of the backup."
            )
        check_target(file)
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


def _write_ahead_log(file: Path) -> Path:
    """Return the file with the rows that SQLite has not moved to the database; absent after a full close."""
    return file.with_name(f"{file.name}-wal")


def _require_new_file(file: Path) -> None:
    if file.exists():
        raise BackupError(f"{file} exists; choose another name, or use --replace.")


def _check_replaced_file(database: Database, file: Path) -> None:
    """Raise BackupError if a file exists that is no backup, or that is a database in use."""
    if not file.exists():
        return
    _require_sqlite_file(file)
    is_source = database.is_sqlite and file.samefile(str(database.url.database))
    if is_source or _write_ahead_log(file).exists():
        raise BackupError(f"{file} is a database in use; choose another name for the backup.")


def _require_sqlite_file(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}.") from error
    if magic != _SQLITE_MAGIC:
        raise BackupError(f"{file} is not a backup of post-results.")
