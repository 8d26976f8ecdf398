"""Documents by hash and by id: what is remembered, what is trusted, and what the others are told."""

import hashlib
import json
import re
import tracemalloc
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import WorkspaceId
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.persisted_documents import DocumentCache, create_document_store
from app.settings import Settings, SettingsError, read_settings
from tests.clients import UNLIMITED_SETTINGS, Client, Tenant, app_client
from tests.factories import add_account, add_api_key, add_post, add_workspace

TYPENAME = {"data": {"__typename": "Query"}}
QUERY = "query Named($first: Int) { posts(first: $first) { totalCount } } # ü"
EMPTY = {"data": {"posts": {"totalCount": 0}}}
MEDIA_TYPES = ("application/json", "application/graphql-response+json")

methods = pytest.mark.parametrize("method", ["GET", "POST"])
media_types = pytest.mark.parametrize("media_type", MEDIA_TYPES)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hash_parameters(document: str, query: str | None = None) -> dict[str, object]:
    """The parameters of a request for the document with this text, by its hash."""
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": sha256(document)}}
    return {"extensions": persisted} | ({} if query is None else {"query": query})


async def send_request(
    client: Client,
    parameters: dict[str, Any],
    *,
    method: str = "POST",
    media_type: str = "application/json",
) -> tuple[int, dict[str, Any]]:
    """Status and answer; by GET, objects are written as JSON."""
    headers = {"Accept": media_type}
    if method == "POST":
        response = await client.request("POST", "/graphql", json=parameters, headers=headers)
    else:
        written = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in parameters.items()
        }
        response = await client.get("/graphql", params=written, headers=headers)
    assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    return response.status_code, response.json()


@asynccontextmanager
async def client_with_settings(
    acme: Tenant, settings: Settings = UNLIMITED_SETTINGS
) -> AsyncIterator[Client]:
    """A client of the same tenant, asking another process, which has these settings."""
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        yield client


