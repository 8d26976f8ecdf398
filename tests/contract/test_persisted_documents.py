"""Clients that send hashes or ids instead of documents, and the manifests that tools write."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.subscription_clients import PostEditor, start_clients
from tests.external_programs import JAVASCRIPT, ROOT, npm_project, run_commands, run_program
from tests.guides import code_spans, guide
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess, run_server

CLIENTS = guide("clients")
APOLLO = CLIENTS.section("List of Apollo Client")
CODEGEN = CLIENTS.section("List of graphql-codegen")
RELAY = CLIENTS.section("List of Relay")

DRAFTS_SUBSCRIPTION = """
    subscription Drafts($after: String) {
      changes(after: $after, types: [POST_CREATED]) { cursor post { content } }
    }
    """
POST = {
    "status": "PARTIALLY_FAILED",
    "destinations": [
        {"platform": "instagram", "status": "PUBLISHED"},
        {"platform": "x", "status": "PUBLISHED"},
        {"platform": "linkedin", "status": "FAILED"},
    ],
}


def run_client(
    server: ServerProcess,
    client: str,
    query: str,
    *variables: dict[str, Any],
    manifest: object = "",
) -> tuple[list[Any], list[str]]:
    """Results of a client, each data or an error code, and the requests that it sent."""
    operations = json.dumps({"query": query, "variables": variables})
    url = f"{server.url}/graphql"
    output = json.loads(
        run_program("jiti", "persisted.mjs", client, url, DEMO_KEY, manifest, stdin=operations)
    )
    return output["results"], output["requests"]


@pytest.mark.parametrize(
    ("client", "hash_method", "text_method"),
    [
        ("apollo by GET", "GET", "POST"),
        ("apollo by POST", "POST", "POST"),
        ("urql by GET", "GET", "GET"),
        ("urql by POST", "POST", "POST"),
    ],
)
def test_client_sends_the_text_once_and_then_the_hash(
    demo_server: ServerProcess, client: str, hash_method: str, text_method: str
) -> None:
    name = f"Page{uuid4().hex}"  # new, so that the server has not cached it
    query = f"query {name}($first: Int) {{ posts(first: $first) {{ nodes {{ status }} }} }}"

    results, requests = run_client(demo_server, client, query, {"first": 1}, {"first": 2})

    assert [len(result["posts"]["nodes"]) for result in results] == [1, 2]
    assert requests == [
        f"{hash_method} hash: 200 PERSISTED_QUERY_NOT_FOUND",
        f"{text_method} text and hash: 200 data",
        f"{hash_method} hash: 200 data",
    ]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Lists of the same document, written by the commands of the guide in empty projects."""

    def project(name: str) -> Path:
        folder = npm_project(tmp_path_factory.mktemp(name), ROOT / "schema.graphql")
        shutil.copytree(JAVASCRIPT / "trusted" / name, folder / "src")
        return folder

    apollo, codegen, relay = project("apollo"), project("codegen"), project("relay")
    run_commands(APOLLO.block("console"), cwd=apollo)

    added, anchor = code_spans(CODEGEN.text)[1:3]
    config = CLIENTS.section("TypeScript").blocks("ts")[0].replace(anchor, f"{anchor}\n{added}")
    server_schema = re.compile(r"schema: {\n.*?\n  },\n", re.DOTALL)
    config, replaced = server_schema.subn('schema: "schema.graphql",\n', config)
    assert replaced == 1
    (codegen / "codegen.ts").write_text(config)
    run_commands(CODEGEN.block("console"), cwd=codegen)

    (relay / "relay.config.json").write_text(RELAY.block("json"))
    run_commands(RELAY.block("console"), cwd=relay)
    return {
        "apollo": apollo / "persisted-query-manifest.json",
        "codegen": codegen / "src" / "gql" / "persisted-documents.json",
        "relay": relay / "relay-documents.json",
    }


@pytest.fixture(scope="module")
def trusted_documents_server(
    manifests: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("trusted-documents-server")
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "TRUSTED_DOCUMENTS": ",".join(map(str, manifests.values())),
    }
    with run_server(folder, settings, "--demo") as server:
        yield server


