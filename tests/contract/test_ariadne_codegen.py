"""The typed Python client that ariadne-codegen makes of the schema runs against the server."""

import json
from pathlib import Path

from app.domain.errors import concrete_errors
from tests.external_programs import ROOT, run_program
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess

DOCUMENTS = Path(__file__).parent / "documents.graphql"

CONFIG = f"""
[tool.ariadne-codegen]
schema_path = "{ROOT / "schema.graphql"}"
queries_path = "{DOCUMENTS}"
target_package_name = "post_results"

[tool.ariadne-codegen.scalars.DateTime]
type = "datetime.datetime"

[tool.ariadne-codegen.scalars.UUID]
type = "uuid.UUID"
"""

PROGRAM = """
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


async def ask():
    async with Client(url, headers={"Authorization": f"Bearer {key}"}) as client:
        post = (await client.everything(post_id)).post
        failed = DestinationFilter(status=[DestinationStatus.FAILED], post_id=[post_id])
        page = (await client.page(first=5, filter_=failed)).destinations
        node = (await client.again(page.nodes[0].id)).node
        summary = await client.summary(AnalyticsPeriod.ALL, ErrorCatalogPart.REQUEST)
        try:
            await client.page(first=101)
        except GraphQLClientGraphQLMultiError as refusal:
            refused = [error.extensions for error in refusal.errors]
    return {
        "post": [post.status.value, post.scheduled_for.isoformat(), post.media],
        "destinations": [destination.status.value for destination in post.destinations],
        "page": [page.total_count, page.page_info.has_next_page],
        "node": [node.typename__, node.platform, node.diagnosis.next_action.value],
        "summary": [summary.analytics_summary.start, len(summary.error_catalog)],
        "refused": refused,
    }


print(json.dumps(asyncio.run(ask())))
"""


def test_the_generated_client_reads_typed_values(
    demo_server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    (tmp_path / "ask.py").write_text(PROGRAM)

    run_program("ariadne-codegen", cwd=tmp_path)
    url = f"{demo_server.url}/graphql"
    answer = json.loads(run_program("python", "ask.py", url, DEMO_KEY, DEMO_POST, cwd=tmp_path))

    assert answer == {
        "post": ["PARTIALLY_FAILED", "2026-04-15T14:30:00+00:00", []],
        "destinations": ["PUBLISHED", "PUBLISHED", "FAILED"],
        "page": [1, False],
        "node": ["Destination", "linkedin", "RECONNECT_ACCOUNT"],
        "summary": [None, len(list(concrete_errors()))],
        "refused": [{"code": "VALIDATION_ERROR", "field": "first"}],
    }
