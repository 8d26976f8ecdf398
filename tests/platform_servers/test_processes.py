"""Servers that are not installed or do not start are reported."""

import sys
from pathlib import Path

import pytest

from tests.platform_servers.processes import require_installed, running_process

MESSAGE = "snac2 is not installed; run scripts/platform-servers."


def test_missing_server_skips_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=MESSAGE):
        require_installed("snac2", is_installed=False)


def test_missing_server_fails_the_test_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=MESSAGE):
        require_installed("snac2", is_installed=False)


def test_server_that_ends_at_its_start_fails_with_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no disk')"]
    with (
        pytest.raises(AssertionError, match="no disk"),
        running_process(command, ready_url="http://127.0.0.1:9", log=tmp_path / "log"),
    ):
        pass
