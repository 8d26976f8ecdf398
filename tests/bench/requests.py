"""What the servers are asked, by question: Q1, Q2 and Q3 by GraphQL, R1 by REST. Sends nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

Answer = dict[str, Any]

ANY_POST = "%ID%"
"""Stands in a request for the id of a post."""

RESULT = (
    "accountId accountName platform status publishedAt platformPostId platformPostUrl error attempts"
    " nextRetryAt"
)
POST = "content status scheduledFor timezone createdAt updatedAt"

POST_RESULTS = (
    f"query($id: UUID!) {{ post(postId: $id) {{ postId status destinations {{ {RESULT} }} }} }}"
)
POSTS = (
    f"query($n: Int!) {{ posts(first: $n) {{ nodes {{ postId {POST}"
    f" destinations {{ destinationId {RESULT} account {{ accountId platform accountName }} }} }} }} }}"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A GET where there is no body."""

    path: str
    body: str | None = None

    def of_post(self, post_id: object) -> "Request":
        """The same about one post, where it is about one at all."""
        return replace(
            self,
            path=self.path.replace(ANY_POST, str(post_id)),
            body=self.body and self.body.replace(ANY_POST, str(post_id)),
        )

    @property
    def is_of_a_post(self) -> bool:
        return ANY_POST in self.path or ANY_POST in (self.body or "")


def graphql(document: str, **variables: Any) -> Request:
    body = {"query": document, "variables": variables}
    return Request("/graphql", json.dumps(body, separators=(",", ":")))


GRAPHQL: Mapping[str, Request] = MappingProxyType(
    {
        "Q1": graphql(POST_RESULTS, id=ANY_POST),
        "Q2": graphql(POSTS, n=20),
        "Q3": graphql(POSTS, n=100),
    }
)
REST: Mapping[str, Request] = MappingProxyType({"R1": Request(f"/v1/posts/{ANY_POST}/results")})
QUESTIONS = (*GRAPHQL, *REST)
