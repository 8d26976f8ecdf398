"""Clients that send hashes or ids in place of documents, and the lists of documents that tools write."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.external_programs import JAVASCRIPT, ROOT, npm_project, run_program
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess

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
    """The answers of a client, each the data or the code of an error, and the requests that it sent."""
    question = json.dumps({"query": query, "variables": variables})
    url = f"{server.url}/graphql"
    printed = json.loads(
        run_program("jiti", "persisted.mjs", client, url, DEMO_KEY, manifest, stdin=question)
    )
    return printed["answers"], printed["requests"]


@pytest.mark.parametrize(
    ("client", "hashed", "texts"),
    [
        ("apollo by GET", "GET", "POST"),
        ("apollo by POST", "POST", "POST"),
        ("urql by GET", "GET", "GET"),
        ("urql by POST", "POST", "POST"),
    ],
)
def test_a_client_sends_the_text_once_and_the_hash_from_then_on(
    demo_server: ServerProcess, client: str, hashed: str, texts: str
) -> None:
    name = f"Page{uuid4().hex}"  # which the server cannot know of another test
    query = f"query {name}($first: Int) {{ posts(first: $first) {{ nodes {{ status }} }} }}"

    answers, requests = run_client(demo_server, client, query, {"first": 1}, {"first": 2})

    assert [len(answer["posts"]["nodes"]) for answer in answers] == [1, 2]
    assert requests == [
        f"{hashed} hash: 200 PERSISTED_QUERY_NOT_FOUND",
        f"{texts} text and hash: 200 data",
        f"{hashed} hash: 200 data",
    ]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that Apollo's tool, graphql-codegen and relay-compiler write of the same question."""
    folder = npm_project(
        tmp_path_factory.mktemp("trusted"),
        ROOT / "schema.graphql",
        *(JAVASCRIPT / "trusted").iterdir(),
    )
    run_program("generate-persisted-query-manifest", cwd=folder)
    run_program("graphql-codegen", cwd=folder)
    run_program("relay-compiler", cwd=folder)
    return {
        "apollo": folder / "apollo.json",
        "codegen": folder / "gql" / "persisted-documents.json",
        "relay": folder / "relay.json",
    }


@pytest.fixture(scope="module")
def trusted_documents_server(
    lists: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("trusting-server")
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "TRUSTED_DOCUMENTS": ",".join(map(str, lists.values())),
    }
    server = ServerProcess(folder, settings, "--demo")
    server.wait_until_ready()
    yield server
    server.stop()


def test_apollo_asks_by_the_ids_of_its_manifest(
    trusting_server: ServerProcess, lists: dict[str, Path]
) -> None:
    (operation,) = json.loads(lists["apollo"].read_text())["operations"]
    variables = {"postId": DEMO_POST}
    answers, requests = run_client(
        trusting_server,
        "apollo by manifest",
        operation["body"],
        variables,
        variables,
        manifest=lists["apollo"],
    )

    assert [_without_typename(each["post"]) for each in answers] == [POST, POST]
    assert requests == ["POST hash: 200 data"] * 2


def test_urql_asks_by_the_ids_of_codegen(
    trusting_server: ServerProcess, lists: dict[str, Path]
) -> None:
    variables = {"postId": DEMO_POST}
    answers, requests = run_client(
        trusting_server,
        "urql by codegen",
        "",
        variables,
        variables,
        manifest=lists["codegen"].with_name("graphql.ts"),
    )

    assert [_without_typename(each["post"]) for each in answers] == [POST, POST]
    assert requests == ["GET hash: 200 data"] * 2


def test_a_document_of_ones_own_is_refused_at_once(trusting_server: ServerProcess) -> None:
    for client in ("apollo by POST", "urql by POST"):
        answers, requests = run_client(trusting_server, client, "query Own { viewer { id } }", {})
        assert answers == ["DOCUMENT_NOT_TRUSTED"]
        assert requests == ["POST hash: 403 DOCUMENT_NOT_TRUSTED"]


@pytest.mark.parametrize("tool", ["codegen", "relay"])
def test_the_ids_of_other_tools_name_their_documents(
    trusting_server: ServerProcess, lists: dict[str, Path], tool: str
) -> None:
    (document_id,) = json.loads(lists[tool].read_text())
    variables = json.dumps({"postId": DEMO_POST})
    answer = trusting_server.get(
        f"/graphql?documentId={document_id}&variables={variables}", DEMO_KEY
    )
    assert _without_typename(answer.json()["data"]["post"]) == POST


def _without_typename(value: Any) -> Any:
    """An answer without what clients and tools ask for on their own."""
    if isinstance(value, list):
        return [_without_typename(each) for each in value]
    if isinstance(value, dict):
        return {
            name: _without_typename(each)
            for name, each in value.items()
            if name not in ("__typename", "id")
        }
    return value
