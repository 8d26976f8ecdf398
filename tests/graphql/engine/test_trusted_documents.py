"""Trusted documents: by id, hash and text, and the errors of all others and of invalid files."""

import re
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import create_document_store
from app.settings import SettingsError, read_settings
from tests.clients import Tenant
from tests.graphql.tenant_objects import client_with_settings
from tests.graphql.transport.graphql_requests import (
    NO_POSTS,
    POST,
    QUERY,
    TYPENAME,
    RequestForm,
    by_hash,
    error_codes,
    persisted_query,
    rejection,
    request_forms,
    sha256,
)

TOTAL_QUERY = "query Total {\n  posts { totalCount }\n}\n"
PAGE_QUERY = "query Page($first: Int) { posts(first: $first) { nodes { id } } }"
NOT_TRUSTED = rejection(
    "DOCUMENT_NOT_TRUSTED",
    "This server executes only trusted documents, and this document is not trusted. Send the"
    " documentId of a trusted document, or ask the operator to add yours.",
)


def apollo_manifest(*operations: dict[str, object]) -> dict[str, object]:
    return {
        "format": "apollo-persisted-query-manifest",
        "version": 1,
        "operations": list(operations),
    }


APOLLO_MANIFEST = apollo_manifest(
    {"id": "total-1", "name": "Total", "type": "query", "body": TOTAL_QUERY},
    {"id": sha256(PAGE_QUERY), "name": "Page", "type": "query", "body": PAGE_QUERY},
)
PLAIN_MANIFEST = {"total-1": TOTAL_QUERY, sha256(PAGE_QUERY): PAGE_QUERY}


def trusted_documents(folder: Path, *contents: object) -> dict[str, str]:
    """Setting that names one file of trusted documents per content; bytes are written unchanged."""
    paths = [folder / f"{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return {"TRUSTED_DOCUMENTS": ",".join(map(str, paths))}


@request_forms
@pytest.mark.parametrize("content", [APOLLO_MANIFEST, PLAIN_MANIFEST], ids=["apollo", "plain"])
async def test_a_trusted_document_is_executed_by_id_by_hash_and_by_text(
    acme: Tenant, tmp_path: Path, content: object, form: RequestForm
) -> None:
    requests: list[dict[str, object]] = [
        {"documentId": "total-1"},
        {"documentId": "total-1", "query": ""},
        {"documentId": f"sha256:{sha256(TOTAL_QUERY)}"},
        persisted_query("total-1"),
        persisted_query(sha256(TOTAL_QUERY)),
        {"query": TOTAL_QUERY},
        {"query": TOTAL_QUERY, "documentId": "total-1", **persisted_query(sha256(TOTAL_QUERY))},
    ]
    page = {"documentId": sha256(PAGE_QUERY), "variables": {"first": 1}, "operationName": "Page"}
    async with client_with_settings(acme, **trusted_documents(tmp_path, content)) as client:
        for request in requests:
            assert await form.send(client, request) == (200, NO_POSTS), request
        assert await form.send(client, page) == (200, {"data": {"posts": {"nodes": []}}})


@request_forms
async def test_other_documents_are_rejected(
    acme: Tenant, tmp_path: Path, form: RequestForm
) -> None:
    requests: list[dict[str, object]] = [
        {"query": "{ __typename }"},
        {"query": "{ __schema { queryType { name } } }"},
        {"query": "{"},
        {"query": TOTAL_QUERY.strip()},
        {"documentId": "total-2"},
        {"documentId": TOTAL_QUERY},
        {"documentId": f"sha256:{sha256(TOTAL_QUERY).upper()}"},
        by_hash("{ __typename }"),
        by_hash("{ __typename }", "{ __typename }"),
        by_hash("{ __typename }", TOTAL_QUERY),
        {"documentId": "total-2", "query": TOTAL_QUERY},
        {"documentId": "total-1", "query": "{ __typename }"},
    ]
    status = 200 if form.media_type == "application/json" else 403
    async with client_with_settings(acme, **trusted_documents(tmp_path, PLAIN_MANIFEST)) as client:
        for request in requests:
            assert await form.send(client, request) == (status, NOT_TRUSTED), request
        assert await POST.send(client, {"documentId": "total-1"}) == (200, NO_POSTS)


NO_DOCUMENT_ID = rejection(
    "VALIDATION_ERROR",
    "documentId must name a trusted document; this server executes no others.",
    "documentId",
)
SEVERAL_DOCUMENTS = rejection(
    "VALIDATION_ERROR",
    "query, documentId and extensions.persistedQuery name different documents; send one of them.",
    "documentId",
)


@request_forms
async def test_a_request_must_identify_exactly_one_trusted_document(
    acme: Tenant, tmp_path: Path, form: RequestForm
) -> None:
    requests: list[tuple[dict[str, object], object]] = [
        ({}, NO_DOCUMENT_ID),
        ({"query": "", "documentId": ""}, NO_DOCUMENT_ID),
        ({"documentId": "total-1", "query": PAGE_QUERY}, SEVERAL_DOCUMENTS),
        ({"documentId": "total-1", **by_hash(PAGE_QUERY)}, SEVERAL_DOCUMENTS),
        (by_hash(PAGE_QUERY, TOTAL_QUERY), SEVERAL_DOCUMENTS),
    ]
    async with client_with_settings(acme, **trusted_documents(tmp_path, PLAIN_MANIFEST)) as client:
        for request, expected in requests:
            assert await form.send(client, request) == (400, expected), request


@request_forms
async def test_a_document_id_is_rejected_without_trusted_documents(
    acme: Tenant, form: RequestForm
) -> None:
    expected = rejection(
        "VALIDATION_ERROR",
        "This documentId is unknown, and this server has no trusted documents; send the document as query.",
        "documentId",
    )
    named = {"documentId": f"sha256:{sha256(QUERY)}"}
    for request in (named, {**named, "query": QUERY}, {**named, **by_hash(QUERY, QUERY)}):
        assert await form.send(acme.client, request) == (400, expected)
    status, result = await POST.send(acme.client, by_hash(QUERY))
    assert (status, error_codes(result)) == (200, ["PERSISTED_QUERY_NOT_FOUND"])


INTROSPECTION = "{ __schema { queryType { name } } }"


@pytest.mark.parametrize(
    ("manifests", "requests"),
    [
        (
            [{"introspection": INTROSPECTION}],
            [({"query": INTROSPECTION}, {"data": {"__schema": {"queryType": {"name": "Query"}}}})],
        ),
        (
            [APOLLO_MANIFEST, {"web": "{ __typename }", "total-1": TOTAL_QUERY}],
            [({"documentId": "web"}, TYPENAME), ({"documentId": "total-1"}, NO_POSTS)],
        ),
        (
            [{sha256(TOTAL_QUERY): "{ __typename }", "total": TOTAL_QUERY}],
            [({"documentId": sha256(TOTAL_QUERY)}, TYPENAME), ({"query": TOTAL_QUERY}, NO_POSTS)],
        ),
    ],
    ids=["introspection", "merged files", "id equal to the hash of another document"],
)
async def test_trusted_documents_of_all_files_are_executed(
    acme: Tenant,
    tmp_path: Path,
    manifests: list[object],
    requests: list[tuple[dict[str, object], object]],
) -> None:
    async with client_with_settings(acme, **trusted_documents(tmp_path, *manifests)) as client:
        for request, expected in requests:
            assert await POST.send(client, request) == (200, expected)


async def test_trusted_documents_restrict_graphiql_but_not_rest(
    acme: Tenant, tmp_path: Path
) -> None:
    no_page = rejection(
        "NOT_FOUND", "GraphiQL was not found: this server executes trusted documents only."
    )
    async with client_with_settings(acme, **trusted_documents(tmp_path, PLAIN_MANIFEST)) as client:
        page = await client.get("/graphql", headers={"Accept": "text/html"})
        posts = await client.get("/v1/posts")

    assert (page.status_code, page.json()) == (404, no_page)
    assert (posts.status_code, posts.json()["data"]["total"]) == (200, 0)


NOT_A_MANIFEST_MESSAGE = "must be Apollo's manifest, or a JSON object of ids and GraphQL documents."
NOT_APOLLO_MESSAGE = "must have version 1 and a list of operations, as Apollo's manifests do."
NO_DOCUMENT_MESSAGE = "lists no document."


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], NOT_A_MANIFEST_MESSAGE),
        ("{ __typename }", NOT_A_MANIFEST_MESSAGE),
        ({**apollo_manifest(), "version": 2}, NOT_APOLLO_MESSAGE),
        ({**apollo_manifest(), "operations": {}}, NOT_APOLLO_MESSAGE),
        ({"format": "apollo-persisted-query-manifest"}, NOT_APOLLO_MESSAGE),
        ({}, NO_DOCUMENT_MESSAGE),
        (apollo_manifest(), NO_DOCUMENT_MESSAGE),
        *(
            (content, "must have an id and a text for each document; number 2 lacks one.")
            for content in (
                {"a": "{ __typename }", "b": 1},
                {"a": "{ __typename }", "": "{ __typename }"},
                apollo_manifest({"id": "a", "body": "{ __typename }"}, {"id": "b"}),
                apollo_manifest({"id": "a", "body": "{ __typename }"}, {"body": "{ __typename }"}),
                {**apollo_manifest(), "operations": [{"id": "a", "body": "{ __typename }"}, 5]},
            )
        ),
        (
            apollo_manifest({"id": "a", "body": TOTAL_QUERY}, {"id": "a", "body": PAGE_QUERY}),
            "has the id a for two different documents.",
        ),
        ({"total-1": PAGE_QUERY}, "has the id total-1 for two different documents."),
        (
            {"a": TOTAL_QUERY, "b": "query Mine {\n  nope\n}"},
            "has the operation Mine, with the id b, that cannot be executed"
            " (line 2, column 3): Cannot query field 'nope' on type 'Query'."
            " Did you mean 'node' or 'nodes'?",
        ),
        (
            {"b": "mutation Mine {"},
            "has the operation Mine, with the id b, that cannot be executed"
            " (line 1, column 16): Syntax Error: Expected Name, found <EOF>.",
        ),
        (
            {"b": ""},
            "has a document, with the id b, that cannot be executed"
            " (line 1, column 1): Syntax Error: Unexpected <EOF>.",
        ),
        (
            {"b": "subscription S { x }"},
            "has the operation S, with the id b, that cannot be executed"
            " (line 1, column 18): Cannot query field 'x' on type 'Subscription'.",
        ),
        (
            {"b": "query Deep " + "{ a" * 16 + "}" * 16},
            "has the operation Deep, with the id b, that cannot be executed"
            ": The document is 16 levels deep; at most 15 are allowed.",
        ),
        (
            {"b": "query Long { accounts(" + "a: 1 " * 2000 + ") }"},
            "has the operation Long, with the id b, that cannot be executed"
            ": The document has more than 2000 tokens, which is the limit.",
        ),
    ],
)
def test_an_invalid_file_prevents_the_start(tmp_path: Path, content: object, problem: str) -> None:
    settings = trusted_documents(tmp_path, PLAIN_MANIFEST, content)
    assert start_error(settings) == f"TRUSTED_DOCUMENTS: {tmp_path / '1.json'} {problem}"


