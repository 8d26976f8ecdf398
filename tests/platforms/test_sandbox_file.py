"""Tests of the check of the sandbox's file."""

from pathlib import Path

import pytest

from app.platforms import check_sandbox_file
from app.settings import SettingsError


def test_usable_or_no_sandbox_file_passes(tmp_path: Path) -> None:
    check_sandbox_file(None)
    check_sandbox_file(tmp_path / "posts.jsonl")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "Is a directory"),
        ("no/posts.jsonl", "No such file or directory"),
        ("file/posts.jsonl", "Not a directory"),
    ],
)
def test_unusable_sandbox_file_is_a_settings_error(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / name
    with pytest.raises(SettingsError) as caught:
        check_sandbox_file(file)
    assert str(caught.value) == f"SANDBOX_FILE: {file} cannot be read and written: {reason}."
