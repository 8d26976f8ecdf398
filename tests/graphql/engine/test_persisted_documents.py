"""Persisted queries by hash, trusted documents by id, and the errors of all others."""

import hashlib
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from app.domain.errors import PersistedQueryNotFound
from app.domain.ids import WorkspaceId
from app.graphql.engine.executable_schema import create_schema
from app.graphql.engine.operation_request import OperationRequest
from app.graphql.engine.persisted_documents import (
    PersistedQueries,
    create_document_store,
)
from app.settings import Settings, SettingsError, read_settings
from tests.clients import UNLIMITED_SETTINGS, Client, Tenant, app_client
from tests.factories import add_accounts, add_api_key, add_post, add_workspace
from tests.graphql.transport.graphql_requests import (
    GET,
    POST,
    TYPENAME,
    RequestForm,
    error_codes,
    rejection,
    request_forms,
)

QUERY = "query Named($first: Int) { posts(first: $first) { totalCount } } # ü"
EMPTY = {"data": {"posts": {"totalCount": 0}}}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted_query(sha256_hash: str) -> dict[str, object]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256_hash}}}


def by_hash(document: str, query: str | None = None) -> dict[str, object]:
    """Request parameters with the hash of this document, and optionally a query."""
    return persisted_query(sha256(document)) | ({} if query is None else {"query": query})


@asynccontextmanager
async def client_of_process(
    acme: Tenant, settings: Settings = UNLIMITED_SETTINGS
) -> AsyncIterator[Client]:
    """A client of the same tenant at another process, which has these settings."""
    key = await add_api_key(acme.database, acme.workspace)
    async with app_client(acme.database, token=key.token, settings=settings) as client:
        yield client


