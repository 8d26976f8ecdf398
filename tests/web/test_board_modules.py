"""Modules of the board without a browser: runs the tests in `typescript` with Node.js."""

import re
import subprocess
from pathlib import Path

import pytest

from app.domain.operations import IMPORT, LOSE_LEASE
from app.domain.platform_names import PLATFORM_NAMES
from app.graphql.engine.executable_schema import create_schema
from app.settings import GraphQLLimits

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


def test_board_has_the_same_names_of_platforms_as_the_server() -> None:
    source = Path("app/web/source/board/text/reasons.ts").read_text("utf-8")
    (names,) = re.findall(r"const PLATFORMS:.*?= \{\n(.*?)\};", source, re.DOTALL)
    assert dict(re.findall(r'(\w+): "(.+)",', names)) == PLATFORM_NAMES


def test_history_leaves_out_operations_that_exist() -> None:
    source = Path("app/web/source/board/routes/post/timeline.tsx").read_text("utf-8")
    (names,) = re.findall(r"excludeOperations: \[\n(.*?)\n  \],", source, re.DOTALL)
    mutation = create_schema(GraphQLLimits()).graphql_schema.mutation_type
    assert mutation is not None
    operations = {*mutation.fields, IMPORT, LOSE_LEASE}
    assert set(re.findall(r'"(\w+)"', names)) - operations == {"loadDemo"}
