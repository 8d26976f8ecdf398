"""GraphQL client that repeats each request until the service answers it."""

import asyncio
import time
from collections.abc import Collection, Iterable
from itertools import count, cycle
from typing import Any, Self

import httpx

from tests.servers import TIMEOUT_SECONDS

CREATE_POST = "mutation($input: CreatePostInput!) { createPost(input: $input) { post { postId } } }"
UPDATE_POST = "mutation($input: UpdatePostInput!) { updatePost(input: $input) { post { postId } } }"
_CHANGES_QUERY = (
    "query($after: String, $first: Int) { changes(after: $after, first: $first) {"
    " nodes { cursor type postId accountId happenedAt } endCursor hasNextPage latestCursor } }"
)
_PAGE_SIZE = 100
_RETRYABLE_CODES = {"IDEMPOTENCY_IN_PROGRESS", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR"}
_RETRY_INTERVAL = 0.1


class RetryingClient:
    """Sends its requests to the servers in rotation, and repeats each for at most `seconds`."""

    def __init__(
        self, urls: Iterable[str], token: str, *, seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.answered = self.repeated = 0
        """Number of answered requests, and of those that were sent more than once."""
        self.failures = 0
        """Number of repetitions."""
        self.longest = 0.0
        """Longest time in seconds until a response, or until the lack of one was noticed."""
        self._seconds = seconds
        self._urls = cycle(urls)
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def execute(
        self, document: str, *, allowed_codes: Collection[str] = (), **variables: Any
    ) -> dict[str, Any]:
        """Execute a document and return its data, which are empty after an error of an allowed code.

        STALE_VERSION in response to a repetition means that the first request succeeded; there is no data.
        """
        ends_at = time.monotonic() + self._seconds
        for repetitions in count():
            response = await self._send({"query": document, "variables": variables})
            codes = {error["extensions"]["code"] for error in response.get("errors", [])}
            if response and not codes & _RETRYABLE_CODES:
                assert codes <= set(allowed_codes) or (
                    codes == {"STALE_VERSION"} and repetitions
                ), response
                self.answered += 1
                self.repeated += repetitions > 0
                return dict(response["data"] or {})
            self.failures += 1
            assert time.monotonic() < ends_at, response
            await asyncio.sleep(_RETRY_INTERVAL)
        raise AssertionError("unreachable")

    async def create_post(self, **input_fields: Any) -> str:
        """Create a post that is scheduled for the far future, and return its id."""
        new = {"scheduledFor": "2100-01-01T00:00:00Z", **input_fields}
        data = await self.execute(CREATE_POST, input=new)
        return str(data["createPost"]["post"]["postId"])

    async def update_post(self, post_id: str, version: int, content: str) -> None:
        """Change the content of a version. Repetitions are safe without a key if no other client writes."""
        changes = {"postId": post_id, "expectedVersion": version, "content": content}
        await self.execute(UPDATE_POST, input=changes)

    async def latest_cursor(self) -> str:
        data = await self.execute(_CHANGES_QUERY, first=1)
        return str(data["changes"]["latestCursor"])

    async def changes_after(self, after: str) -> list[dict[str, Any]]:
        """All changes after a cursor, in the order of the feed."""
        changes: list[dict[str, Any]] = []
        has_more = True
        while has_more:
            page = (await self.execute(_CHANGES_QUERY, after=after, first=_PAGE_SIZE))["changes"]
            changes += page["nodes"]
            after, has_more = page["endCursor"], page["hasNextPage"]
        return changes

    async def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        """The response body; empty if there was no response."""
        started_at = time.monotonic()
        try:
            response = await self._http.post(f"{next(self._urls)}/graphql", json=body)
            return dict(response.json())
        except (httpx.TransportError, ValueError):
            return {}
        finally:
            self.longest = max(self.longest, time.monotonic() - started_at)