def open_store(variables: Mapping[str, str]) -> None:
    settings = read_settings(variables)
    create_document_store(settings, create_schema(settings.graphql), Path("none.json"))


def start_error(variables: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as error:
        open_store(variables)
    return str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "\xff"}', b"\xef\xbb\xbf{}"])
def test_a_file_that_is_not_json_prevents_the_start(tmp_path: Path, content: bytes) -> None:
    message = start_error(trusted_documents(tmp_path, content))
    start = f"TRUSTED_DOCUMENTS: {tmp_path / '0.json'} is not JSON: "
    assert re.fullmatch(f"{re.escape(start)}.+ at line 1, column [1-8]\\.", message)


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.json", "No such file or directory"), ("", "Is a directory")]
)
def test_an_unreadable_file_prevents_the_start(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    error = start_error({"TRUSTED_DOCUMENTS": str(path)})
    assert error == f"TRUSTED_DOCUMENTS: {path} cannot be read: {reason}."


def test_trusted_documents_must_be_within_the_configured_limits(tmp_path: Path) -> None:
    documents = {"x": "query Two { posts { totalCount } accounts { id } }"}
    settings = trusted_documents(tmp_path, documents)
    open_store(settings)
    error = start_error({**settings, "GRAPHQL_MAX_ROOT_FIELDS": "1"})
    assert "executed: The document has 2 root fields; at most 1" in error
