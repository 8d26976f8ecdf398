"""Random requests never cause a 5xx or an error with internal details."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.errors import RequestError, concrete_errors
from app.graphql.engine.executable_schema import create_schema
from app.settings import GraphQLLimits
from tests.clients import Client, Tenant
from tests.db.core.test_database import only_on_sqlite
from tests.factories import add_accounts, add_attempt, add_post, failed, published
from tests.graphql.engine.random_queries import QueryCase, query_cases
from tests.graphql.generated_queries import ArgumentPosition, argument_positions, build_query

SCHEMA = create_schema(GraphQLLimits()).graphql_schema
CODES = {error.code.name for error in concrete_errors(RequestError)}
INTERNAL = re.compile(r"Traceback|sqlalchemy|sqlite|asyncpg|psycopg|/app/|\.py|SELECT")

bounded = settings(
    max_examples=200,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

pytestmark = pytest.mark.slow


@pytest.fixture
async def client_with_post(acme: Tenant) -> Client:
    """A client of a workspace with a post."""
    one, other = await add_accounts(acme.database, acme.workspace, 2)
    post = await add_post(acme.database, acme.workspace, {one: published(), other: failed()})
    await add_attempt(acme.database, acme.workspace, post.destinations[0])
    return acme.client


async def send_body(client: Client, content: bytes) -> dict[str, Any]:
    """Send a body, check that the response is allowed, and return it."""
    response = await client.request(
        "POST",
        "/graphql",
        content=content,
        headers={"Content-Type": "application/json", "Accept": "application/graphql-response+json"},
    )
    body: dict[str, Any] = response.json()
    assert response.status_code in (200, 400, 413), (response.status_code, body)
    assert not INTERNAL.search(response.text), body
    assert "data" in body or body["errors"]
    for error in body.get("errors", []):
        assert error["message"], body
        assert error["extensions"]["code"] in CODES, body
    return body


async def send_document(client: Client, document: str, variables: object = None) -> dict[str, Any]:
    # Escapes lone surrogates, which no encoder writes; the server rejects them.
    return await send_body(client, json.dumps({"query": document, "variables": variables}).encode())


# Bodies, on one engine because their operations select only `__typename`


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["query", "variables", "operationName", "extensions", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@only_on_sqlite
@bounded
@given(
    st.binary(max_size=64)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda value, cut: json.dumps({"query": "{ __typename }", "variables": value})[
            :cut
        ].encode(),
        JSON_VALUES,
        st.integers(1, 200),
    )
)
async def test_any_body_gets_a_valid_response(client_with_post: Client, content: bytes) -> None:
    await send_body(client_with_post, content)


PERSISTED_QUERIES = JSON_VALUES | st.fixed_dictionaries(
    {},
    optional={
        "version": st.just(1) | JSON_VALUES,
        "sha256Hash": st.text(st.characters(codec=None), max_size=8) | JSON_VALUES,
    },
)
DOCUMENT_PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "query": st.just("{ __typename }"),
        "documentId": JSON_VALUES,
        "extensions": JSON_VALUES
        | st.builds(lambda value: {"persistedQuery": value}, PERSISTED_QUERIES),
    },
)


@only_on_sqlite
@bounded
@given(DOCUMENT_PARAMETERS)
async def test_any_document_parameters_get_a_valid_response(
    client_with_post: Client, body: object
) -> None:
    await send_body(client_with_post, json.dumps(body).encode())


# Documents of names of the schema, with partly invalid values


TIMES = (
    "2026-04-15T14:30:05.000Z",
    "2026-04-15",
    "1900-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "1900-01-01",
    "9998-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30",
    "2026-04-15T14:30:05.1234567890Z",
)
IDS = (
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "F47AC10B58CC4372A5670E02B2C3D479",
    "UG9zdDpmNDdhYzEwYi01OGNjLTQzNzItYTU2Ny0wZTAyYjJjM2Q0Nzk=",
    "QWNjb3VudDox",
    "QWNjb3VudDo5OTk5OTk5OTk5",
    "QWNjb3VudDo=",
    "UG9zdDo",
    "====",
)
TEXTS = ("", "a", "long" * 2000, "\0", "\U0001f389", "e\u0301\u202e", "%_\\", "'; --", "\u00b2")
JSON_OBJECTS: Sequence[object] = (
    {},
    {"url": "https://example.com/a.jpg"},
    {"url": 1, "alt": "\0"},
    {"mastodon": {"content": 1, "settings": {"visibility": ["private", None]}}},
    [[{"bluesky": {}}]],
)
NUMBERS = (-(2**31), -1, 0, 1, 3, 100, 101, 2**31 - 1)

VALUES: Mapping[str, Sequence[object]] = {
    "Int": NUMBERS,
    "Boolean": (True, False),
    "String": TEXTS,
    "DateTime": TIMES,
    "JSON": JSON_OBJECTS,
    "ID": IDS,
    "UUID": IDS,
}
INVALID_TOKENS = (
    *(json.dumps(value) for value in (None, 1, 2**31, -(2**63) - 1, 1.5, "", "a", [[[1]]], [None])),
    *("9" * 400, "1e400", "-0.0", "FAILED", "DESC", "$v", "{}", "{field: {field: 1}}"),
    *("[" * 150 + "]" * 150, '"\\u{0}"', '"\\uD800"', '"\\u{D800}"', '"\\u{110000}"'),
    *('"\\uD83C\\uDF89 \\u{1F389}"', '"""\n  block \\""" \n"""', '"unended', '"\0"'),
    *("nope", "...F", "... { }", "@no", "@skip", "@include(if: 1)", "!", "mutation", "on", "}"),
)


