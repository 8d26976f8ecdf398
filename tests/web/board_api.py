"""Helper of the board's tests: a client of the API, to prepare what the board shows, and to check it."""

import subprocess
from typing import Any

import httpx

from tests.servers import TIMEOUT_SECONDS


class BoardApi:
    """A client of the API with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url}/graphql"
        self._headers = {"Authorization": f"Bearer {key}"}

    def execute(self, document: str, **variables: Any) -> dict[str, Any]:
        """Execute a document with one field, and return that field."""
        body = {"query": document, "variables": variables}
        response = httpx.post(
            self._url, headers=self._headers, json=body, timeout=TIMEOUT_SECONDS
        ).json()
        assert "errors" not in response, response["errors"]
        (field,) = response["data"].values()
        return dict(field)

    def connect(self, name: str) -> int:
        document = (
            'mutation($name: String!) { connectAccount(input: {platform: "x", accountName: $name})'
            " { account { accountId } } }"
        )
        account_id: int = self.execute(document, name=name)["account"]["accountId"]
        return account_id

    def create_post(self, **post: Any) -> str:
        """Create a post from fields of CreatePostInput."""
        document = (
            "mutation($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }"
        )
        post_id: str = self.execute(document, input=post)["post"]["postId"]
        return post_id

    def record_failure(self, post_id: str, account_id: int) -> None:
        """Record that a publisher with its own queue could not publish the post."""
        result = {
            "postId": post_id,
            "accountId": account_id,
            "attemptKey": post_id,
            "outcome": "FAILED",
            "category": "PERMANENT",
            "message": "It is broken.",
        }
        self.execute(
            "mutation($input: RecordResultInput!) { recordResult(input: $input) { status } }",
            input=result,
        )


def run_in_shell(command: str, key: str) -> str:
    """Output of a command that was pasted into a shell, whose variable has the key."""
    process = subprocess.run(
        ["sh", "-c", command.replace("curl", "curl -sS --fail", 1)],
        env={"PATH": "/usr/bin:/bin", "API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout
