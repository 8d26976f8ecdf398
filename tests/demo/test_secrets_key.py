"""The file with the SECRETS_KEY of the demo: complete or absent, private, and never replaced."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.demo import ensure_secrets_key_file
from app.settings import Settings, read_settings

FILE_NAME = "post-results-demo.secrets-key"
FULL_DISK = """
import resource, sys
from app.demo import ensure_secrets_key_file
from app.settings import read_settings

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
ensure_secrets_key_file(read_settings({"DATABASE_URL": sys.argv[1]}))
"""


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'demo.db'}"


def settings_in(folder: Path) -> Settings:
    return read_settings({"DATABASE_URL": sqlite_url(folder)})


def test_file_is_private_complete_and_created_once(tmp_path: Path) -> None:
    file = ensure_secrets_key_file(settings_in(tmp_path))

    assert [*tmp_path.iterdir()] == [file] == [tmp_path / FILE_NAME]
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text()
    assert read_settings({"SECRETS_KEY": key}).secrets_key == (key,)
    assert ensure_secrets_key_file(settings_in(tmp_path)) == file
    assert (file.read_text(), [*tmp_path.iterdir()]) == (key, [file])


def test_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, sqlite_url(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.stderr.splitlines()[-1] == "OSError: [Errno 27] File too large"
    assert [*tmp_path.iterdir()] == []


def test_file_of_another_database_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings({"DATABASE_URL": "postgresql://localhost/demo"})
    assert ensure_secrets_key_file(settings) == tmp_path / FILE_NAME
