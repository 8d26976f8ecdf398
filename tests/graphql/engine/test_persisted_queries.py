"""Automatic persisted queries: hashes that stand for documents, and the cache that stores them."""

import json
import tracemalloc
from collections.abc import Callable
from uuid import UUID

import pytest

from app.domain.errors import PersistedQueryNotFound
from app.domain.ids import WorkspaceId
from app.graphql.engine.operation_request import OperationRequest
from app.graphql.engine.persisted_documents import PersistedQueries
from tests.clients import Tenant
from tests.factories import add_accounts, add_api_key, add_post, add_workspace
from tests.graphql.tenant_objects import client_with_settings
from tests.graphql.transport.graphql_requests import (
    GET,
    NO_POSTS,
    NO_QUERY,
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

NOT_FOUND = rejection("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
NOT_SUPPORTED = rejection("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")


@request_forms
async def test_a_hash_is_unknown_until_it_was_sent_with_its_query(
    acme: Tenant, form: RequestForm
) -> None:
    assert await form.send(acme.client, by_hash(QUERY)) == (200, NOT_FOUND)
    assert await form.send(acme.client, {**by_hash(QUERY), "query": ""}) == (200, NOT_FOUND)
    assert await form.send(acme.client, by_hash(QUERY, QUERY)) == (200, NO_POSTS)
    for later_form in (GET, POST):
        assert await later_form.send(acme.client, by_hash(QUERY)) == (200, NO_POSTS)
    assert await POST.send(acme.client, {**by_hash(QUERY), "query": None}) == (200, NO_POSTS)


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
    other = {**by_hash(text), "operationName": "A"}
    assert await POST.send(acme.client, other) == (200, TYPENAME)


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
        assert await form.send(acme.client, request) == (400, expected)
        only_hash = {"extensions": request["extensions"]}
        assert await POST.send(acme.client, only_hash) == (200, NOT_FOUND)
    assert await POST.send(acme.client, by_hash(QUERY)) == (200, NOT_FOUND)


@pytest.mark.parametrize(
    ("text", "variables", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("subscription { __typename }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", None, "VALIDATION_ERROR"),
        ("{ a: __typename" * 16 + "}" * 16, None, "LIMIT_EXCEEDED"),
        ("query ($n: [ID!]!) { nodes(ids: $n) { id } }", {"n": ["x"] * 101}, "LIMIT_EXCEEDED"),
        ("query ($n: Int!) { posts(first: $n) { totalCount } }", {"n": "1"}, "VALIDATION_ERROR"),
        ("{ accounts { id } }", None, "LIMIT_EXCEEDED"),
    ],
)
async def test_a_rejected_document_is_not_stored(
    acme: Tenant, text: str, variables: object, code: str
) -> None:
    await add_accounts(acme.database, acme.workspace, 2)
    async with client_with_settings(acme, GRAPHQL_MAX_LIST_ENTRIES="1") as client:
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
    assert await POST.send(acme.client, {"query": QUERY}) == (200, NO_POSTS)
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

    async with client_with_settings(acme) as another_process:
        for client, expected in (
            (acme.client.with_token(other.token), NOT_FOUND),
            (acme.client.with_token(colleague.token), NO_POSTS),
            (another_process, NOT_FOUND),
        ):
            assert await POST.send(client, by_hash(QUERY)) == (200, expected)


async def test_a_known_hash_needs_a_key_and_counts_against_the_rate_limit(acme: Tenant) -> None:
    async with client_with_settings(acme, RATE_LIMIT="2/minute") as client:
        await POST.send(client, by_hash(QUERY, QUERY))
        status, _ = await POST.send(client.with_token(None), by_hash(QUERY))
        assert status == 401
        assert await POST.send(client, by_hash(QUERY)) == (200, NO_POSTS)
        status, result = await POST.send(client, by_hash(QUERY))
        assert (status, error_codes(result)) == (429, ["RATE_LIMIT_EXCEEDED"])


async def test_the_size_of_stored_documents_is_limited_by_the_setting(acme: Tenant) -> None:
    first, second = (f"{{ __typename }} # {number * 500}" for number in "12")
    async with client_with_settings(acme, PERSISTED_QUERIES_BYTES="1500") as client:
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
            assert await form.send(acme.client, parameters) == (400, expected)


async def test_unknown_extensions_and_members_are_ignored(acme: Tenant) -> None:
    nothing: list[dict[str, object]] = [{}, {"persistedQuery": None}, {"x": [1]}]
    for extensions in nothing:
        request = {"query": "{ __typename }", "extensions": extensions}
        assert await POST.send(acme.client, request) == (200, TYPENAME)
        assert await POST.send(acme.client, {"extensions": extensions}) == (400, NO_QUERY)
    marked = {"persistedQuery": {"version": 1, "sha256Hash": sha256(QUERY), "miss": True}}
    assert await POST.send(acme.client, {"query": QUERY, "extensions": marked}) == (200, NO_POSTS)
    assert await POST.send(acme.client, {"extensions": marked}) == (200, NO_POSTS)


@request_forms
async def test_disabled_hashes_are_reported_as_not_supported(
    acme: Tenant, form: RequestForm
) -> None:
    async with client_with_settings(acme, PERSISTED_QUERIES_BYTES="0") as client:
        for request in (by_hash(QUERY), by_hash(QUERY, QUERY)):
            assert await form.send(client, request) == (200, NOT_SUPPORTED)
        assert await form.send(client, {"query": QUERY}) == (200, NO_POSTS)


@pytest.mark.parametrize("parameter", ["extensions", "documentId"])
async def test_a_browser_request_for_a_document_gets_no_page(acme: Tenant, parameter: str) -> None:
    value = json.dumps(by_hash(QUERY)["extensions"]) if parameter == "extensions" else "x"
    response = await acme.client.with_token(None).get(
        "/graphql", params={parameter: value}, headers={"Accept": "text/html"}
    )
    assert response.status_code == 401


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
