"""The schema keeps the rules that graphql-eslint recommends, and those that Relay sets for connections."""

import json
from pathlib import Path

from tests.external_programs import JAVASCRIPT, ROOT, npm_project, run_program

BROKEN_SCHEMA = '''
"""All that can be read."""
type Query {
  getPosts(first: Int): PostConnection
  """Kept for old clients."""
  post_id: ID @deprecated
}

type PostConnection {
  nodes: [Post]
}

"""A post."""
type Post {
  id: ID!
}

"""Nobody refers to it."""
type Forgotten {
  id: ID!
}
'''


def lint_errors(folder: Path, schema: str, *, status: int) -> list[tuple[int, str]]:
    """Line and rule of whatever the rules find in a schema; the linter must end with the status."""
    npm_project(folder, JAVASCRIPT / "eslint.config.mjs")
    (folder / "schema.graphql").write_text(schema)
    printed = run_program("eslint", "--format", "json", "schema.graphql", cwd=folder, status=status)
    (report,) = json.loads(printed)
    return [(each["line"], each["ruleId"].rpartition("/")[2]) for each in report["messages"]]


def test_the_schema_keeps_the_rules(tmp_path: Path) -> None:
    assert lint_errors(tmp_path, (ROOT / "schema.graphql").read_text(), status=0) == []


def test_the_rules_find_what_breaks_them(tmp_path: Path) -> None:
    assert lint_errors(tmp_path, BROKEN_SCHEMA, status=1) == [
        (1, "relay-page-info"),
        (4, "naming-convention"),
        (4, "require-description"),
        (4, "relay-arguments"),
        (6, "naming-convention"),
        (6, "require-deprecation-reason"),
        (9, "relay-connection-types"),
        (9, "relay-connection-types"),
        (9, "require-description"),
        (19, "no-unreachable-types"),
    ]