def test_apollo_sends_the_ids_of_its_manifest(
    trusted_documents_server: ServerProcess, manifests: dict[str, Path]
) -> None:
    (operation,) = json.loads(manifests["apollo"].read_text())["operations"]
    variables = {"postId": DEMO_POST}
    results, requests = run_client(
        trusted_documents_server,
        "apollo by manifest",
        operation["body"],
        variables,
        variables,
        manifest=manifests["apollo"],
    )

    assert [_without_typename(result["post"]) for result in results] == [POST, POST]
    assert requests == ["POST hash: 200 data"] * 2


def test_urql_sends_the_ids_of_codegen(
    trusted_documents_server: ServerProcess, manifests: dict[str, Path]
) -> None:
    variables = {"postId": DEMO_POST}
    results, requests = run_client(
        trusted_documents_server,
        "urql by codegen",
        "",
        variables,
        variables,
        manifest=manifests["codegen"].with_name("graphql.ts"),
    )

    assert [_without_typename(result["post"]) for result in results] == [POST, POST]
    assert requests == ["GET hash: 200 data"] * 2


def test_document_that_is_not_trusted_is_rejected(trusted_documents_server: ServerProcess) -> None:
    for client in ("apollo by POST", "urql by POST"):
        results, requests = run_client(
            trusted_documents_server, client, "query Own { viewer { id } }", {}
        )
        assert results == ["DOCUMENT_NOT_TRUSTED"]
        assert requests == ["POST hash: 403 DOCUMENT_NOT_TRUSTED"]


@pytest.mark.parametrize("tool", ["codegen", "relay"])
def test_ids_of_other_tools_identify_their_documents(
    trusted_documents_server: ServerProcess, manifests: dict[str, Path], tool: str
) -> None:
    (document_id,) = json.loads(manifests[tool].read_text())
    variables = json.dumps({"postId": DEMO_POST})
    response = trusted_documents_server.get(
        f"/graphql?documentId={document_id}&variables={variables}", DEMO_KEY
    )
    assert _without_typename(response.json()["data"]["post"]) == POST


def test_graphql_ws_sends_an_id_beside_an_empty_query(
    trusted_documents_server: ServerProcess, manifests: dict[str, Path]
) -> None:
    (document_id,) = json.loads(manifests["codegen"].read_text())
    with start_clients(trusted_documents_server.url) as clients:
        trusted = clients.subscribe_by_id("graphql-ws", "", document_id, postId=DEMO_POST)
        assert _without_typename(trusted.next_message()["data"]["post"]) == POST
        for query, sent_id in (("", "unknown"), ("{ __typename }", document_id)):
            refused = clients.subscribe_by_id("graphql-ws", query, sent_id, postId=DEMO_POST)
            (error,) = refused.next_message()["errors"]
            assert error[1]["code"] == "DOCUMENT_NOT_TRUSTED"


@pytest.mark.parametrize("client", ["graphql-ws", "graphql-sse"])
def test_subscription_can_be_started_by_its_id(tmp_path: Path, client: str) -> None:
    manifest = tmp_path / "trusted.json"
    manifest.write_text(json.dumps({"drafts": DRAFTS_SUBSCRIPTION}))
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.db'}",
        "TRUSTED_DOCUMENTS": str(manifest),
    }
    with (
        run_server(tmp_path, settings, "--demo") as server,
        start_clients(server.url) as clients,
        closing(PostEditor(server)) as editor,
    ):
        cursor: str = server.get("/v1/changes?limit=1", DEMO_KEY).json()["data"]["latest_cursor"]
        drafts = clients.subscribe_by_id(client, "", "drafts", after=cursor)
        editor.create_draft("Spring")
        assert drafts.next_message()["data"]["changes"]["post"] == {"content": "Spring"}
        drafts.stop()


def _without_typename(value: Any) -> Any:
    """Remove the fields that clients and tools add to each selection."""
    if isinstance(value, list):
        return [_without_typename(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _without_typename(item)
            for name, item in value.items()
            if name not in ("__typename", "id")
        }
    return value