def error_response(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    extensions = {"code": code} if field is None else {"code": code, "field": field}
    return {"errors": [{"message": message, "extensions": extensions}]}


NOT_FOUND = error_response("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
NOT_SUPPORTED = error_response("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
NO_QUERY_MESSAGE = error_response("VALIDATION_ERROR", "query must be a GraphQL document.", "query")


# Automatic persisted queries.


@methods
@media_types
async def test_an_unknown_hash_is_told_in_the_words_and_with_the_status_that_clients_wait_for(
    acme: Tenant, method: str, media_type: str
) -> None:
    for asked in (hash_parameters(QUERY), {**hash_parameters(QUERY), "query": ""}):
        answer = await send_request(acme.client, asked, method=method, media_type=media_type)
        assert answer == (200, NOT_FOUND)


@methods
@media_types
async def test_a_hash_that_came_with_its_text_is_known_from_then_on(
    acme: Tenant, method: str, media_type: str
) -> None:
    client = acme.client
    asked = hash_parameters(QUERY, QUERY)
    assert await send_request(client, asked, method=method, media_type=media_type) == (200, EMPTY)
    for again in ("GET", "POST"):
        assert await send_request(client, hash_parameters(QUERY), method=again) == (200, EMPTY)
        assert await send_request(client, {**hash_parameters(QUERY), "query": None}) == (200, EMPTY)


@methods
async def test_a_hash_is_asked_with_variables_and_an_operation_like_its_text(
    acme: Tenant, method: str
) -> None:
    text = "query A { __typename } query B($first: Int) { posts(first: $first) { nodes { id } } }"
    for _ in range(2):
        await add_post(acme.database, acme.workspace)
    await send_request(acme.client, {**hash_parameters(text, text), "operationName": "A"})

    asked = {**hash_parameters(text), "operationName": "B", "variables": {"first": 1}}
    status, answer = await send_request(acme.client, asked, method=method)
    assert (status, len(answer["data"]["posts"]["nodes"])) == (200, 1)
    assert await send_request(acme.client, {**hash_parameters(text), "operationName": "A"}) == (
        200,
        TYPENAME,
    )


@methods
@media_types
async def test_a_hash_of_another_text_is_refused_and_neither_is_remembered(
    acme: Tenant, method: str, media_type: str
) -> None:
    expected = error_response(
        "VALIDATION_ERROR",
        "extensions.persistedQuery.sha256Hash does not match query; it must be the SHA-256 of its"
        " UTF-8 bytes in lower-case hex digits.",
        "extensions.persistedQuery.sha256Hash",
    )
    wrong = "{ __typename }"
    for asked in (
        hash_parameters(wrong, QUERY),
        hash_parameters(f"{QUERY} ", QUERY),
        {
            "query": QUERY,
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256(QUERY).upper()}},
        },
    ):
        answer = await send_request(acme.client, asked, method=method, media_type=media_type)
        assert answer == (400, expected)
        assert await send_request(acme.client, {"extensions": asked["extensions"]}) == (
            200,
            NOT_FOUND,
        )
    assert await send_request(acme.client, hash_parameters(QUERY)) == (200, NOT_FOUND)


@pytest.mark.parametrize(
    ("text", "variables", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("mutation { nope }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __typename }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("fragment F on Post { id }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", None, "VALIDATION_ERROR"),
        ("{ a: __typename" * 16 + "}" * 16, None, "LIMIT_EXCEEDED"),
        ("{ accounts(" + "a: 1 " * 2000 + ") }", None, "LIMIT_EXCEEDED"),
        ("query ($n: [ID!]!) { nodes(ids: $n) { id } }", {"n": ["x"] * 101}, "LIMIT_EXCEEDED"),
        ("query ($n: Int!) { posts(first: $n) { totalCount } }", {"n": "1"}, "VALIDATION_ERROR"),
        ("{ accounts { id } }", None, "LIMIT_EXCEEDED"),
    ],
)
async def test_what_is_refused_is_not_remembered(
    acme: Tenant, text: str, variables: object, code: str
) -> None:
    for _ in range(2):
        await add_account(acme.database, acme.workspace)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "1"})
    async with client_with_settings(acme, settings) as client:
        _, answer = await send_request(
            client, {**hash_parameters(text, text), "variables": variables}
        )
        assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
        assert await send_request(client, hash_parameters(text)) == (200, NOT_FOUND)


async def test_what_may_not_be_sent_by_get_is_not_remembered_either(acme: Tenant) -> None:
    text = "mutation { __typename }"
    status, answer = await send_request(acme.client, hash_parameters(text, text), method="GET")
    assert (status, answer) == (
        405,
        error_response("METHOD_NOT_ALLOWED", "Only a query can be sent by GET; use POST."),
    )
    assert await send_request(acme.client, hash_parameters(text)) == (200, NOT_FOUND)


async def test_a_text_without_a_hash_is_not_remembered(acme: Tenant) -> None:
    assert await send_request(acme.client, {"query": QUERY}) == (200, EMPTY)
    assert await send_request(acme.client, hash_parameters(QUERY)) == (200, NOT_FOUND)


async def test_a_document_with_an_error_inside_of_its_answer_is_remembered(acme: Tenant) -> None:
    text = "{ __typename posts(first: 0) { totalCount } }"
    _, answer = await send_request(acme.client, hash_parameters(text, text))
    assert answer["data"] == {"__typename": "Query", "posts": None}
    assert await send_request(acme.client, hash_parameters(text)) == (200, answer)


async def test_what_one_workspace_asks_is_not_known_in_another(acme: Tenant) -> None:
    other = await add_api_key(acme.database, await add_workspace(acme.database))
    colleague = await add_api_key(acme.database, acme.workspace)
    await send_request(acme.client, hash_parameters(QUERY, QUERY))

    assert await send_request(acme.client.with_token(other.token), hash_parameters(QUERY)) == (
        200,
        NOT_FOUND,
    )
    assert await send_request(acme.client.with_token(colleague.token), hash_parameters(QUERY)) == (
        200,
        EMPTY,
    )


