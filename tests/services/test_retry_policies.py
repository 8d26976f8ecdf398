"""Tests of the retry policy file."""

from pathlib import Path

import pytest

from app.asgi import create_app
from app.domain.destinations import ErrorCategory
from app.domain.retry_policy import DEFAULT_POLICIES
from app.services.retry_policies import load_retry_policies
from app.settings import SettingsError, read_settings


def test_defaults_apply_without_a_file() -> None:
    assert load_retry_policies(None) == DEFAULT_POLICIES


def test_file_overrides_only_the_policies_it_names(tmp_path: Path) -> None:
    file = tmp_path / "retries.toml"
    file.write_text("[platforms.'été'.transient]\nmax_attempts = 9\n", encoding="utf-8")
    policies = load_retry_policies(file)
    assert policies.policy_for("été", ErrorCategory.TRANSIENT, not_sent=False).max_attempts == 9
    assert policies.policy_for("x", ErrorCategory.TRANSIENT, not_sent=False).max_attempts == 5


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"[categories.transient]\nfactor = 0\n",
            "is invalid: categories.transient.factor must be a number from 1 to 100.",
        ),
        (b"[categories", "is not TOML: Expected ']' at the end of a table declaration"),
        (b"a = 1\na = 2\n", "is not TOML: Cannot overwrite a value"),
        (b"\xff", "is not TOML: 'utf-8' codec can't decode byte 0xff"),
        (b"a = " + b"9" * 5000, "is not TOML: Exceeds the limit"),
        (b"a = " + b"[" * 100_000, "is not TOML: maximum recursion depth exceeded"),
    ],
)
def test_invalid_file_stops_the_start(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "retries.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        create_app(read_settings({"RETRY_POLICY_FILE": str(file)}))
    assert str(caught.value).startswith(f"RETRY_POLICY_FILE: {file} {problem}")
    assert "\n" not in str(caught.value)


def test_unreadable_file_stops_the_start(tmp_path: Path) -> None:
    for file, reason in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(SettingsError) as caught:
            load_retry_policies(file)
        assert str(caught.value) == f"RETRY_POLICY_FILE: {file} cannot be read: {reason}."
