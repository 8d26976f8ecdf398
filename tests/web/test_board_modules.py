"""Modules of the board without a browser: runs the tests in `typescript` with Node.js."""

import subprocess
from pathlib import Path

import pytest

TESTS = sorted(Path("tests/web/typescript").glob("*.test.mjs"))
BUNDLE = Path("tests/web/typescript/bundle.mjs")

pytestmark = pytest.mark.usefixtures("require_built_page")


def test_modules_of_the_board(tmp_path: Path) -> None:
    for command in (
        ["node", BUNDLE, tmp_path, *TESTS],
        ["node", "--test", *(tmp_path / test.name for test in TESTS)],
    ):
        arguments = ["scripts/node", *map(str, command)]
        process = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout + process.stderr