async def test_each_process_remembers_for_itself(acme: Tenant) -> None:
    await send_request(acme.client, hash_parameters(QUERY, QUERY))
    async with client_with_settings(acme) as another_process:
        assert await send_request(another_process, hash_parameters(QUERY)) == (200, NOT_FOUND)


async def test_a_known_hash_needs_a_key_and_counts_like_every_request(acme: Tenant) -> None:
    settings = read_settings({"RATE_LIMIT": "2/minute"})
    async with client_with_settings(acme, settings) as client:
        await send_request(client, hash_parameters(QUERY, QUERY))
        status, _ = await send_request(client.with_token(None), hash_parameters(QUERY))
        assert status == 401
        assert await send_request(client, hash_parameters(QUERY)) == (200, EMPTY)
        status, answer = await send_request(client, hash_parameters(QUERY))
        assert (status, answer["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")


async def test_only_so_many_bytes_of_documents_are_remembered(acme: Tenant) -> None:
    first, second = (f"{{ __typename }} # {number * 500}" for number in "12")
    settings = read_settings({"RATE_LIMIT": "off", "PERSISTED_QUERIES_BYTES": "1500"})
    async with client_with_settings(acme, settings) as client:
        for text in (first, second):
            assert await send_request(client, hash_parameters(text, text)) == (200, TYPENAME)
        assert await send_request(client, hash_parameters(first)) == (200, NOT_FOUND)
        assert await send_request(client, hash_parameters(second)) == (200, TYPENAME)


PERSISTED = "extensions.persistedQuery"
NO_OBJECTS: list[object] = ["x", 1, True, [], [{}]]
NO_VERSIONS: list[object] = [None, 0, 2, "1", True, 1.5]
NO_HASHES: list[object] = [None, "", 1, ["x"], {}]
MALFORMED: list[tuple[object, str, str]] = [
    *((value, PERSISTED, "must be a JSON object.") for value in NO_OBJECTS),
    *(
        (value, f"{PERSISTED}.version", "must be 1, the only version there is.")
        for value in ({}, *({"version": each, "sha256Hash": "x"} for each in NO_VERSIONS))
    ),
    *(
        (value, f"{PERSISTED}.sha256Hash", "must be the hash of a query.")
        for value in ({"version": 1}, *({"version": 1, "sha256Hash": each} for each in NO_HASHES))
    ),
]


@pytest.mark.parametrize(("persisted", "field", "problem"), MALFORMED)
async def test_a_persisted_query_that_is_malformed_is_refused(
    acme: Tenant, persisted: object, field: str, problem: str
) -> None:
    expected = error_response("VALIDATION_ERROR", f"{field} {problem}", field)
    asked = {"extensions": {"persistedQuery": persisted}}
    for method in ("GET", "POST"):
        for media_type in MEDIA_TYPES:
            for parameters in (asked, {"query": "{ __typename }", **asked}):
                answer = await send_request(
                    acme.client, parameters, method=method, media_type=media_type
                )
                assert answer == (400, expected)


async def test_other_extensions_and_other_members_are_ignored(acme: Tenant) -> None:
    nothing: list[dict[str, object]] = [{}, {"persistedQuery": None}, {"x": [1]}]
    for extensions in nothing:
        asked = {"query": "{ __typename }", "extensions": extensions}
        assert await send_request(acme.client, asked) == (200, TYPENAME)
        assert await send_request(acme.client, {"extensions": extensions}) == (
            400,
            NO_QUERY_MESSAGE,
        )
    marked = {"persistedQuery": {"version": 1, "sha256Hash": sha256(QUERY), "miss": True}}
    assert await send_request(acme.client, {"query": QUERY, "extensions": marked}) == (200, EMPTY)
    assert await send_request(acme.client, {"extensions": marked}) == (200, EMPTY)


@methods
@media_types
async def test_where_hashes_are_switched_off_a_client_is_told_to_send_none(
    acme: Tenant, method: str, media_type: str
) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "PERSISTED_QUERIES_BYTES": "0"})
    async with client_with_settings(acme, settings) as client:
        for asked in (hash_parameters(QUERY), hash_parameters(QUERY, QUERY)):
            answer = await send_request(client, asked, method=method, media_type=media_type)
            assert answer == (200, NOT_SUPPORTED)
        asked = {"query": QUERY}
        assert await send_request(client, asked, method=method, media_type=media_type) == (
            200,
            EMPTY,
        )


