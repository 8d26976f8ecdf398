"""A client of the API that creates posts and publishes them."""

from typing import Any

import httpx


class Publisher:
    """A client of the API that creates posts and publishes them."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def execute(self, document: str, **variables: Any) -> dict[str, Any]:
        """Execute a document with one field, and return that field."""
        body = {"query": document, "variables": variables}
        data: dict[str, Any] = self._http.post("/graphql", json=body).json()["data"]
        (field,) = data.values()
        return field or {}

    def connect(self, name: str) -> int:
        payload = self.execute(
            'mutation($name: String!) { connectAccount(input: {platform: "x", accountName: $name})'
            " { account { accountId } } }",
            name=name,
        )
        account_id: int = payload["account"]["accountId"]
        return account_id

    def create_post(self, account_id: int, content: str) -> str:
        payload = self.execute(
            "mutation($ids: [Int!]!, $content: String!)"
            " { createPost(input: {accountIds: $ids, content: $content}) { post { postId } } }",
            ids=[account_id],
            content=content,
        )
        post_id: str = payload["post"]["postId"]
        return post_id

    def fail(self, message: str, *, code: str = "BROKEN") -> None:
        """Claim the only due destination, and report that it failed finally."""
        (claim,) = self.execute(
            "mutation { claimDestinations(input: {}) { claims { leaseToken } } }"
        )["claims"]
        token = claim["leaseToken"]
        self.execute(
            "mutation($token: String!) { startAttempt(input: {leaseToken: $token}) { attempt } }",
            token=token,
        )
        self.report_failure(token, message, code=code)

    def report_failure(self, token: str, message: str, *, code: str = "BROKEN") -> None:
        """Report that a started attempt failed finally."""
        self.execute(
            "mutation($token: String!, $message: String!, $code: String!) { reportFailed(input:"
            " {leaseToken: $token, category: PERMANENT, code: $code, message: $message})"
            " { willRetry } }",
            token=token,
            message=message,
            code=code,
        )

    def disconnect(self, account_id: int) -> None:
        self.execute(
            "mutation($id: Int!) { disconnectAccount(input: {accountId: $id}) { account { id } } }",
            id=account_id,
        )

    def set_lost_access_policy(self, account_id: int, policy: str) -> None:
        self.execute(
            "mutation($id: Int!, $policy: LostAccessPolicy!)"
            " { updateAccount(input: {accountId: $id, onLostAccess: $policy}) { account { id } } }",
            id=account_id,
            policy=policy,
        )

    def mark_reconnected(self, account_id: int) -> None:
        self.execute(
            "mutation($id: Int!) { markReconnected(input: {accountId: $id}) { account { id } } }",
            id=account_id,
        )

    def delete_post(self, post_id: str) -> None:
        self.execute(
            "mutation($id: UUID!) { deletePost(input: {postId: $id}) { postId } }", id=post_id
        )

    def version(self, post_id: str) -> int:
        """Version of a post, which each manual change increases."""
        version: int = self.execute(
            "query($id: UUID!) { post(postId: $id) { version } }", id=post_id
        )["version"]
        return version

    def create_failures(
        self,
        account_id: int,
        count: int,
        code: str,
        *,
        category: str = "PERMANENT",
        message: str = "It is broken.",
    ) -> list[str]:
        """Create posts with the code as text that have failed finally; returns their ids."""
        post_ids = [self.create_post(account_id, f"{code} {number}") for number in range(count)]
        for post_id in post_ids:
            self.record_failure(
                post_id, account_id, attempt=post_id, category=category, code=code, message=message
            )
        return post_ids

    def record_failure(
        self,
        post_id: str,
        account_id: int,
        *,
        attempt: str,
        category: str = "PERMANENT",
        code: str = "BROKEN",
        message: str = "It is broken.",
    ) -> None:
        """Record that a queued post has failed finally."""
        self.execute(
            "mutation($input: RecordResultInput!) { recordResult(input: $input) { attempts } }",
            input={
                "postId": post_id,
                "accountId": account_id,
                "attemptKey": attempt,
                "outcome": "FAILED",
                "category": category,
                "code": code,
                "message": message,
            },
        )

    def record_publication(self, post_id: str, account_id: int, url: str) -> None:
        """Record that a post was published at the URL."""
        self.execute(
            "mutation($input: RecordResultInput!) { recordResult(input: $input) { attempts } }",
            input={
                "postId": post_id,
                "accountId": account_id,
                "attemptKey": url,
                "outcome": "PUBLISHED",
                "platformPostUrl": url,
            },
        )

    def retry(self, post_id: str) -> None:
        """Queue a failed post again."""
        self.execute(
            "mutation($id: UUID!) { retryPost(input: {postId: $id}) { post { id } } }", id=post_id
        )

    def statuses(self, text: str) -> list[str]:
        """Statuses of the destinations whose posts have the text, in the order of the texts."""
        nodes = self.execute(
            "query($text: String!) { destinations(first: 100, filter: {search: $text})"
            " { nodes { status post { content } } } }",
            text=text,
        )["nodes"]
        return [node["status"] for node in sorted(nodes, key=lambda node: node["post"]["content"])]
