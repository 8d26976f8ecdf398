"""Files that get their name when they are complete."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock

_SUFFIX = ".incomplete-export"
_FILE_MODE = 0o666
"""Limited by the umask, as for any new file."""


@contextmanager
def open_complete_file(file: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name, or replaces the old file, when the context has succeeded.

    Until then it has a hidden name in the same folder. A file that a killed process has left there is deleted
    by the next call for the folder. Anything but a regular file, such as a pipe, is written directly.
    """
    if file.exists() and not file.is_file():
        with file.open("wb") as opened:
            yield opened
        return
    target = file.resolve()
    _delete_abandoned_files(target.parent)
    with _incomplete_file(target.parent) as incomplete:
        with incomplete.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        incomplete.replace(target)


@contextmanager
def _incomplete_file(folder: Path) -> Iterator[Path]:
    """Create a file, and delete it unless it was renamed; it is locked while the context is open."""
    while True:
        path = folder / f".{secrets.token_hex(8)}{_SUFFIX}"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        try:
            if sys.platform != "win32":
                with suppress(
                    OSError
                ):  # no locks in the file system; then the file is never deleted
                    flock(lock, LOCK_EX)
            if os.fstat(
                lock
            ).st_nlink:  # it was not taken for an abandoned one before it was locked
                yield path
                return
        finally:
            os.close(lock)
            path.unlink(missing_ok=True)


def _delete_abandoned_files(folder: Path) -> None:
    """Delete the incomplete files of processes that have ended: their locks are free."""
    for path in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):  # it is locked, or belongs to another user
            lock = os.open(path, os.O_RDWR)
            try:
                if sys.platform != "win32":
                    flock(lock, LOCK_EX | LOCK_NB)
                    path.unlink()
            finally:
                os.close(lock)