@methods
@media_types
async def test_an_id_is_refused_where_no_document_is_listed(
    acme: Tenant, method: str, media_type: str
) -> None:
    expected = error_response(
        "VALIDATION_ERROR",
        "documentId names a trusted document, and this server has none; send the document as query.",
        "documentId",
    )
    named = {"documentId": f"sha256:{sha256(QUERY)}"}
    for asked in (named, {**named, "query": QUERY}, {**named, **hash_parameters(QUERY, QUERY)}):
        answer = await send_request(acme.client, asked, method=method, media_type=media_type)
        assert answer == (400, expected)
    assert await send_request(acme.client, hash_parameters(QUERY)) == (200, NOT_FOUND)


@pytest.mark.parametrize("value", [1, True, ["x"], {"a": "x"}])
async def test_an_id_is_a_text(acme: Tenant, value: object) -> None:
    expected = error_response("VALIDATION_ERROR", "documentId must be a string.", "documentId")
    asked = {"query": "{ __typename }", "documentId": value}
    assert await send_request(acme.client, asked) == (400, expected)


@pytest.mark.parametrize("parameters", [hash_parameters(QUERY), {"documentId": "x"}])
async def test_whoever_names_a_document_is_no_visitor_of_a_page(
    acme: Tenant, parameters: dict[str, Any]
) -> None:
    written = {
        name: value if name == "documentId" else json.dumps(value)
        for name, value in parameters.items()
    }
    response = await acme.client.with_token(None).get(
        "/graphql", params=written, headers={"Accept": "text/html"}
    )
    assert response.status_code == 401


# What is kept of them.


WORKSPACES = [WorkspaceId(UUID(int=number)) for number in range(2)]
KEYS = [(workspace, name) for workspace in WORKSPACES for name in "ab"]


@given(
    st.sampled_from((0, 750, 1500, 2300, 5000)),
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(KEYS), st.sampled_from("xü日\U0001f389")),
        min_size=5,
        max_size=40,
    ),
)
def test_the_texts_that_were_used_last_are_kept_within_the_bytes(
    max_bytes: int, steps: list[tuple[bool, tuple[WorkspaceId, str], str]]
) -> None:
    recent = DocumentCache(max_bytes)
    model: OrderedDict[tuple[WorkspaceId, str], str] = OrderedDict()

    def cached_size(*texts: str) -> int:
        return sum(len(text.encode()) + 500 for text in texts)

    for is_put, key, letter in steps:
        text = model.get(key, letter * 200)
        if is_put:
            recent.put(key, text)
        else:
            assert recent.get(key) == model.get(key)
        if key in model or (is_put and cached_size(text) <= max_bytes):
            model[key] = text
            model.move_to_end(key)
        while cached_size(*model.values()) > max_bytes:
            model.popitem(last=False)
        assert recent.size_bytes == cached_size(*model.values())
    assert {key: recent.get(key) for key in KEYS} == {key: model.get(key) for key in KEYS}


@pytest.mark.parametrize("is_sent_again", [False, True])
def test_a_text_that_was_used_outlives_an_older_one_that_was_not(is_sent_again: bool) -> None:
    recent = DocumentCache(1300)
    for key in KEYS[:2]:
        recent.put(key, "x" * 100)
    if is_sent_again:
        recent.put(KEYS[0], "x" * 100)
    else:
        assert recent.get(KEYS[0]) == "x" * 100
    recent.put(KEYS[2], "x" * 100)

    assert [recent.get(key) for key in KEYS[:3]] == ["x" * 100, None, "x" * 100]


