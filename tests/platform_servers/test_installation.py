"""The installation of the PDS alone: it changes nothing outside of its folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.external_programs import ROOT

FOLDER = Path("tests/platform_servers")
PROGRAMS = ("python3", "npm", "apt-get", "snac", "systemctl")
"""Programs that the scripts may call; each only logs its arguments."""

LOGGING_PROGRAM = """#!/bin/sh -e
echo "${0##*/} $*" >> "$LOG"
[ "${2:-}" = venv ] || exit 0
mkdir -p "$4/bin"
ln -s "$0" "$4/bin/python"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the files that the script reads."""
    for name in (
        Path("scripts/platform-servers"),
        Path("scripts/requirements-node.txt"),
        FOLDER / "package-lock.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def install_pds(clone: Path, programs: Path) -> list[str]:
    """Install the PDS, and return the commands that this runs."""
    log = programs / "log"
    log.touch()
    subprocess.run(
        ["/bin/sh", "-e", clone / "scripts" / "platform-servers", "pds"],
        check=True,
        env=os.environ | {"PATH": f"{programs}:/usr/bin:/bin", "LOG": str(log)},
        capture_output=True,
    )
    commands = log.read_text().splitlines()
    log.unlink()
    return commands


def test_installation_of_the_pds_installs_nothing_else(
    clone: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    programs = tmp_path_factory.mktemp("programs")
    for name in PROGRAMS:
        (programs / name).write_text(LOGGING_PROGRAM)
        (programs / name).chmod(0o755)

    assert install_pds(clone, programs) == [
        f"python3 -m venv --clear {FOLDER}/.venv",
        "python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes"
        " --requirement scripts/requirements-node.txt",
        "npm ci --ignore-scripts --loglevel=error",
    ]
    assert {path.name for path in clone.iterdir()} == {"scripts", "tests"}
    (clone / FOLDER / "node_modules").mkdir()
    assert install_pds(clone, programs) == []
