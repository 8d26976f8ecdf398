"""Runs servers of platforms, which `scripts/platform-servers` installs, as separate processes."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import TIMEOUT_SECONDS

_FOLDER = Path(__file__).parent
PROGRAMS = _FOLDER / ".venv" / "bin"
INSTALLED_PDS = _FOLDER / ".venv" / "installed-pds"
INSTALLED_MASTODON_MOCK = _FOLDER / ".venv" / "installed-mastodon-mock"


def require_installed(program: str, *, is_installed: bool) -> None:
    """Skip the test if a server is not installed; in CI, fail it."""
    if is_installed:
        return
    message = f"{program} is not installed; run scripts/platform-servers."
    if "CI" in os.environ:
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_process(
    command: Sequence[str | Path],
    *,
    ready_url: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Start a server and wait until it responds to `ready_url`; kill it at the end of the block."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=_FOLDER,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, ready_url, log)
        yield
    finally:
        process.kill()
        process.wait()


def run_command(command: Sequence[str | Path], stdin: str = "") -> str:
    """Run a command to its end, and return its output."""
    completed = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert completed.returncode == 0, completed.stdout
    return completed.stdout


def successful_json(response: httpx.Response) -> Any:
    """Return the JSON of a response, which must be successful."""
    assert response.is_success, response.text
    return response.json()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, log.read_text()
        try:
            httpx.get(url, timeout=TIMEOUT_SECONDS)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
