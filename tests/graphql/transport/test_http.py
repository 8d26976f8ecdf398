"""GraphQL over HTTP: formats of requests and responses, and status codes."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from graphql import (
    build_client_schema,
    get_introspection_query,
    lexicographic_sort_schema,
    print_schema,
)

from app.asgi import create_app
from app.db.core.database import Database
from app.graphql.engine.executable_schema import create_schema, print_sdl
from app.settings import GraphQLLimits
from tests import clients
from tests.clients import Client, app_client
from tests.factories import NOW, add_api_key, add_workspace
from tests.http import asgi

JSON = "application/json; charset=utf-8"
GRAPHQL_RESPONSE = "application/graphql-response+json; charset=utf-8"
ACCEPT = {"json": "application/json", "graphql-response": "application/graphql-response+json"}

TYPENAME = {"data": {"__typename": "Query"}}


@pytest.fixture
async def client(anyio_backend: str, database: Database) -> AsyncIterator[Client]:
    """A client of an empty workspace."""
    key = await add_api_key(database, await add_workspace(database))
    async with app_client(database, token=key.token) as opened:
        yield opened


async def send_post(client: Client, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    """Send a body, bytes unchanged; return status and response."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"Content-Type": "application/json", **headers}
    response = await client.request("POST", "/graphql", content=content, headers=headers)
    return response.status_code, response.json()


async def send_get(client: Client, **parameters: str) -> tuple[int, dict[str, Any]]:
    response = await client.get("/graphql", params=parameters)
    return response.status_code, response.json()


