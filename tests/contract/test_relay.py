"""Relay: its compiler takes the schema as Relay's own, its store pages and refetches by what it made."""

import json
from pathlib import Path

import pytest

from tests.external_programs import JAVASCRIPT, ROOT, npm_project, run_program
from tests.servers import DEMO_KEY, ServerProcess


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return npm_project(tmp_path, ROOT / "schema.graphql", *(JAVASCRIPT / "relay").iterdir())


def test_relay_pages_and_refetches(project: Path, demo_server: ServerProcess) -> None:
    run_program("relay-compiler", cwd=project)
    answer = json.loads(
        run_program("jiti", "ask.mjs", f"{demo_server.url}/graphql", DEMO_KEY, cwd=project)
    )

    path = "/v1/posts?status=failed,partially_failed&limit=6"
    page = demo_server.get(path, DEMO_KEY).json()["data"]["posts"]
    assert answer["sizes"] == [2, 4, 6]
    assert answer["posts"] == [post["post_id"] for post in page]
    assert answer["sameAgain"] is True
    assert answer["account"] == [page[0]["destinations"][0]["account_name"]] * 2


def test_relay_refuses_a_document_that_the_schema_does_not_know(project: Path) -> None:
    feed = project / "src" / "Feed.js"
    feed.write_text(feed.read_text().replace("accountName\n    platform", "accountNames"))
    printed = run_program("sh", "-c", "relay-compiler 2>&1", cwd=project, status=1)
    assert "The type `Account` has no field `accountNames`." in printed
