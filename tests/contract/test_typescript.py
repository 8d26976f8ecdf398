"""What graphql-codegen makes of the schema fits strict TypeScript, and catches a frontend's mistakes."""

import re
from pathlib import Path

import pytest

from tests.external_programs import JAVASCRIPT, ROOT, check_types, npm_project, run_program


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript files of the tests beside what is generated for them."""
    folder = npm_project(
        tmp_path_factory.mktemp("typescript"),
        ROOT / "schema.graphql",
        Path(__file__).parent / "documents.graphql",
        *(JAVASCRIPT / "typescript").iterdir(),
    )
    run_program("graphql-codegen", cwd=folder)
    return folder


def test_generated_types_fit_the_clients_that_use_them(project: Path) -> None:
    assert check_types("uses.ts", cwd=project) == ""


def test_mistakes_against_the_schema_do_not_compile(project: Path) -> None:
    lines = (project / "wrong.ts").read_text().splitlines()
    expected = [
        (number, found[1])
        for number, line in enumerate(lines, 1)
        if (found := re.search(r" // (TS\d+)$", line))
    ]

    printed = check_types("wrong.ts", cwd=project, status=1)

    errors = re.findall(r"^(\S+)\((\d+),\d+\): error (TS\d+)", printed, re.MULTILINE)
    assert errors == [("wrong.ts", str(number), code) for number, code in expected]
    assert len(errors) == 5