def test_what_is_kept_takes_no_more_memory_than_it_may() -> None:
    tracemalloc.start()
    recent = DocumentCache(2**20)
    for number in range(5000):
        text = f"{{ a{number} }}"
        recent.put((WorkspaceId(UUID(sha256(text)[:32])), sha256(text)), text)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.8 * 2**20 < taken <= 2**20


def test_a_text_that_can_never_fit_displaces_nothing() -> None:
    recent = DocumentCache(2000)
    key, other = ((WORKSPACES[0], name) for name in "ab")
    recent.put(key, "x" * 100)
    kept = recent.size_bytes
    recent.put(other, "x" * 2000)

    assert (recent.get(key), recent.get(other)) == ("x" * 100, None)
    assert recent.size_bytes == kept == 600


# Trusted documents.


TOTAL_QUERY = "query Total {\n  posts { totalCount }\n}\n"
PAGE_QUERY = "query Page($first: Int) { posts(first: $first) { nodes { id } } }"
NOT_TRUSTED = error_response(
    "DOCUMENT_NOT_TRUSTED",
    "This server runs trusted documents only, and this is none of them. Send the documentId of a"
    " listed one, or have yours added to the list.",
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


def trusted_documents_settings(folder: Path, *contents: object, **variables: str) -> Settings:
    """Settings with a file of trusted documents for each content; bytes are written as they are."""
    paths = [folder / f"{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    names = ",".join(map(str, paths))
    return read_settings({"RATE_LIMIT": "off", "TRUSTED_DOCUMENTS": names, **variables})


@methods
@media_types
@pytest.mark.parametrize("content", [APOLLO_MANIFEST, PLAIN_MANIFEST], ids=["apollo", "plain"])
async def test_a_trusted_document_runs_by_its_id_its_hash_and_its_text(
    acme: Tenant, tmp_path: Path, content: object, method: str, media_type: str
) -> None:
    def hash_extensions(name: str) -> dict[str, object]:
        return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": name}}}

    settings = trusted_documents_settings(tmp_path, content)
    async with client_with_settings(acme, settings) as client:
        for asked in (
            {"documentId": "total-1"},
            {"documentId": f"sha256:{sha256(TOTAL_QUERY)}"},
            hash_extensions("total-1"),
            hash_extensions(sha256(TOTAL_QUERY)),
            {"query": TOTAL_QUERY},
            {"query": TOTAL_QUERY, "documentId": "total-1", **hash_extensions(sha256(TOTAL_QUERY))},
        ):
            answer = await send_request(client, asked, method=method, media_type=media_type)
            assert answer == (200, EMPTY), asked
        page = {
            "documentId": sha256(PAGE_QUERY),
            "variables": {"first": 1},
            "operationName": "Page",
        }
        answer = await send_request(client, page, method=method, media_type=media_type)
        assert answer == (200, {"data": {"posts": {"nodes": []}}})


@methods
@pytest.mark.parametrize(
    ("media_type", "expected"), list(zip(MEDIA_TYPES, (200, 403), strict=True))
)
async def test_every_other_document_is_refused(
    acme: Tenant, tmp_path: Path, method: str, media_type: str, expected: int
) -> None:
    settings = trusted_documents_settings(tmp_path, PLAIN_MANIFEST)
    async with client_with_settings(acme, settings) as client:
        for asked in (
            {"query": "{ __typename }"},
            {"query": "{ __schema { queryType { name } } }"},
            {"query": "{"},
            {"query": TOTAL_QUERY.strip()},
            {"documentId": "total-2"},
            {"documentId": TOTAL_QUERY},
            {"documentId": f"sha256:{sha256(TOTAL_QUERY).upper()}"},
            hash_parameters("{ __typename }"),
            hash_parameters("{ __typename }", "{ __typename }"),
            hash_parameters("{ __typename }", TOTAL_QUERY),
            {"documentId": "total-2", "query": TOTAL_QUERY},
            {"documentId": "total-1", "query": "{ __typename }"},
        ):
            answer = await send_request(client, asked, method=method, media_type=media_type)
            assert answer == (expected, NOT_TRUSTED), asked
            assert await send_request(client, {"documentId": "total-1"}) == (200, EMPTY)


async def test_a_request_names_one_trusted_document(acme: Tenant, tmp_path: Path) -> None:
    settings = trusted_documents_settings(tmp_path, PLAIN_MANIFEST)
    none = error_response(
        "VALIDATION_ERROR",
        "documentId must name a trusted document; this server runs no others.",
        "documentId",
    )
    several = error_response(
        "VALIDATION_ERROR",
        "query, documentId and extensions.persistedQuery name different documents; send one of them.",
        "documentId",
    )
    async with client_with_settings(acme, settings) as client:
        for media_type in MEDIA_TYPES:
            for nothing in ({}, {"query": "", "documentId": ""}, {"query": None}):
                assert await send_request(client, nothing, media_type=media_type) == (400, none)
            for named in (
                {"documentId": "total-1", "query": PAGE_QUERY},
                {"documentId": "total-1", **hash_parameters(PAGE_QUERY)},
                hash_parameters(PAGE_QUERY, TOTAL_QUERY),
            ):
                assert await send_request(client, named, media_type=media_type) == (400, several)


async def test_introspection_runs_where_it_is_listed(acme: Tenant, tmp_path: Path) -> None:
    text = "{ __schema { queryType { name } } }"
    async with client_with_settings(
        acme, trusted_documents_settings(tmp_path, {"introspection": text})
    ) as client:
        assert await client.query(text) == {"__schema": {"queryType": {"name": "Query"}}}


async def test_rest_needs_no_list(acme: Tenant, tmp_path: Path) -> None:
    async with client_with_settings(
        acme, trusted_documents_settings(tmp_path, PLAIN_MANIFEST)
    ) as client:
        response = await client.get("/v1/posts")
        assert (response.status_code, response.json()["data"]["total"]) == (200, 0)


async def test_several_files_are_one_list(acme: Tenant, tmp_path: Path) -> None:
    settings = trusted_documents_settings(
        tmp_path, APOLLO_MANIFEST, {"web": "{ __typename }", "total-1": TOTAL_QUERY}
    )
    async with client_with_settings(acme, settings) as client:
        assert await send_request(client, {"documentId": "web"}) == (200, TYPENAME)
        assert await send_request(client, {"documentId": "total-1"}) == (200, EMPTY)


async def test_an_id_that_looks_like_the_hash_of_another_text_does_not_run_that_one(
    acme: Tenant, tmp_path: Path
) -> None:
    settings = trusted_documents_settings(
        tmp_path, {sha256(TOTAL_QUERY): "{ __typename }", "total": TOTAL_QUERY}
    )
    async with client_with_settings(acme, settings) as client:
        assert await send_request(client, {"documentId": sha256(TOTAL_QUERY)}) == (200, TYPENAME)
        assert await send_request(client, {"query": TOTAL_QUERY}) == (200, EMPTY)


async def test_a_browser_is_told_that_there_is_no_page(acme: Tenant, tmp_path: Path) -> None:
    no_page = error_response(
        "NOT_FOUND",
        "This server runs trusted documents only, so it has no page to write others.",
    )
    async with client_with_settings(
        acme, trusted_documents_settings(tmp_path, PLAIN_MANIFEST)
    ) as client:
        response = await client.get("/graphql", headers={"Accept": "text/html"})
        assert (response.status_code, response.json()) == (404, no_page)


def invalid_operation_message(operation: str, document_id: str, problem: str) -> str:
    return f"has {operation}, with the id {document_id}, that cannot run{problem}"


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
            (content, "must have an id and a text for each document; number 2 has not.")
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
            "gives the id a to another document than before.",
        ),
        (
            {"a": TOTAL_QUERY, "b": "query Mine {\n  nope\n}"},
            invalid_operation_message(
                "the operation Mine",
                "b",
                " (line 2, column 3): Cannot query field 'nope' on type 'Query'."
                " Did you mean 'node' or 'nodes'?",
            ),
        ),
        (
            {"b": "mutation Mine {"},
            invalid_operation_message(
                "the operation Mine",
                "b",
                " (line 1, column 16): Syntax Error: Expected Name, found <EOF>.",
            ),
        ),
        (
            {"b": ""},
            invalid_operation_message(
                "a document", "b", " (line 1, column 1): Syntax Error: Unexpected <EOF>."
            ),
        ),
        (
            {"b": "subscription S { x }"},
            invalid_operation_message(
                "the operation S",
                "b",
                " (line 1, column 18): Cannot query field 'x' on type 'Subscription'.",
            ),
        ),
        (
            {"b": "query Deep " + "{ a" * 16 + "}" * 16},
            invalid_operation_message(
                "the operation Deep",
                "b",
                ": The document is 16 levels deep; at most 15 are allowed.",
            ),
        ),
        (
            {"b": "query Long { accounts(" + "a: 1 " * 2000 + ") }"},
            invalid_operation_message(
                "the operation Long",
                "b",
                ": The document has more than 2000 tokens, which is the limit.",
            ),
        ),
    ],
)
def test_a_list_that_cannot_be_kept_stops_the_start(
    tmp_path: Path, content: object, problem: str
) -> None:
    settings = trusted_documents_settings(tmp_path, PLAIN_MANIFEST, content)
    with pytest.raises(SettingsError) as caught:
        create_document_store(settings, create_schema(settings.graphql))
    assert str(caught.value) == f"TRUSTED_DOCUMENTS: {tmp_path / '1.json'} {problem}"


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "\xff"}', b"\xef\xbb\xbf{}"])
def test_a_list_that_is_not_json_stops_the_start(tmp_path: Path, content: bytes) -> None:
    settings = trusted_documents_settings(tmp_path, content)
    start = f"TRUSTED_DOCUMENTS: {tmp_path / '0.json'} is not JSON: "
    with pytest.raises(SettingsError, match=f"{re.escape(start)}.+ at line 1, column [1-8]\\.$"):
        create_document_store(settings, create_schema(settings.graphql))