NOT_FOUND = rejection("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
NOT_SUPPORTED = rejection("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
NO_QUERY_MESSAGE = rejection("VALIDATION_ERROR", "query must be a GraphQL document.", "query")


# Automatic persisted queries.


@request_forms
async def test_a_hash_is_unknown_until_it_was_sent_with_its_query(
    acme: Tenant, form: RequestForm
) -> None:
    assert await form.send(acme.client, by_hash(QUERY)) == (200, NOT_FOUND)
    assert await form.send(acme.client, {**by_hash(QUERY), "query": ""}) == (200, NOT_FOUND)
    assert await form.send(acme.client, by_hash(QUERY, QUERY)) == (200, EMPTY)
    for later_form in (GET, POST):
        assert await later_form.send(acme.client, by_hash(QUERY)) == (200, EMPTY)
    assert await POST.send(acme.client, {**by_hash(QUERY), "query": None}) == (200, EMPTY)


@request_forms
async def test_a_hash_is_sent_with_variables_and_operation_name_like_a_query(
    acme: Tenant, form: RequestForm
) -> None:
    text = "query A { __typename } query B($first: Int) { posts(first: $first) { nodes { id } } }"
    for _ in range(2):
        await add_post(acme.database, acme.workspace)
    await POST.send(acme.client, {**by_hash(text, text), "operationName": "A"})

    request = {**by_hash(text), "operationName": "B", "variables": {"first": 1}}
    status, result = await form.send(acme.client, request)
    assert (status, len(result["data"]["posts"]["nodes"])) == (200, 1)
    assert await POST.send(acme.client, {**by_hash(text), "operationName": "A"}) == (
        200,
        TYPENAME,
    )


@request_forms
async def test_a_hash_that_does_not_match_is_rejected_and_not_stored(
    acme: Tenant, form: RequestForm
) -> None:
    expected = rejection(
        "VALIDATION_ERROR",
        "extensions.persistedQuery.sha256Hash does not match query; it must be the SHA-256 of its"
        " UTF-8 bytes in lower-case hex digits.",
        "extensions.persistedQuery.sha256Hash",
    )
    wrong = "{ __typename }"
    for request in (
        by_hash(wrong, QUERY),
        by_hash(f"{QUERY} ", QUERY),
        {"query": QUERY, **persisted_query(sha256(QUERY).upper())},
    ):
        result = await form.send(acme.client, request)
        assert result == (400, expected)
        assert await POST.send(acme.client, {"extensions": request["extensions"]}) == (
            200,
            NOT_FOUND,
        )
    assert await POST.send(acme.client, by_hash(QUERY)) == (200, NOT_FOUND)


@pytest.mark.parametrize(
    ("text", "variables", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
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
async def test_a_rejected_document_is_not_stored(
    acme: Tenant, text: str, variables: object, code: str
) -> None:
    await add_accounts(acme.database, acme.workspace, 2)
    settings = read_settings({"RATE_LIMIT": "off", "GRAPHQL_MAX_LIST_ENTRIES": "1"})
    async with client_of_process(acme, settings) as client:
        _, result = await POST.send(client, {**by_hash(text, text), "variables": variables})
        assert error_codes(result) == [code]
        assert await POST.send(client, by_hash(text)) == (200, NOT_FOUND)


async def test_a_mutation_by_get_is_rejected_and_not_stored(acme: Tenant) -> None:
    text = "mutation { __typename }"
    assert await GET.send(acme.client, by_hash(text, text)) == (
        405,
        rejection("METHOD_NOT_ALLOWED", "GET allows only queries; use POST."),
    )
    assert await POST.send(acme.client, by_hash(text)) == (200, NOT_FOUND)


async def test_a_query_without_a_hash_is_not_stored(acme: Tenant) -> None:
    assert await POST.send(acme.client, {"query": QUERY}) == (200, EMPTY)
    assert await POST.send(acme.client, by_hash(QUERY)) == (200, NOT_FOUND)


async def test_a_document_with_a_field_error_is_stored(acme: Tenant) -> None:
    text = "{ __typename posts(first: 0) { totalCount } }"
    _, result = await POST.send(acme.client, by_hash(text, text))
    assert result["data"] == {"__typename": "Query", "posts": None}
    assert await POST.send(acme.client, by_hash(text)) == (200, result)


async def test_a_hash_is_unknown_in_other_workspaces_and_processes(acme: Tenant) -> None:
    other = await add_api_key(acme.database, await add_workspace(acme.database))
    colleague = await add_api_key(acme.database, acme.workspace)
    await POST.send(acme.client, by_hash(QUERY, QUERY))

    async with client_of_process(acme) as another_process:
        for client, expected in (
            (acme.client.with_token(other.token), NOT_FOUND),
            (acme.client.with_token(colleague.token), EMPTY),
            (another_process, NOT_FOUND),
        ):
            assert await POST.send(client, by_hash(QUERY)) == (200, expected)


async def test_a_known_hash_needs_a_key_and_counts_against_the_rate_limit(acme: Tenant) -> None:
    settings = read_settings({"RATE_LIMIT": "2/minute"})
    async with client_of_process(acme, settings) as client:
        await POST.send(client, by_hash(QUERY, QUERY))
        status, _ = await POST.send(client.with_token(None), by_hash(QUERY))
        assert status == 401
        assert await POST.send(client, by_hash(QUERY)) == (200, EMPTY)
        status, result = await POST.send(client, by_hash(QUERY))
        assert (status, error_codes(result)) == (429, ["RATE_LIMIT_EXCEEDED"])


async def test_the_size_of_stored_documents_is_limited_by_the_setting(acme: Tenant) -> None:
    first, second = (f"{{ __typename }} # {number * 500}" for number in "12")
    settings = read_settings({"RATE_LIMIT": "off", "PERSISTED_QUERIES_BYTES": "1500"})
    async with client_of_process(acme, settings) as client:
        for text in (first, second):
            assert await POST.send(client, by_hash(text, text)) == (200, TYPENAME)
        assert await POST.send(client, by_hash(first)) == (200, NOT_FOUND)
        assert await POST.send(client, by_hash(second)) == (200, TYPENAME)


PERSISTED = "extensions.persistedQuery"


def malformed_versions(*versions: object) -> list[object]:
    return [{}, *({"version": version, "sha256Hash": "x"} for version in versions)]


def malformed_hashes(*hashes: object) -> list[object]:
    return [{"version": 1}, *({"version": 1, "sha256Hash": value} for value in hashes)]


@pytest.mark.parametrize(
    ("field", "problem", "values"),
    [
        (PERSISTED, "must be a JSON object.", ["x", 1, True, [], [{}]]),
        (
            f"{PERSISTED}.version",
            "must be 1, the only version.",
            malformed_versions(None, 0, 2, "1", True, 1.5),
        ),
        (
            f"{PERSISTED}.sha256Hash",
            "must be the SHA-256 hash of a query.",
            malformed_hashes(None, "", 1, ["x"], {}),
        ),
    ],
    ids=["object", "version", "hash"],
)
@request_forms
async def test_a_malformed_persisted_query_is_rejected(
    acme: Tenant, field: str, problem: str, values: list[object], form: RequestForm
) -> None:
    expected = rejection("VALIDATION_ERROR", f"{field} {problem}", field)
    for value in values:
        request: dict[str, object] = {"extensions": {"persistedQuery": value}}
        for parameters in (request, {"query": "{ __typename }", **request}):
            result = await form.send(acme.client, parameters)
            assert result == (400, expected)


async def test_unknown_extensions_and_members_are_ignored(acme: Tenant) -> None:
    nothing: list[dict[str, object]] = [{}, {"persistedQuery": None}, {"x": [1]}]
    for extensions in nothing:
        request = {"query": "{ __typename }", "extensions": extensions}
        assert await POST.send(acme.client, request) == (200, TYPENAME)
        assert await POST.send(acme.client, {"extensions": extensions}) == (
            400,
            NO_QUERY_MESSAGE,
        )
    marked = {"persistedQuery": {"version": 1, "sha256Hash": sha256(QUERY), "miss": True}}
    assert await POST.send(acme.client, {"query": QUERY, "extensions": marked}) == (
        200,
        EMPTY,
    )
    assert await POST.send(acme.client, {"extensions": marked}) == (200, EMPTY)


@request_forms
async def test_disabled_hashes_are_reported_as_not_supported(
    acme: Tenant, form: RequestForm
) -> None:
    settings = read_settings({"RATE_LIMIT": "off", "PERSISTED_QUERIES_BYTES": "0"})
    async with client_of_process(acme, settings) as client:
        for request in (by_hash(QUERY), by_hash(QUERY, QUERY)):
            result = await form.send(client, request)
            assert result == (200, NOT_SUPPORTED)
        request = {"query": QUERY}
        assert await form.send(client, request) == (
            200,
            EMPTY,
        )


@request_forms
async def test_a_document_id_is_rejected_without_trusted_documents(
    acme: Tenant, form: RequestForm
) -> None:
    expected = rejection(
        "VALIDATION_ERROR",
        "documentId names a trusted document, and this server has none; send the document as query.",
        "documentId",
    )
    named = {"documentId": f"sha256:{sha256(QUERY)}"}
    for request in (named, {**named, "query": QUERY}, {**named, **by_hash(QUERY, QUERY)}):
        result = await form.send(acme.client, request)
        assert result == (400, expected)
    assert await POST.send(acme.client, by_hash(QUERY)) == (200, NOT_FOUND)


async def test_a_document_id_must_be_a_string(acme: Tenant) -> None:
    expected = rejection("VALIDATION_ERROR", "documentId must be a string.", "documentId")
    for value in (1, True, ["x"], {"a": "x"}):
        request = {"query": "{ __typename }", "documentId": value}
        assert await POST.send(acme.client, request) == (400, expected)


@pytest.mark.parametrize("parameter", ["extensions", "documentId"])
async def test_a_browser_request_for_a_document_gets_no_page(acme: Tenant, parameter: str) -> None:
    value = json.dumps(by_hash(QUERY)["extensions"]) if parameter == "extensions" else "x"
    response = await acme.client.with_token(None).get(
        "/graphql", params={parameter: value}, headers={"Accept": "text/html"}
    )
    assert response.status_code == 401


# The cache

WORKSPACE = WorkspaceId(UUID(int=0))


def store(queries: PersistedQueries, query: str, workspace: WorkspaceId = WORKSPACE) -> None:
    queries.store(OperationRequest(query=query, sha256_hash=sha256(query)), workspace)


def is_stored(queries: PersistedQueries, query: str) -> bool:
    try:
        return queries.resolve(OperationRequest(sha256_hash=sha256(query)), WORKSPACE) == query
    except PersistedQueryNotFound:
        return False


@pytest.mark.parametrize("use", [store, is_stored])
def test_the_least_recently_used_document_is_evicted(
    use: Callable[[PersistedQueries, str], object],
) -> None:
    queries = PersistedQueries(2 * (PersistedQueries.ENTRY_OVERHEAD_BYTES + 100))
    oldest, unused, newest = (letter * 100 for letter in "abc")
    for query in (oldest, unused):
        store(queries, query)
    use(queries, oldest)
    store(queries, newest)

    assert [is_stored(queries, query) for query in (oldest, unused, newest)] == [True, False, True]


def test_a_document_larger_than_the_cache_evicts_nothing() -> None:
    queries = PersistedQueries(2000)
    store(queries, "small")
    store(queries, "x" * 2000)

    assert is_stored(queries, "small")
    assert not is_stored(queries, "x" * 2000)


def test_the_cache_takes_no_more_memory_than_its_limit() -> None:
    tracemalloc.start()
    queries = PersistedQueries(2**20)
    for number in range(5000):
        query = f"{{ a{number} }}"
        store(queries, query, WorkspaceId(UUID(sha256(query)[:32])))
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.6 * 2**20 < used_bytes <= 2**20


# Trusted documents.


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


def trusted_documents_settings(folder: Path, *contents: object, **variables: str) -> Settings:
    """Settings with one file of trusted documents per content; bytes are written unchanged."""
    paths = [folder / f"{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    names = ",".join(map(str, paths))
    return read_settings({"RATE_LIMIT": "off", "TRUSTED_DOCUMENTS": names, **variables})


@asynccontextmanager
async def trusting_client(acme: Tenant, folder: Path, *contents: object) -> AsyncIterator[Client]:
    """A client at a process that executes only the documents in these files."""
    settings = trusted_documents_settings(folder, *contents)
    async with client_of_process(acme, settings) as client:
        yield client


@request_forms
@pytest.mark.parametrize("content", [APOLLO_MANIFEST, PLAIN_MANIFEST], ids=["apollo", "plain"])
async def test_a_trusted_document_is_executed_by_id_by_hash_and_by_text(
    acme: Tenant, tmp_path: Path, content: object, form: RequestForm
) -> None:
    requests: list[dict[str, object]] = [
        {"documentId": "total-1"},
        {"documentId": f"sha256:{sha256(TOTAL_QUERY)}"},
        persisted_query("total-1"),
        persisted_query(sha256(TOTAL_QUERY)),
        {"query": TOTAL_QUERY},
        {"query": TOTAL_QUERY, "documentId": "total-1", **persisted_query(sha256(TOTAL_QUERY))},
    ]
    page = {"documentId": sha256(PAGE_QUERY), "variables": {"first": 1}, "operationName": "Page"}
    async with trusting_client(acme, tmp_path, content) as client:
        for request in requests:
            assert await form.send(client, request) == (200, EMPTY), request
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
    async with trusting_client(acme, tmp_path, PLAIN_MANIFEST) as client:
        for request in requests:
            result = await form.send(client, request)
            assert result == (status, NOT_TRUSTED), request
        assert await POST.send(client, {"documentId": "total-1"}) == (200, EMPTY)


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
    async with trusting_client(acme, tmp_path, PLAIN_MANIFEST) as client:
        for request, expected in requests:
            result = await form.send(client, request)
            assert result == (400, expected), request


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
            [({"documentId": "web"}, TYPENAME), ({"documentId": "total-1"}, EMPTY)],
        ),
        (
            [{sha256(TOTAL_QUERY): "{ __typename }", "total": TOTAL_QUERY}],
            [({"documentId": sha256(TOTAL_QUERY)}, TYPENAME), ({"query": TOTAL_QUERY}, EMPTY)],
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
    async with trusting_client(acme, tmp_path, *manifests) as client:
        for request, expected in requests:
            assert await POST.send(client, request) == (200, expected)


async def test_trusted_documents_restrict_graphiql_but_not_rest(
    acme: Tenant, tmp_path: Path
) -> None:
    no_page = rejection(
        "NOT_FOUND", "GraphiQL was not found: this server executes trusted documents only."
    )
    async with trusting_client(acme, tmp_path, PLAIN_MANIFEST) as client:
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
    settings = trusted_documents_settings(tmp_path, PLAIN_MANIFEST, content)
    assert start_error(settings) == f"TRUSTED_DOCUMENTS: {tmp_path / '1.json'} {problem}"


def start_error(settings: Settings) -> str:
    with pytest.raises(SettingsError) as error:
        create_document_store(settings, create_schema(settings.graphql))
    return str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "\xff"}', b"\xef\xbb\xbf{}"])
def test_a_file_that_is_not_json_prevents_the_start(tmp_path: Path, content: bytes) -> None:
    message = start_error(trusted_documents_settings(tmp_path, content))
    start = f"TRUSTED_DOCUMENTS: {tmp_path / '0.json'} is not JSON: "
    assert re.fullmatch(f"{re.escape(start)}.+ at line 1, column [1-8]\\.", message)


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.json", "No such file or directory"), ("", "Is a directory")]
)
def test_an_unreadable_file_prevents_the_start(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    settings = read_settings({"TRUSTED_DOCUMENTS": str(path)})
    assert start_error(settings) == f"TRUSTED_DOCUMENTS: {path} cannot be read: {reason}."


def test_trusted_documents_must_be_within_the_configured_limits(tmp_path: Path) -> None:
    documents = {"x": "query Two { posts { totalCount } accounts { id } }"}
    settings = trusted_documents_settings(tmp_path, documents)
    create_document_store(settings, create_schema(settings.graphql))
    tight = trusted_documents_settings(tmp_path, documents, GRAPHQL_MAX_ROOT_FIELDS="1")
    assert "executed: The document has 2 root fields; at most 1" in start_error(tight)
