"""Programs that a test runs beside Python: Node.js with npm packages, tools, curl. No servers, no browsers.

`scripts/clients` installs them. Where that was not done, a test that needs one is skipped and says so.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JAVASCRIPT = ROOT / "tests" / "javascript"
TIMEOUT_SECONDS = 120
"""How long a busy machine may take for one program; only a failure takes so long."""

_INSTALLED_MARKER = ROOT / ".venv" / "installed-clients"
_NODE_PATH = os.pathsep.join(
    [
        str(JAVASCRIPT / "node_modules" / ".bin"),
        str(ROOT / ".venv" / "tools" / "bin"),
        str(ROOT / ".venv" / "node" / "bin"),  # where scripts/node puts a Node.js
        os.environ["PATH"],
    ]
)


def run_program(
    program: str,
    *arguments: object,
    cwd: Path = JAVASCRIPT,
    stdin: str = "",
    status: int = 0,
    **environment: str,
) -> str:
    """What a program prints on its standard output; it must end with the status."""
    found = shutil.which(program, path=_NODE_PATH)
    if found is None or not _INSTALLED_MARKER.exists():
        pytest.skip(f"{program} is not installed; run scripts/clients.")
    done = subprocess.run(
        [found, *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**os.environ, "PATH": _NODE_PATH, **environment},
        check=False,
    )
    assert done.returncode == status, f"{program} ended with {done.returncode}:\n" + (
        done.stdout + done.stderr
    )
    return done.stdout


def npm_project(folder: Path, *files: Path) -> Path:
    """The folder as a project that has these files and all npm packages of the tests."""
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    for file in files:
        (shutil.copytree if file.is_dir() else shutil.copyfile)(file, folder / file.name)
    return folder


def check_types(file: str, *, cwd: Path, status: int = 0) -> str:
    """What TypeScript's compiler, at its strictest, says of a file and what it imports."""
    modules = ("--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022")
    return run_program("tsc", "--strict", "--noEmit", *modules, file, cwd=cwd, status=status)
