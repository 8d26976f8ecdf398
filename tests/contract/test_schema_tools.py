"""Tools that consume the schema: graphql-eslint, graphql-codegen, relay-compiler and ariadne-codegen."""

import json
import re
from pathlib import Path

import pytest

from app.domain.errors import concrete_errors
from tests.external_programs import JAVASCRIPT, ROOT, check_types, npm_project, run_program
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess

SCHEMA = ROOT / "schema.graphql"
DOCUMENTS = Path(__file__).parent / "documents.graphql"

BROKEN_SCHEMA = '''
"""All queries."""
type Query {
  getPosts(first: Int): PostConnection
  """Old name of the id."""
  post_id: ID @deprecated
}

type PostConnection {
  nodes: [Post]
}

"""A post."""
type Post {
  id: ID!
}

"""No field has this type."""
type Unreachable {
  id: ID!
}
'''


def lint_errors(folder: Path, schema: str, *, status: int) -> list[tuple[int, str]]:
    """Line and rule of each finding in a schema; the linter must exit with this status."""
    npm_project(folder, JAVASCRIPT / "eslint.config.mjs")
    (folder / "schema.graphql").write_text(schema)
    output = run_program("eslint", "--format", "json", "schema.graphql", cwd=folder, status=status)
    (report,) = json.loads(output)
    findings = report["messages"]
    return [(finding["line"], finding["ruleId"].rpartition("/")[2]) for finding in findings]


def test_schema_follows_the_rules_of_graphql_eslint_and_relay(tmp_path: Path) -> None:
    assert lint_errors(tmp_path, SCHEMA.read_text(), status=0) == []


def test_rules_report_violations(tmp_path: Path) -> None:
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


@pytest.fixture(scope="module")
def typescript_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript files of the tests, and the code that graphql-codegen generates for them."""
    folder = npm_project(
        tmp_path_factory.mktemp("typescript"),
        SCHEMA,
        DOCUMENTS,
        *(JAVASCRIPT / "typescript").iterdir(),
    )
    run_program("graphql-codegen", cwd=folder)
    return folder


def test_generated_types_fit_the_clients_that_use_them(typescript_project: Path) -> None:
    assert check_types("uses.ts", cwd=typescript_project) == ""


def test_violations_of_the_schema_do_not_compile(typescript_project: Path) -> None:
    lines = (typescript_project / "wrong.ts").read_text().splitlines()
    expected = [
        (number, match[1])
        for number, line in enumerate(lines, 1)
        if (match := re.search(r" // (TS\d+)$", line))
    ]

    output = check_types("wrong.ts", cwd=typescript_project, status=1)

    errors = re.findall(r"^(\S+)\((\d+),\d+\): error (TS\d+)", output, re.MULTILINE)
    assert errors == [("wrong.ts", str(number), code) for number, code in expected]
    assert len(errors) == 5


@pytest.fixture
def relay_project(tmp_path: Path) -> Path:
    return npm_project(tmp_path, SCHEMA, *(JAVASCRIPT / "relay").iterdir())


def test_relay_paginates_and_refetches(relay_project: Path, demo_server: ServerProcess) -> None:
    run_program("relay-compiler", cwd=relay_project)
    url = f"{demo_server.url}/graphql"
    result = json.loads(run_program("jiti", "read_feed.mjs", url, DEMO_KEY, cwd=relay_project))

    path = "/v1/posts?status=failed,partially_failed&limit=6"
    page = demo_server.get(path, DEMO_KEY).json()["data"]["posts"]
    assert result["sizes"] == [2, 4, 6]
    assert result["posts"] == [post["post_id"] for post in page]
    assert result["refetchIsEqual"] is True
    assert result["account"] == [page[0]["destinations"][0]["account_name"]] * 2


def test_relay_compiler_rejects_an_unknown_field(relay_project: Path) -> None:
    feed = relay_project / "src" / "Feed.js"
    feed.write_text(feed.read_text().replace("accountName\n    platform", "accountNames"))
    output = run_program("sh", "-c", "relay-compiler 2>&1", cwd=relay_project, status=1)
    assert "The type `Account` has no field `accountNames`." in output


ARIADNE_CONFIG = f"""
[tool.ariadne-codegen]
schema_path = "{SCHEMA}"
queries_path = "{DOCUMENTS}"
target_package_name = "post_results"

[tool.ariadne-codegen.scalars.DateTime]
type = "datetime.datetime"

[tool.ariadne-codegen.scalars.UUID]
type = "uuid.UUID"
"""

PYTHON_PROGRAM = """
import asyncio
import json
import sys

from post_results import (
    AnalyticsPeriod,
    Client,
    DestinationFilter,
    DestinationStatus,
    ErrorCatalogPart,
    GraphQLClientGraphQLMultiError,
)

url, key, post_id = sys.argv[1:]


async def read():
    async with Client(url, headers={"Authorization": f"Bearer {key}"}) as client:
        post = (await client.everything(post_id)).post
        failed = DestinationFilter(status=[DestinationStatus.FAILED], post_id=[post_id])
        page = (await client.page(first=5, filter_=failed)).destinations
        node = (await client.node(page.nodes[0].id)).node
        summary = await client.summary(AnalyticsPeriod.ALL, ErrorCatalogPart.REQUEST)
        try:
            await client.page(first=101)
        except GraphQLClientGraphQLMultiError as raised:
            errors = [error.extensions for error in raised.errors]
    return {
        "post": [post.status.value, post.scheduled_for.isoformat(), post.media],
        "destinations": [destination.status.value for destination in post.destinations],
        "page": [page.total_count, page.page_info.has_next_page],
        "node": [node.typename__, node.platform, node.diagnosis.next_action.value],
        "summary": [summary.analytics_summary.start, len(summary.error_catalog)],
        "errors": errors,
    }


print(json.dumps(asyncio.run(read())))
"""


def test_client_of_ariadne_codegen_reads_typed_values(
    demo_server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(ARIADNE_CONFIG)
    (tmp_path / "read.py").write_text(PYTHON_PROGRAM)

    run_program("ariadne-codegen", cwd=tmp_path)
    url = f"{demo_server.url}/graphql"
    result = json.loads(run_program("python", "read.py", url, DEMO_KEY, DEMO_POST, cwd=tmp_path))

    assert result == {
        "post": ["PARTIALLY_FAILED", "2026-04-15T14:30:00+00:00", []],
        "destinations": ["PUBLISHED", "PUBLISHED", "FAILED"],
        "page": [1, False],
        "node": ["Destination", "linkedin", "RECONNECT_ACCOUNT"],
        "summary": [None, len(list(concrete_errors()))],
        "errors": [{"code": "VALIDATION_ERROR", "field": "first"}],
    }
