"""Runs external programs in tests: Node.js with npm packages, Python tools and curl.

`scripts/clients` installs them. Without it, tests that need a program are skipped with a message.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JAVASCRIPT = ROOT / "tests" / "javascript"
TIMEOUT_SECONDS = 120
"""Limit of one program, for busy machines; only a failure takes this long."""

_INSTALLED_MARKER = ROOT / ".venv" / "installed-clients"
_NODE_PATH = os.pathsep.join(
    [
        str(JAVASCRIPT / "node_modules" / ".bin"),
        str(ROOT / ".venv" / "tools" / "bin"),
        str(ROOT / ".venv" / "node" / "bin"),  # Node.js of scripts/node
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
    """Run a program, require its exit status, and return its standard output."""
    executable = shutil.which(program, path=_NODE_PATH)
    if executable is None or not _INSTALLED_MARKER.exists():
        pytest.skip(f"{program} is not installed; run scripts/clients.")
    completed = subprocess.run(
        [executable, *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**os.environ, "PATH": _NODE_PATH, **environment},
        check=False,
    )
    assert completed.returncode == status, (
        f"{program} ended with {completed.returncode}:\n{completed.stdout}{completed.stderr}"
    )
    return completed.stdout


def npm_project(folder: Path, *files: Path) -> Path:
    """Make the folder an npm project with these files and the installed packages of the tests."""
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    for file in files:
        (shutil.copytree if file.is_dir() else shutil.copyfile)(file, folder / file.name)
    return folder


def run_commands(block: str, *, cwd: Path) -> None:
    """Run the commands of a console block; `npm_project` has the packages that it installs."""
    for line in block.splitlines():
        command = line.removeprefix("$ ")
        if not command.startswith("npm install "):
            run_program("sh", "-c", command, cwd=cwd)


def check_types(file: str, *, cwd: Path, status: int = 0) -> str:
    """Check a file and its imports with strict TypeScript, and return the output of the compiler."""
    modules = ("--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022")
    return run_program("tsc", "--strict", "--noEmit", *modules, file, cwd=cwd, status=status)