@st.composite
def document_cases(draw: st.DrawFn) -> QueryCase:
    """A mostly valid query in which up to two tokens are replaced."""
    case = draw(query_cases(SCHEMA, VALUES))
    tokens = re.findall(r'"[^"]*"|[\w$@.]+|\S', case.document)
    for _ in range(draw(st.integers(0, 2))):
        tokens[draw(st.integers(0, len(tokens) - 1))] = draw(st.sampled_from(INVALID_TOKENS))
    return replace(case, document=" ".join(tokens))


@bounded
@given(document_cases())
async def test_any_document_gets_a_valid_response(
    client_with_post: Client, case: QueryCase
) -> None:
    await send_document(client_with_post, case.document, case.variables)


# One value at one position of an otherwise valid document


VARIABLE_VALUES = JSON_VALUES | st.sampled_from(
    [*TIMES, *IDS, *TEXTS, *NUMBERS, 2**31, -(2**63), 2**64, 1e308, [[[]]], ["a"] * 101]
)


@bounded
@given(
    st.sampled_from(list(argument_positions(SCHEMA))),
    VARIABLE_VALUES | st.lists(VARIABLE_VALUES, max_size=3),
)
async def test_any_value_at_any_position_gets_a_valid_response(
    client_with_post: Client, position: ArgumentPosition, value: object
) -> None:
    query = build_query(SCHEMA, position, value, lambda _name, _type: None)
    await send_document(client_with_post, query.document, query.variables)


@pytest.mark.parametrize("levels", [1, 10, 40])
async def test_multiplying_fragments_get_a_valid_response(
    client_with_post: Client, levels: int
) -> None:
    rungs = [f"fragment F{n} on Post {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    document = "{ posts { nodes { ...F0 } } }" + "".join(rungs)
    body = await send_document(client_with_post, f"{document} fragment F{levels} on Post {{ id }}")
    if levels == 1:
        assert len(body["data"]["posts"]["nodes"]) == 1
    else:
        (error,) = body["errors"]
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_as_many_overlapping_fields_as_tokens_allow_get_a_valid_response(
    client_with_post: Client,
) -> None:
    for field in ("__typename ", "posts { nodes { id } } ", "viewer { scopes } ", "...F "):
        for count in (600, 1990, 2100):
            tokens = len(re.findall(r"[\w.]+|[{}]", field))
            document = "{" + field * (count // tokens) + "} fragment F on Query { __typename }"
            await send_document(client_with_post, document)
