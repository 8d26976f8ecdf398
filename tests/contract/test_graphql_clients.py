"""Third-party clients receive the same results, errors and pages."""

import json
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXTransport
from graphql import lexicographic_sort_schema, print_schema

from tests.external_programs import ROOT, run_program
from tests.servers import DEMO_KEY, DEMO_POST, ServerProcess

CLIENTS = ["apollo", "urql", "graphql-request", "gql"]
UNKNOWN_KEY = "pe_live_" + "0" * 32

all_clients = pytest.mark.parametrize("client", CLIENTS)


def run_client_query(
    server: ServerProcess,
    client: str,
    query: str,
    variables: dict[str, Any],
    *,
    key: str = DEMO_KEY,
) -> dict[str, Any]:
    """Run a query with a client and return data, and message and extensions of each error."""
    url = f"{server.url}/graphql"
    if client == "gql":
        return _run_gql_query(url, key, query, variables)
    operation = json.dumps({"query": query, "variables": variables})
    result: dict[str, Any] = json.loads(
        run_program("node", "query.mjs", client, url, key, stdin=operation)
    )
    return result


def _run_gql_query(url: str, key: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    try:
        data = Client(transport=_transport(url, key)).execute(
            GraphQLRequest(query, variable_values=variables)
        )
    except TransportQueryError as error:
        errors = [[item["message"], item["extensions"]] for item in error.errors or []]
        return {"data": error.data, "errors": errors}
    return {"data": data, "errors": []}


def _transport(url: str, key: str) -> HTTPXTransport:
    return HTTPXTransport(url, headers={"Authorization": f"Bearer {key}"})


@all_clients
def test_variables_of_every_type_reach_their_fields(
    demo_server: ServerProcess, client: str
) -> None:
    result = run_client_query(
        demo_server,
        client,
        """
        query OnLinkedIn($filter: DestinationFilter, $order: DestinationOrder, $first: Int) {
          destinations(filter: $filter, orderBy: $order, first: $first) {
            __typename
            totalCount
            nodes {
              __typename
              accountId
              status
              publishedAt
              diagnosis { __typename willRetry nextAction }
              post { __typename postId scheduledFor media platformContent }
            }
          }
        }
        """,
        {
            "filter": {
                "postId": [DEMO_POST.upper()],
                "status": ["FAILED", "QUEUED"],
                "platform": ["linkedin"],
                "publishedBefore": None,
                "overdue": False,
            },
            "order": {"field": "UPDATED_AT", "direction": "ASC"},
            "first": 5,
        },
    )

    destination = {
        "__typename": "Destination",
        "accountId": 2285,
        "status": "FAILED",
        "publishedAt": None,
        "diagnosis": {
            "__typename": "Diagnosis",
            "willRetry": False,
            "nextAction": "RECONNECT_ACCOUNT",
        },
        "post": {
            "__typename": "Post",
            "postId": DEMO_POST,
            "scheduledFor": "2026-04-15T14:30:00.000Z",
            "media": [],
            "platformContent": {},
        },
    }
    page = {"__typename": "DestinationConnection", "totalCount": 1, "nodes": [destination]}
    assert result == {"data": {"destinations": page}, "errors": []}


@all_clients
def test_error_beside_data_has_a_code(demo_server: ServerProcess, client: str) -> None:
    result = run_client_query(
        demo_server,
        client,
        "query Page($first: Int) { viewer { __typename scopes } posts(first: $first) { __typename } }",
        {"first": 101},
    )

    assert result == {
        "data": {
            "viewer": {"__typename": "Viewer", "scopes": ["READ", "WRITE", "PUBLISH"]},
            "posts": None,
        },
        "errors": [
            [
                "first must be from 1 to 100; it is 101.",
                {"code": "VALIDATION_ERROR", "field": "first"},
            ]
        ],
    }


@all_clients
@pytest.mark.parametrize(
    ("query", "variables", "key", "error"),
    [
        (
            "query Results($postId: UUID!) { post(postId: $postId) { __typename } }",
            {"postId": "x"},
            DEMO_KEY,
            [
                f"postId: The id must be a UUID in its 36-character form, such as {DEMO_POST}.",
                {"code": "INVALID_ID", "field": "postId"},
            ],
        ),
        (
            "{ nothing }",
            {},
            DEMO_KEY,
            [
                "Cannot query field 'nothing' on type 'Query'.",
                {"code": "GRAPHQL_VALIDATION_FAILED"},
            ],
        ),
        (
            "{ viewer { __typename } }",
            {},
            UNKNOWN_KEY,
            [
                "The API key is unknown, revoked or expired. Use another key.",
                {"code": "INVALID_API_KEY"},
            ],
        ),
    ],
    ids=["value", "document", "key"],
)
def test_error_without_data_has_a_code(
    demo_server: ServerProcess,
    client: str,
    query: str,
    variables: dict[str, Any],
    key: str,
    error: list[Any],
) -> None:
    result = run_client_query(demo_server, client, query, variables, key=key)

    assert result == {"data": None, "errors": [error]}


def test_apollo_reads_all_pages_and_caches_each_post_once(demo_server: ServerProcess) -> None:
    url = f"{demo_server.url}/graphql"
    pages = json.loads(run_program("node", "apollo_pages.mjs", url, DEMO_KEY, 60))

    expected = _all_post_ids(demo_server)
    assert pages == {
        "requests": -(-len(expected) // 60),
        "postIds": expected,
        "cached": len(expected),
    }


def _all_post_ids(server: ServerProcess) -> list[str]:
    """Ids of all posts in the order of their creation."""
    posts: list[str] = []
    while True:
        path = f"/v1/posts?sort=created_at&order=asc&limit=100&offset={len(posts)}"
        page = server.get(path, DEMO_KEY).json()["data"]
        posts += [post["post_id"] for post in page["posts"]]
        if not page["pagination"]["has_more"]:
            return posts


def test_introspection_returns_the_published_schema(demo_server: ServerProcess) -> None:
    client = Client(
        transport=_transport(f"{demo_server.url}/graphql", DEMO_KEY),
        fetch_schema_from_transport=True,
        introspection_args={"specified_by_url": True},
    )
    with client:
        assert client.schema is not None
        printed = print_schema(lexicographic_sort_schema(client.schema))

    assert printed == (ROOT / "schema.graphql").read_text().removesuffix("\n")
