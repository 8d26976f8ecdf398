"""GraphQL over HTTP: formats of requests and responses, and status codes."""

from typing import Any

import orjson
import pytest

from app.db.core.database import Database
from tests.clients import Client, Tenant, app_lifespan
from tests.factories import add_api_key, add_workspace
from tests.graphql.transport.graphql_requests import (
    GET,
    MEDIA_TYPES,
    NO_QUERY,
    POST,
    TYPENAME,
    RequestForm,
    error_codes,
    rejection,
    request_forms,
)
from tests.http import asgi
from tests.running_computations import observe_computations

JSON, GRAPHQL_RESPONSE = (f"{media_type}; charset=utf-8" for media_type in MEDIA_TYPES)
POST_NEW = RequestForm("POST", MEDIA_TYPES[1])
INVALID_CONTENT_TYPE = rejection(
    "UNSUPPORTED_MEDIA_TYPE", "Send the request as application/json in UTF-8."
)


async def send_post(client: Client, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Send a body unchanged; return status and response."""
    response = await client.request("POST", "/graphql", content=body, headers=headers)
    return response.status_code, response.json()


# Format of the response


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("application/graphql-response+json", GRAPHQL_RESPONSE),
        ("APPLICATION/GraphQL-Response+JSON ; Q=0.9", GRAPHQL_RESPONSE),
        ("application/graphql-response+json;charset=utf-8", GRAPHQL_RESPONSE),
        ("application/graphql-response+json, application/json", GRAPHQL_RESPONSE),
        ("application/json, application/graphql-response+json", GRAPHQL_RESPONSE),
        ("application/graphql-response+json, application/json;q=0.9", GRAPHQL_RESPONSE),
        ("application/graphql-response+json, */*;q=0.1", GRAPHQL_RESPONSE),
        ("application/json;q=0, application/graphql-response+json;q=0.1", GRAPHQL_RESPONSE),
        ("application/graphql-response+json;q=0.5, application/json", JSON),
        ("application/graphql-response+json;q=0.5, */*", JSON),
        ("application/graphql-response+json;q=0.5, application/*", JSON),
        ("application/graphql-response+json;q=0", JSON),
        ("application/graphql-response+json;q=nan", JSON),
        ("application/graphql-response+json;q=much", JSON),
        ("text/html", JSON),
        ("text/event-stream, application/json", JSON),
        (";;,=,q=1", JSON),
        ("é", JSON),
    ],
)
async def test_the_response_has_the_preferred_media_type(
    acme: Tenant, accept: str, content_type: str
) -> None:
    response = await acme.client.request(
        "POST",
        "/graphql",
        json={"query": "{ __typename }"},
        headers={"Accept": accept.encode("latin-1")},
    )

    assert (response.status_code, response.json()) == (200, TYPENAME)
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Cache-Control"] == "no-store"


async def test_the_accept_header_may_be_repeated_or_missing(database: Database) -> None:
    key = await add_api_key(database, await add_workspace(database))
    sent = [
        (b"authorization", f"Bearer {key.token}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"26"),
    ]
    repeated = [(b"accept", b"text/html"), (b"accept", MEDIA_TYPES[1].encode())]
    async with app_lifespan(database) as app:
        for headers, content_type in ((sent, JSON), ([*sent, *repeated], GRAPHQL_RESPONSE)):
            scope = asgi.http_scope("POST", "/graphql", headers)
            caller = await asgi.send_request(app, b'{"query": "{ __typename }"}', scope=scope)
            assert (caller.status, orjson.loads(caller.body)) == (200, TYPENAME)
            assert dict(caller.sent[0]["headers"])[b"content-type"].decode() == content_type


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "# nothing"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nope }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": '{ post(postId: "x") { id } }'}, "INVALID_ID"),
        ({"query": "{ posts(first: true) { totalCount } }"}, "VALIDATION_ERROR"),
        (
            {
                "query": "query ($n: Int) { posts(first: $n) { totalCount } }",
                "variables": {"n": "1"},
            },
            "VALIDATION_ERROR",
        ),
        ({"query": "query ($n: Int!) { posts(first: $n) { totalCount } }"}, "VALIDATION_ERROR"),
        ({"query": "query A { __typename } query B { __typename }"}, "VALIDATION_ERROR"),
        ({"query": "query A { __typename }", "operationName": "B"}, "VALIDATION_ERROR"),
        ({"query": "{ a: __typename" * 16 + "}" * 16}, "LIMIT_EXCEEDED"),
        ({"query": "{ accounts(" + "a: 1 " * 2000 + ") }"}, "LIMIT_EXCEEDED"),
    ],
)
async def test_a_document_that_is_not_executed_has_status_400_under_the_new_media_type(
    acme: Tenant, parameters: dict[str, object], code: str
) -> None:
    json_status, json_body = await POST.send(acme.client, parameters)
    new_status, new_body = await POST_NEW.send(acme.client, parameters)

    assert (json_status, new_status) == (200, 400)
    assert json_body == new_body
    assert "data" not in json_body
    assert error_codes(json_body) == [code]


@request_forms
async def test_a_field_error_does_not_change_the_status(acme: Tenant, form: RequestForm) -> None:
    request = {"query": "{ viewer { scopes } posts(first: 0) { totalCount } }"}
    status, body = await form.send(acme.client, request)

    assert status == 200
    assert body["data"] == {"viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]}, "posts": None}
    assert error_codes(body) == ["VALIDATION_ERROR"]


# Format of the request


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", (200, TYPENAME)),
        ('Application/JSON;Charset="UTF-8"', (200, TYPENAME)),
        (None, (415, INVALID_CONTENT_TYPE)),
        ("application/x-www-form-urlencoded", (415, INVALID_CONTENT_TYPE)),
        ("application/json; charset=latin-1", (415, INVALID_CONTENT_TYPE)),
    ],
)
async def test_the_content_type_must_be_json_in_utf_8(
    acme: Tenant, content_type: str | None, expected: tuple[int, dict[str, Any]]
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = '{"query": "{ __typename } # ü"}'.encode()
    assert await send_post(acme.client, body, **headers) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty; it must be a JSON object."),
        (b'[{"query": "{ __typename }"}]', "The body must be a JSON object, not a list."),
        (b'{"query": "\xff"}', "The body is not UTF-8: invalid byte at offset 11."),
        (b"{", "The body is not JSON: unexpected end of data at line 1, column 2."),
    ],
)
async def test_a_body_that_is_not_a_json_object_is_rejected(
    acme: Tenant, body: bytes, message: str
) -> None:
    headers = {"Content-Type": "application/json"}
    expected = rejection("INVALID_JSON", message)
    assert await send_post(acme.client, body, **headers) == (400, expected)


async def test_event_loop_runs_while_a_large_body_is_parsed(acme: Tenant) -> None:
    has_computed: list[bool] = []
    for lists in (1, 1, 30_000):  # the first request also compiles the document
        body = b'{"query": "{ __typename }", "unknown": [' + b"[]," * lists + b"0]}"
        async with observe_computations() as observation:
            answer = await send_post(acme.client, body, **{"content-type": "application/json"})
        assert answer == (200, {"data": {"__typename": "Query"}})
        has_computed.append(observation.saw_computation)

    assert has_computed[1:] == [False, True]


@pytest.mark.parametrize("value", [None, "", 1, True, ["{ __typename }"], {"a": "{ __typename }"}])
async def test_the_query_must_be_a_non_empty_string(acme: Tenant, value: object) -> None:
    assert await POST.send(acme.client, {"query": value}) == (400, NO_QUERY)


@request_forms
async def test_a_request_without_a_query_is_rejected(acme: Tenant, form: RequestForm) -> None:
    for parameters in ({}, {"query": "", "variables": {}}):
        assert await form.send(acme.client, parameters) == (400, NO_QUERY)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        *(
            (name, value, "a string")
            for name in ("operationName", "documentId")
            for value in (1, True, ["A"], {"a": 1})
        ),
        *(("variables", value, "a JSON object") for value in (1, True, ["A"], "{}")),
        *(("extensions", value, "a JSON object") for value in (1, True, ["A"], "{}")),
    ],
)
async def test_parameters_of_the_wrong_type_are_rejected(
    acme: Tenant, name: str, value: object, kind: str
) -> None:
    request = {"query": "{ __typename }", name: value}
    expected = rejection("VALIDATION_ERROR", f"{name} must be {kind}.", name)
    assert await POST.send(acme.client, request) == (400, expected)


async def test_null_and_unknown_parameters_are_ignored(acme: Tenant) -> None:
    request: dict[str, object] = {"query": "{ __typename }", "doc_id": "0"}
    request |= dict.fromkeys(("operationName", "variables", "extensions", "documentId"))
    assert await POST.send(acme.client, request) == (200, TYPENAME)


async def test_a_body_over_the_limit_is_rejected(acme: Tenant) -> None:
    query = "{ __typename } #"
    largest = b'{"query": "' + query.ljust(1024 * 1024 - 13).encode() + b'"}'
    headers = {"Content-Type": "application/json"}
    assert await send_post(acme.client, largest, **headers) == (200, TYPENAME)
    assert await send_post(acme.client, largest + b" ", **headers) == (
        413,
        rejection("BODY_TOO_LARGE", "The body is larger than the limit of 1048576 bytes."),
    )


async def test_several_operations_require_an_operation_name(acme: Tenant) -> None:
    query = "query A { a: __typename } query B { b: __typename }"
    request = {"query": query, "operationName": "B"}
    assert await POST.send(acme.client, request) == (200, {"data": {"b": "Query"}})
    expected = rejection(
        "VALIDATION_ERROR",
        "operationName must name an operation of the document; it may be left out only where the"
        " document has exactly one.",
        "operationName",
    )
    for name in (None, "", "C"):
        parameters = {"query": query, "operationName": name}
        assert await POST.send(acme.client, parameters) == (200, expected)


async def test_a_document_without_an_operation_is_rejected(acme: Tenant) -> None:
    expected = rejection(
        "GRAPHQL_VALIDATION_FAILED", "The document has no operation; it needs a query."
    )
    request = {"query": "fragment F on Post { id }"}
    assert await POST.send(acme.client, request) == (200, expected)
    assert await POST_NEW.send(acme.client, request) == (400, expected)


# GET and other methods


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"query": "{ __typename }"}, TYPENAME),
        (
            {
                "query": "query A($n: Int) { posts(first: $n) { nodes { id } } }"
                " query B { __typename }",
                "variables": '{"n": 1}',
                "extensions": "{}",
                "operationName": "A",
            },
            {"data": {"posts": {"nodes": []}}},
        ),
        (
            {"query": "{ __typename }", "variables": "", "extensions": "null", "operationName": ""},
            TYPENAME,
        ),
    ],
)
async def test_a_query_can_be_sent_by_get(
    acme: Tenant, parameters: dict[str, str], expected: dict[str, Any]
) -> None:
    assert await GET.send(acme.client, parameters) == (200, expected)


@pytest.mark.parametrize("name", ["variables", "extensions"])
@pytest.mark.parametrize("text", ["x", "[]", "1", '"{}"', "[" * 5000, '{"n": ' + "9" * 5000 + "}"])
async def test_json_in_the_query_string_is_validated_like_a_body(
    acme: Tenant, name: str, text: str
) -> None:
    expected = rejection(
        "INVALID_JSON", f"{name} must be a JSON object of moderate depth and size.", name
    )
    request = {"query": "{ __typename }", name: text}
    assert await GET.send(acme.client, request) == (400, expected)


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/graphql?query={__typename}", "text/html,*/*;q=0.8", (200, TYPENAME)),
        ("/graphql", "application/json, text/html;q=0", (400, NO_QUERY)),
    ],
    ids=["a query", "HTML rejected"],
)
async def test_a_browser_with_a_query_or_a_client_that_rejects_html_gets_json(
    acme: Tenant, path: str, accept: str, expected: tuple[int, dict[str, Any]]
) -> None:
    response = await acme.client.get(path, headers={"Accept": accept})
    assert (response.status_code, response.json()) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"query": "mutation { __typename }"},
        {"query": "query A { __typename } mutation B { __typename }", "operationName": "B"},
        {"query": "mutation B { __typename } query A { __typename }", "operationName": "B"},
    ],
)
async def test_get_allows_only_queries(acme: Tenant, parameters: dict[str, str]) -> None:
    response = await acme.client.get("/graphql", params=parameters)

    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.json() == rejection("METHOD_NOT_ALLOWED", "GET allows only queries; use POST.")


async def test_a_subscription_needs_an_accepted_event_stream(acme: Tenant) -> None:
    expected = rejection(
        "GRAPHQL_VALIDATION_FAILED",
        "A subscription cannot be answered by one response. Ask for it over a WebSocket with the protocol"
        " graphql-transport-ws, or by POST with 'Accept: text/event-stream'.",
    )
    request = {"query": "subscription { __typename }"}
    for form in (GET, POST):
        assert await form.send(acme.client, request) == (200, expected)


async def test_a_query_string_that_is_not_utf_8_is_rejected(acme: Tenant) -> None:
    response = await acme.client.get("/graphql?query=%7B__typename%7D&operationName=%ff")

    assert response.status_code == 400
    assert response.json() == rejection(
        "VALIDATION_ERROR", "The query string must be UTF-8, percent-encoded."
    )


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
async def test_other_methods_are_rejected(acme: Tenant, method: str) -> None:
    expected = rejection("METHOD_NOT_ALLOWED", f"{method} is not allowed; use GET, POST.")
    for caller in (acme.client, acme.client.with_token(None)):
        response = await caller.request(method, "/graphql?query={__typename}")
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, POST")
        if method == "HEAD":
            assert response.content == b""
        else:
            assert response.json() == expected
