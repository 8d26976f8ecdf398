"""The settings of the adapters are checked before anything is published."""

from pathlib import Path

import pytest

from app.platforms.adapters import check_sandbox_file
from app.settings import SettingsError


def test_a_sandbox_needs_no_file(tmp_path: Path) -> None:
    check_sandbox_file(None)
    check_sandbox_file(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "Is a directory"),
        ("no/ledger.jsonl", "No such file or directory"),
        ("file/ledger.jsonl", "Not a directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / name
    with pytest.raises(SettingsError) as caught:
        check_sandbox_file(file)
    assert str(caught.value) == f"SANDBOX_FILE: {file} cannot be read and written: {reason}."
