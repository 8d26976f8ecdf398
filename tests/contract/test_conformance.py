"""Public conformance tools: the GraphQL over HTTP audits of npm's graphql-http, and Schemathesis."""

import json
import re
from pathlib import Path

import pytest

from tests.external_programs import ROOT, run_program
from tests.servers import DEMO_KEY, ServerProcess

pytestmark = pytest.mark.slow

AUDIT_COUNT = 61
"""Number of audits, including the optional ones."""


def test_every_audit_of_graphql_over_http_passes(demo_server: ServerProcess) -> None:
    results = json.loads(run_program("node", "audit.mjs", f"{demo_server.url}/graphql", DEMO_KEY))

    failures = [
        f"{result['status']} {result['id']} {result['name']}: {result['reason']}"
        for result in results
        if result["status"] != "ok"
    ]
    assert failures == [], "\n".join(failures)
    assert len(results) == AUDIT_COUNT


@pytest.mark.parametrize(
    ("mode", "examples", "min_generated"), [("positive", 50, 500), ("negative", 20, 100)]
)
def test_documents_generated_by_schemathesis_have_a_result_or_an_error_code(
    demo_server: ServerProcess, tmp_path: Path, mode: str, examples: int, min_generated: int
) -> None:
    """Positive documents are valid. Negative ones are invalid, and all must be rejected."""
    output = run_program(
        "schemathesis",
        *("--config-file", ROOT / "tests" / "contract" / "schemathesis.toml"),
        *("run", f"{demo_server.url}/graphql"),
        *("--header", f"Authorization: Bearer {DEMO_KEY}"),
        # Webhooks need the scope admin, which the key of the demo does not have.
        *("--include-name-regex", r"^Query\.(?!webhook)"),
        *("--mode", mode, "--max-examples", examples),
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
    )

    counts = re.search(r"^  (\d+) generated, (\d+) passed$", output, re.MULTILINE)
    assert counts is not None, output
    assert int(counts[1]) == int(counts[2]) >= min_generated, output
    assert "Missing test data" not in output, output
