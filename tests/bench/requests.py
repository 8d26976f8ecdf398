"""What the servers are asked, by question: Q1, Q2 and Q3 by GraphQL, R1 by REST. Sends nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

ResponseBody = dict[str, Any]

POST_ID_PLACEHOLDER = "%ID%"
"""Stands in a request for the id of a post."""

RESULT_FIELDS = (
    "accountId accountName platform status publishedAt platformPostId platformPostUrl error attempts"
    " nextRetryAt"
)
POST_FIELDS = "content status scheduledFor timezone createdAt updatedAt"

POST_RESULTS_QUERY = (
    f"query($id: UUID!) {{ post(postId: $id) {{ postId status destinations {{ {RESULT_FIELDS} }} }} }}"
)
POSTS_QUERY = (
    f"query($n: Int!) {{ posts(first: $n) {{ nodes {{ postId {POST_FIELDS}"
    f" destinations {{ destinationId {RESULT_FIELDS} account {{ accountId platform accountName }} }} }} }} }}"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A GET where there is no body."""

    path: str
    body: str | None = None

    def with_post_id(self, post_id: object) -> "Request":
        """The same about one post, where it is about one at all."""
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
REST: Mapping[str, Request] = MappingProxyType({"R1": Request(f"/v1/posts/{POST_ID_PLACEHOLDER}/results")})
QUESTIONS = (*GRAPHQL, *REST)