def error_response(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The body of a response to a rejected request."""
    extensions = {"code": code} if field is None else {"code": code, "field": field}
    return {"errors": [{"message": message, "extensions": extensions}]}


def error_codes(response: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in response["errors"]]


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
    client: Client, accept: str, content_type: str
) -> None:
    response = await client.request(
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
    app = create_app(clients.UNLIMITED_SETTINGS, clock=lambda: NOW, database=database)
    sent = [
        (b"authorization", f"Bearer {key.token}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"26"),
    ]
    repeated = [(b"accept", b"text/html"), (b"accept", ACCEPT["graphql-response"].encode())]
    content_type = []
    async with app.router.lifespan_context(app):
        for headers in (sent, [*sent, *repeated]):
            caller = asgi.ASGIClient(b'{"query": "{ __typename }"}')
            scope = asgi.http_scope("POST", "/graphql", headers)
            await app(scope, caller.receive, caller.send)
            assert (caller.status, orjson.loads(caller.body)) == (200, TYPENAME)
            content_type.append(dict(caller.sent[0]["headers"])[b"content-type"].decode())

    assert content_type == [JSON, GRAPHQL_RESPONSE]


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
        ({"query": "fragment A on Post { id }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "{ a: __typename" * 16 + "}" * 16}, "LIMIT_EXCEEDED"),
        ({"query": "{ accounts(" + "a: 1 " * 2000 + ") }"}, "LIMIT_EXCEEDED"),
    ],
)
async def test_a_document_that_is_not_executed_has_its_error_status_under_the_new_media_type(
    client: Client, parameters: dict[str, object], code: str
) -> None:
    json_status, json_body = await send_post(client, parameters, Accept=ACCEPT["json"])
    new_status, new_body = await send_post(client, parameters, Accept=ACCEPT["graphql-response"])

    assert (json_status, new_status) == (200, 400)
    assert json_body == new_body
    assert "data" not in json_body
    assert error_codes(json_body) == [code]


async def test_a_field_error_does_not_change_the_status(client: Client) -> None:
    request = {"query": "{ viewer { scopes } posts(first: 0) { totalCount } }"}
    for accept in ACCEPT.values():
        status, body = await send_post(client, request, Accept=accept)
        assert status == 200
        assert body["data"] == {"viewer": {"scopes": ["READ", "WRITE", "PUBLISH"]}, "posts": None}
        assert error_codes(body) == ["VALIDATION_ERROR"]


# Format of the request


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;Charset="UTF-8"',
        "application/json; charset=utf8; profile=x",
        "application/json;",
    ],
)
async def test_a_body_may_be_json_in_utf_8(client: Client, content_type: str) -> None:
    request = {"query": "{ __typename } # ü"}
    assert await send_post(client, request, **{"Content-Type": content_type}) == (200, TYPENAME)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql-response+json",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        ";",
        "=; charset*=utf-8''utf-8",
    ],
)
async def test_other_content_types_are_rejected(client: Client, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.request(
        "POST", "/graphql", content=b'{"query": "{ __typename }"}', headers=headers
    )

    assert response.status_code == 415
    assert response.json() == error_response(
        "UNSUPPORTED_MEDIA_TYPE", "Send the request as application/json in UTF-8."
    )


NOT_AN_OBJECT = "The body must be a JSON object, not "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty; it must be a JSON object."),
        (b" \n", "The body is empty; it must be a JSON object."),
        (b"null", f"{NOT_AN_OBJECT}null."),
        (b"1", f"{NOT_AN_OBJECT}a number."),
        (b"true", f"{NOT_AN_OBJECT}true or false."),
        (b'"x"', f"{NOT_AN_OBJECT}a string."),
        (b'[{"query": "{ __typename }"}]', f"{NOT_AN_OBJECT}a list."),
        (b'\xef\xbb\xbf{"query": "{ __typename }"}', "The body starts with a byte order mark;"),
        ('{"query": "{ __typename }"}'.encode("utf-16"), "The body starts with a byte order mark;"),
        (b'{"query": "\xff"}', "The body is not UTF-8: invalid byte at offset 11."),
        (b'{"query": "\\ud800"}', "The body is not JSON: "),
        (b"{", "The body is not JSON: "),
        (b'{"query": NaN}', "The body is not JSON: "),
        (b'{"query": "{ __typename }"} x', "The body is not JSON: "),
        (b'{"variables": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "The body "),
        (b'{"variables": ' + b'{"a": ' * 100 + b"1" + b"}" * 101, "The body is nested deeper than"),
        (b'{"variables": {"n": ' + b"9" * 5000 + b"}}", "The body has an integer that does not"),
    ],
)
async def test_a_body_that_is_not_a_json_object_is_rejected(
    client: Client, body: bytes, message: str
) -> None:
    status, response = await send_post(client, body)

    assert status == 400
    assert error_codes(response) == ["INVALID_JSON"]
    assert response["errors"][0]["message"].startswith(message)


@pytest.mark.parametrize("value", [None, "", 1, True, ["{ __typename }"], {"a": "{ __typename }"}])
async def test_the_query_must_be_a_non_empty_string(client: Client, value: object) -> None:
    expected = error_response("VALIDATION_ERROR", "query must be a GraphQL document.", "query")
    assert await send_post(client, {"query": value}) == (400, expected)
    assert await send_post(client, {}) == (400, expected)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        *(("operationName", value, "a string") for value in (1, True, ["A"], {"a": 1})),
        *(("variables", value, "a JSON object") for value in (1, True, ["A"], "{}")),
        *(("extensions", value, "a JSON object") for value in (1, True, ["A"], "{}")),
    ],
)
async def test_parameters_of_the_wrong_type_are_rejected(
    client: Client, name: str, value: object, kind: str
) -> None:
    request = {"query": "{ __typename }", name: value}
    expected = error_response("VALIDATION_ERROR", f"{name} must be {kind}.", name)
    assert await send_post(client, request) == (400, expected)


async def test_null_and_unknown_parameters_are_ignored(client: Client) -> None:
    request = {
        "query": "{ __typename }",
        "operationName": None,
        "variables": None,
        "extensions": None,
        "documentId": None,
        "doc_id": "0",
    }
    assert await send_post(client, request) == (200, TYPENAME)


async def test_a_body_over_the_limit_is_rejected(client: Client) -> None:
    expected = error_response(
        "BODY_TOO_LARGE", "The body is larger than the limit of 1048576 bytes."
    )
    query = "{ __typename } #"
    largest = b'{"query": "' + query.ljust(1024 * 1024 - 13).encode() + b'"}'
    assert await send_post(client, largest) == (200, TYPENAME)
    assert await send_post(client, largest + b" ") == (413, expected)


TWO_OPERATIONS = "query A { a: __typename } query B { b: __typename }"


async def test_several_operations_require_an_operation_name(client: Client) -> None:
    assert await send_post(client, {"query": TWO_OPERATIONS, "operationName": "B"}) == (
        200,
        {"data": {"b": "Query"}},
    )
    expected = error_response(
        "VALIDATION_ERROR",
        "operationName must name an operation of the document; it may be left out only where the"
        " document has exactly one.",
        "operationName",
    )
    for name in (None, "", "C"):
        assert await send_post(client, {"query": TWO_OPERATIONS, "operationName": name}) == (
            200,
            expected,
        )


# GET


async def test_a_query_can_be_sent_by_get(client: Client) -> None:
    assert await send_get(client, query="{ __typename }") == (200, TYPENAME)
    assert await send_get(
        client,
        query="query A($n: Int) { posts(first: $n) { nodes { id } } } query B { __typename }",
        variables='{"n": 1}',
        extensions="{}",
        operationName="A",
    ) == (200, {"data": {"posts": {"nodes": []}}})
    assert await send_get(
        client, query="{ __typename }", variables="", extensions="null", operationName=""
    ) == (200, TYPENAME)


@pytest.mark.parametrize("name", ["variables", "extensions"])
@pytest.mark.parametrize("text", ["x", "[]", "1", '"{}"', "[" * 5000, '{"n": ' + "9" * 5000 + "}"])
async def test_json_in_the_query_string_is_validated_like_a_body(
    client: Client, name: str, text: str
) -> None:
    expected = error_response(
        "INVALID_JSON", f"{name} must be a JSON object of moderate depth and size.", name
    )
    assert await send_get(client, query="{ __typename }", **{name: text}) == (400, expected)


async def test_a_query_string_without_a_query_is_rejected(client: Client) -> None:
    expected = error_response("VALIDATION_ERROR", "query must be a GraphQL document.", "query")
    assert await send_get(client) == (400, expected)
    assert await send_get(client, query="", variables="{}") == (400, expected)


async def test_a_browser_with_a_query_gets_json(client: Client) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    response = await client.get("/graphql?query={__typename}", headers=browser)
    assert (response.status_code, response.json()) == (200, TYPENAME)


async def test_a_client_that_rejects_html_does_not_get_the_page(client: Client) -> None:
    response = await client.get("/graphql", headers={"Accept": "application/json, text/html;q=0"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"] == "query must be a GraphQL document."


@pytest.mark.parametrize(
    "parameters",
    [
        {"query": "mutation { __typename }"},
        {"query": "query A { __typename } mutation B { __typename }", "operationName": "B"},
        {"query": "mutation B { __typename } query A { __typename }", "operationName": "B"},
    ],
)
async def test_get_allows_only_queries(client: Client, parameters: dict[str, str]) -> None:
    response = await client.get("/graphql", params=parameters)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.json() == error_response(
        "METHOD_NOT_ALLOWED", "GET allows only queries; use POST."
    )


async def test_a_subscription_needs_an_accepted_event_stream(client: Client) -> None:
    query = "subscription { __typename }"
    expected = error_response(
        "GRAPHQL_VALIDATION_FAILED",
        "A subscription cannot be answered by one response. Ask for it over a WebSocket with the protocol"
        " graphql-transport-ws, or by POST with 'Accept: text/event-stream'.",
    )

    assert await send_post(client, {"query": query}) == (200, expected)
    assert (await client.get("/graphql", params={"query": query})).json() == expected


async def test_a_document_without_an_operation_is_rejected(client: Client) -> None:
    assert await send_post(client, {"query": "fragment F on Post { id }"}) == (
        200,
        error_response(
            "GRAPHQL_VALIDATION_FAILED", "The document has no operation; it needs a query."
        ),
    )


async def test_a_query_string_that_is_not_utf_8_is_rejected(client: Client) -> None:
    response = await client.get("/graphql?query=%7B__typename%7D&operationName=%ff")

    assert response.status_code == 400
    assert response.json() == error_response(
        "VALIDATION_ERROR", "The query string must be UTF-8, percent-encoded."
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
async def test_other_methods_are_rejected(client: Client, method: str) -> None:
    for caller in (client, client.with_token(None)):
        response = await caller.request(method, "/graphql", json={"query": "{ __typename }"})
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, POST"
        assert response.json() == error_response(
            "METHOD_NOT_ALLOWED", f"{method} is not allowed; use GET, POST."
        )


async def test_a_head_request_is_rejected_without_a_body(client: Client) -> None:
    response = await client.request("HEAD", "/graphql?query={__typename}")
    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["Allow"] == "GET, POST"


async def test_introspection_returns_the_schema(client: Client) -> None:
    introspection = await client.query(get_introspection_query(specified_by_url=True))

    schema = lexicographic_sort_schema(build_client_schema(introspection))  # type: ignore[arg-type]
    assert print_schema(schema) + "\n" == print_sdl(create_schema(GraphQLLimits()))
