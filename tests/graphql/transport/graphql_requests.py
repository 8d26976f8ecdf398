"""Requests to `/graphql` in each form, and the bodies of their responses."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.clients import Client

TYPENAME = {"data": {"__typename": "Query"}}
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


def error_codes(body: Mapping[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in body["errors"]]
