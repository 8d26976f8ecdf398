"""Schemathesis invents documents over the schema: each is served, or refused by a code, never a 5xx."""

import re
from pathlib import Path

import pytest

from tests.external_programs import ROOT, run_program
from tests.servers import DEMO_KEY, ServerProcess


@pytest.mark.parametrize(
    ("mode", "examples", "least"), [("positive", 50, 500), ("negative", 20, 100)]
)
def test_nothing_that_schemathesis_invents_fails(
    demo_server: ServerProcess, tmp_path: Path, mode: str, examples: int, least: int
) -> None:
    """Positive documents fit the schema, negative ones do not and must all be refused."""
    printed = run_program(
        "schemathesis",
        *("--config-file", ROOT / "tests" / "contract" / "schemathesis.toml"),
        *("run", f"{demo_server.url}/graphql"),
        *("--header", f"Authorization: Bearer {DEMO_KEY}"),
        *("--include-name-regex", r"^Query\."),
        *("--mode", mode, "--max-examples", examples),
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
    )

    counts = re.search(r"^  (\d+) generated, (\d+) passed$", printed, re.MULTILINE)
    assert counts is not None, printed
    assert int(counts[1]) == int(counts[2]) >= least, printed
    assert "Missing test data" not in printed, printed
