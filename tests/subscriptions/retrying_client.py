"""A client of the API that sends the same again until it is answered. What it asks for is its callers'."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count, cycle
from typing import Any, Self

import httpx

from tests.servers import TIMEOUT_SECONDS

_RETRYABLE_CODES = {"IDEMPOTENCY_IN_PROGRESS", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR"}
_RETRY_INTERVAL = 0.1
_CHANGES_QUERY = (
    "query($after: String, $first: Int) { changes(after: $after, first: $first) {"
    " nodes { cursor type postId accountId happenedAt } endCursor hasNextPage latestCursor } }"
)
_PAGE_SIZE = 100


class RetryingClient:
    """Asks one server after the other, as if there was one."""

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self.answered = self.repeated = 0
        """Requests, and those of them that were sent more than once."""
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

    async def execute(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data. What is stale at a repetition was done the first time, and then there is none."""
        ends_at = time.monotonic() + TIMEOUT_SECONDS
        for tries in count():
            answer = await self._parse_response({"query": document, "variables": variables})
            codes = {each["extensions"]["code"] for each in answer.get("errors", [])}
            if answer and not codes & _RETRYABLE_CODES:
                assert not codes or (codes == {"STALE_VERSION"} and tries), answer
                self.answered += 1
                self.repeated += tries > 0
                return dict(answer["data"] or {})
            assert time.monotonic() < ends_at, answer
            await asyncio.sleep(_RETRY_INTERVAL)
        raise AssertionError("unreachable")

    async def latest_cursor(self) -> str:
        found = await self.execute(_CHANGES_QUERY, first=1)
        return str(found["changes"]["latestCursor"])

    async def changes_after(self, after: str) -> list[dict[str, Any]]:
        """All of them."""
        found: list[dict[str, Any]] = []
        has_more = True
        while has_more:
            page = (await self.execute(_CHANGES_QUERY, after=after, first=_PAGE_SIZE))["changes"]
            found += page["nodes"]
            after, has_more = page["endCursor"], page["hasNextPage"]
        return found

    async def _parse_response(self, body: dict[str, Any]) -> dict[str, Any]:
        """Empty where there was none."""
        try:
            answer = (await self._http.post(f"{next(self._urls)}/graphql", json=body)).json()
        except (httpx.TransportError, ValueError):
            return {}
        return dict(answer)
