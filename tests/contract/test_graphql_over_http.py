"""The public audit suite of GraphQL over HTTP, npm's graphql-http: every audit passes, also the optional."""

import json

from tests.external_programs import run_program
from tests.servers import DEMO_KEY, ServerProcess

AUDIT_COUNT = 61


def test_every_audit_of_graphql_over_http_passes(demo_server: ServerProcess) -> None:
    results = json.loads(run_program("node", "audit.mjs", f"{demo_server.url}/graphql", DEMO_KEY))

    missed = [
        f"{each['status']} {each['id']} {each['name']}: {each['reason']}"
        for each in results
        if each["status"] != "ok"
    ]
    assert missed == [], "\n".join(missed)
    assert len(results) == AUDIT_COUNT
