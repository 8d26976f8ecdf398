"""Atomic writes of files, and the temporary files that a killed process leaves."""

import subprocess
import sys
from pathlib import Path
from stat import S_IMODE

import pytest

from app.services.atomic_files import open_atomic_file

KILLED_PROCESS = """
import os, signal, sys
from pathlib import Path
from app.services.atomic_files import open_atomic_file

with open_atomic_file(Path(sys.argv[1])) as opened:
    opened.write(b"new")
    opened.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_be_killed(file: Path) -> Path:
    """Kill a process that writes the file; return what it leaves beside other files."""
    before = {*file.parent.iterdir()}
    killed = subprocess.run([sys.executable, "-c", KILLED_PROCESS, str(file)], check=False)
    assert killed.returncode == -9
    (incomplete,) = {*file.parent.iterdir()} - before
    return incomplete


def test_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_bytes(b"old")
    with open_atomic_file(file) as opened:
        opened.write(b"new")
        opened.flush()
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"

    with pytest.raises(LookupError), open_atomic_file(file):
        raise LookupError
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_file_keeps_its_permissions_when_it_is_replaced(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "results.csv"
    file.touch()
    file.chmod(mode)
    with open_atomic_file(file) as opened:
        opened.write(b"new")
    assert (file.read_bytes(), S_IMODE(file.stat().st_mode)) == (b"new", mode)


def test_file_behind_a_link_is_replaced(tmp_path: Path) -> None:
    link, file = tmp_path / "link.csv", tmp_path / "results.csv"
    file.touch()
    link.symlink_to(file)
    with open_atomic_file(link) as opened:
        opened.write(b"new")
    assert file.read_bytes() == b"new"
    assert link.is_symlink()


def test_device_is_written_directly() -> None:
    with open_atomic_file(Path("/dev/null")) as opened:
        opened.write(b"new")
    assert Path("/dev/null").is_char_device()


def test_killed_process_leaves_no_file_of_that_name_and_the_next_one_deletes_the_rest(
    tmp_path: Path,
) -> None:
    incomplete = write_and_be_killed(tmp_path / "monday.csv")
    assert incomplete.name.startswith(".")
    assert incomplete.name.endswith(".post-results-incomplete")

    other = tmp_path / "tuesday.csv"
    with open_atomic_file(other) as opened:
        opened.write(b"new")
    assert [*tmp_path.iterdir()] == [other]


def test_killed_process_changes_no_older_file(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_bytes(b"old")
    write_and_be_killed(file)
    assert file.read_bytes() == b"old"


def test_file_that_another_process_still_writes_is_not_deleted(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    with open_atomic_file(first) as opened:
        opened.write(b"first")
        with open_atomic_file(second) as other:
            other.write(b"second")

    assert (first.read_bytes(), second.read_bytes()) == (b"first", b"second")
    assert {*tmp_path.iterdir()} == {first, second}


def test_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    file, usual = tmp_path / "results.csv", tmp_path / "usual"
    usual.touch()
    with open_atomic_file(file):
        pass
    assert file.stat().st_mode == usual.stat().st_mode