def test_two_files_that_give_an_id_to_different_texts_stop_the_start(tmp_path: Path) -> None:
    settings = trusted_documents_settings(tmp_path, PLAIN_MANIFEST, {"total-1": PAGE_QUERY})
    with pytest.raises(SettingsError) as caught:
        create_document_store(settings, create_schema(settings.graphql))
    assert str(caught.value) == (
        f"TRUSTED_DOCUMENTS: {tmp_path / '1.json'} gives the id total-1 to another document than"
        " before."
    )


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.json", "No such file or directory"), ("", "Is a directory")]
)
def test_a_list_that_cannot_be_read_stops_the_start(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    settings = read_settings({"TRUSTED_DOCUMENTS": str(path)})
    with pytest.raises(SettingsError) as caught:
        create_document_store(settings, create_schema(settings.graphql))
    assert str(caught.value) == f"TRUSTED_DOCUMENTS: {path} cannot be read: {reason}."


def test_the_list_is_held_to_the_limits_that_are_set(tmp_path: Path) -> None:
    settings = trusted_documents_settings(
        tmp_path, {"x": "query Two { posts { totalCount } accounts { id } }"}
    )
    create_document_store(settings, create_schema(settings.graphql))
    tight = trusted_documents_settings(
        tmp_path,
        {"x": "query Two { posts { totalCount } accounts { id } }"},
        GRAPHQL_MAX_ROOT_FIELDS="1",
    )
    with pytest.raises(SettingsError, match="that cannot run: The document has 2 root fields; at"):
        create_document_store(tight, create_schema(tight.graphql))
