"""Requests to `/graphql` in each form, and the bodies of their responses."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.clients import Client

TYPENAME = {"data": {"__typename": "Query"}}
QUERY = "query Named($first: Int) { posts(first: $first) { totalCount } } # ü"
NO_POSTS = {"data": {"posts": {"totalCount": 0}}}
"""The result of the query in an empty workspace."""
MEDIA_TYPES = ("application/json", "application/graphql-response+json")


class RequestForm(NamedTuple):
    """Method and accepted media type of a request."""

    method: str = "POST"
    media_type: str = "application/json"

    async def send(
        self, client: Client, parameters: Mapping[str, object]
    ) -> tuple[int, dict[str, Any]]:
        """Send the parameters of a request, by GET objects as JSON; return status and body."""
        headers = {"Accept": self.media_type}
        if self.method == "POST":
            response = await client.request("POST", "/graphql", json=parameters, headers=headers)
        else:
            encoded = {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in parameters.items()
            }
            response = await client.get("/graphql", params=encoded, headers=headers)
        assert response.headers["Content-Type"] == f"{self.media_type}; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        return response.status_code, response.json()


GET, POST = RequestForm("GET"), RequestForm("POST")
request_forms = pytest.mark.parametrize(
    "form",
    [RequestForm(method, media_type) for method in ("GET", "POST") for media_type in MEDIA_TYPES],
    ids=" ".join,
)


def rejection(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The body of the response to a rejected request."""
    extensions = {"code": code} if field is None else {"code": code, "field": field}
    return {"errors": [{"message": message, "extensions": extensions}]}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted_query(sha256_hash: str) -> dict[str, object]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256_hash}}}


def by_hash(document: str, query: str | None = None) -> dict[str, object]:
    """Request parameters with the hash of this document, and optionally a query."""
    return persisted_query(sha256(document)) | ({} if query is None else {"query": query})


def error_codes(body: Mapping[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in body["errors"]]


NO_QUERY = rejection("VALIDATION_ERROR", "query must be a GraphQL document.", "query")
"""The body of the response to a request without a document."""
