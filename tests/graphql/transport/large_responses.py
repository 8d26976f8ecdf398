"""Subscriptions with large responses, and clients that do not read them."""

import asyncio
import gc
from collections.abc import Sequence

from app.graphql.subscription_stream import EncodedResponse
from tests.graphql.transport.asgi_connection import TIMEOUT, ASGIConnection

HUGE_ALIASES = 25
HUGE_MEDIA = [{"alt": 70_000 * "x"} for _ in range(10)]
"""Media whose response has 17.5 MB: more than the cache of responses, or what may wait for one WebSocket.

Of those that wait, one API key may have four.
"""
HUGE_BYTES = HUGE_ALIASES * 700_000
SHARE_OF_ONE_KEY = 4

_HUGE_FIELDS = " ".join(f"media{number}: media" for number in range(HUGE_ALIASES))


def huge_subscription(number: int) -> str:
    """Return a document whose response to a post with HUGE_MEDIA is not shared with other numbers."""
    return (
        f"subscription Huge{number}"
        f" {{ changes(types: [POST_CREATED]) {{ post {{ {_HUGE_FIELDS} }} }} }}"
    )


HUGE_QUERY = f"{{ posts(first: 1) {{ nodes {{ {_HUGE_FIELDS} }} }} }}"


async def wait_until_finished(connections: Sequence[ASGIConnection], count: int) -> None:
    """Wait until the app has ended this number of the connections."""
    async with asyncio.timeout(TIMEOUT):
        while sum(connection.is_finished for connection in connections) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def wait_until_freed() -> None:
    """Wait until no huge response is in memory."""
    async with asyncio.timeout(TIMEOUT):
        while any(  # noqa: ASYNC110
            isinstance(item, EncodedResponse) and len(item.body) >= HUGE_BYTES
            for item in gc.get_objects()
        ):
            await asyncio.sleep(0.005)
