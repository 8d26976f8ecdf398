"""Atomic writes of files: a file gets its name when it is complete and on the disk."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock

_SUFFIX = ".post-results-incomplete"


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Write a file atomically: yield the path of a temporary file, and rename it to `target` at the end.

    Until then it is in a hidden folder beside the target, which only its owner can open. If the context
    fails, the folder is deleted. One that a killed process has left is deleted by the next call for a file
    beside it.
    """
    _delete_abandoned_folders(target.parent)
    with _hidden_folder(target.parent) as folder:
        incomplete = folder / target.name
        yield incomplete
        _flush_to_disk(incomplete)
        incomplete.replace(target)
    _flush_to_disk(target.parent)


@contextmanager
def open_atomic_file(file: Path) -> Iterator[BinaryIO]:
    """Open an `atomic_file` for writing, with the permissions of the file that it replaces.

    What is no regular file, such as a pipe, is written directly.
    """
    if file.exists() and not file.is_file():
        with file.open("wb") as opened:
            yield opened
        return
    with atomic_file(file.resolve()) as incomplete, incomplete.open("wb") as opened:
        with suppress(FileNotFoundError):  # a new file has those of the umask
            shutil.copymode(file, incomplete)
        yield opened


@contextmanager
def _hidden_folder(parent: Path) -> Iterator[Path]:
    """Create a folder that is locked during the context, and deleted afterwards."""
    with ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=".", suffix=_SUFFIX))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with suppress(OSError):  # some network file systems have no locks
                stack.enter_context(_locked(folder, waits=True))
            if (
                folder.exists()
            ):  # no other process took it for an abandoned one before it was locked
                break
        yield folder


def _delete_abandoned_folders(parent: Path) -> None:
    """Delete the folders of processes that have ended: their locks are free."""
    for folder in parent.glob(f".*{_SUFFIX}"):
        with suppress(OSError), _locked(folder, waits=False):
            shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path, *, waits: bool) -> Iterator[None]:
    """Lock a folder until the end of the context or of the process.

    Raises OSError if it cannot be locked, and unless the caller waits, if another process has locked it.
    """
    if sys.platform == "win32":
        raise OSError("A folder cannot be locked on this system.")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX if waits else LOCK_EX | LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, survive a power failure."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
