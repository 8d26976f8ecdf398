"""Requests of the benchmark: Q1, Q2 and Q3 by GraphQL, R1 by REST."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

ResponseBody = dict[str, Any]

POST_ID_PLACEHOLDER = "%ID%"
"""Placeholder for the id of a post in a request."""

RESULT_FIELDS = (
    "accountId accountName platform status publishedAt platformPostId platformPostUrl error attempts"
    " nextRetryAt"
)
POST_FIELDS = "content status scheduledFor timezone createdAt updatedAt"

POST_RESULTS_QUERY = (
    "query($id: UUID!) { post(postId: $id)"
    f" {{ postId status destinations {{ {RESULT_FIELDS} }} }} }}"
)
POSTS_QUERY = (
    f"query($n: Int!) {{ posts(first: $n) {{ nodes {{ postId {POST_FIELDS}"
    f" destinations {{ destinationId {RESULT_FIELDS} account {{ accountId platform accountName }} }} }} }} }}"
)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request: GET without a body, POST with a body."""

    path: str
    body: str | None = None

    def with_post_id(self, post_id: object) -> "Request":
        """Replace the placeholder, if the request has one."""
        return replace(
            self,
            path=self.path.replace(POST_ID_PLACEHOLDER, str(post_id)),
            body=self.body and self.body.replace(POST_ID_PLACEHOLDER, str(post_id)),
        )

    @property
    def takes_post_id(self) -> bool:
        return POST_ID_PLACEHOLDER in self.path or POST_ID_PLACEHOLDER in (self.body or "")


def graphql_request(document: str, **variables: Any) -> Request:
    body = {"query": document, "variables": variables}
    return Request("/graphql", json.dumps(body, separators=(",", ":")))


GRAPHQL: Mapping[str, Request] = MappingProxyType(
    {
        "Q1": graphql_request(POST_RESULTS_QUERY, id=POST_ID_PLACEHOLDER),
        "Q2": graphql_request(POSTS_QUERY, n=20),
        "Q3": graphql_request(POSTS_QUERY, n=100),
    }
)
REST: Mapping[str, Request] = MappingProxyType(
    {"R1": Request(f"/v1/posts/{POST_ID_PLACEHOLDER}/results")}
)
QUERIES = (*GRAPHQL, *REST)
