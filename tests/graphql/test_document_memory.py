"""Estimated and measured memory of the documents of open subscriptions."""

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from app.graphql.engine.executable_schema import create_schema
from app.settings import GraphQLLimits
from tests.factories import add_api_key
from tests.graphql.live_tenant import LiveTenant, wait_for_subscriptions
from tests.graphql.transport.websocket_client import WebSocketClient, connect_and_init

pytestmark = pytest.mark.slow

POST_FIELDS = (
    "id content status version createdAt updatedAt media scheduledFor timezone"
    " destinations { id platform status error attempts publishedAt diagnosis { fix } }"
)
FIELDS = {
    "few fields": "type",
    "a comment": f"type # {10_000 * 'x'}\n",
    "a comment in Chinese": f"type # {10_000 * '日'}\n",
    "spaces": f"type {10_000 * ' '}",
    "repeated fields": 200 * "type ",
    "fields under aliases": " ".join(
        f"post{number}: post {{ {POST_FIELDS} }}" for number in range(20)
    ),
    "arguments under aliases": "post { destinations { "
    + " ".join(
        f"a{n}: attemptConnection(first: {n + 1}) {{ nodes {{ number }} }}" for n in range(20)
    )
    + " } }",
}
FRAGMENT_FIELDS = " ".join(f"post{number}: post {{ ...F }}" for number in range(20))
DOCUMENTS = {
    **{name: f" {{ changes {{ {fields} }} }}" for name, fields in FIELDS.items()},
    "a fragment under aliases": f" {{ changes {{ {FRAGMENT_FIELDS} }} }}"
    f" fragment F on Post {{ {POST_FIELDS} }}",
}
COUNT = 8
"""Number of subscriptions."""
LARGE_DOCUMENTS_OF_ONE_KEY = 100
"""Documents of 480 fields that one key may have, of the 200 that fit into the whole memory."""


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_the_memory_of_a_document_is_near_its_estimate(
    live_tenant: LiveTenant, name: str
) -> None:
    def document(number: int) -> str:
        return f"subscription S{number}{DOCUMENTS[name]}"

    schema = create_schema(GraphQLLimits(), use_fast_path=True)  # the cached one of the app
    schema.operation_cache.clear()
    await measure_subscriptions(live_tenant, lambda _: document(0))  # loads what all share
    of_one = await measure_subscriptions(live_tenant, lambda _: document(1))
    of_several = await measure_subscriptions(live_tenant, lambda number: document(number + 2))

    operation = schema.operation_cache[document(2), None]
    measured = (of_several - of_one) / (COUNT - 1)
    assert 0.8 * measured < operation.estimated_bytes < 2.5 * measured


async def measure_subscriptions(
    live_tenant: LiveTenant, make_document: Callable[[int], str]
) -> int:
    """Return the bytes that COUNT subscriptions take once each has received two changes."""
    async with connect_and_init(live_tenant.app, live_tenant.token) as socket:
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(COUNT):
                socket.subscribe(str(number), make_document(number))
                await wait_for_subscriptions(live_tenant.client, number + 1)
            await live_tenant.create_post()
            for _ in range(2 * COUNT):
                message = await socket.receive()
                assert "errors" not in message["payload"], message
            del message
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()


async def test_documents_of_one_key_leave_memory_for_those_of_another(
    live_tenant: LiveTenant,
) -> None:
    other_key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with AsyncExitStack() as stack:

        async def subscribe(token: str, *names: int) -> WebSocketClient:
            socket = await stack.enter_async_context(connect_and_init(live_tenant.app, token))
            for name in names:
                text = f"subscription S{name} {{ changes {{ {480 * 'type '} }} }}"
                socket.subscribe(str(name), text)
            return socket

        for first in range(0, LARGE_DOCUMENTS_OF_ONE_KEY, 10):
            await subscribe(live_tenant.token, *range(first, first + 10))
            await wait_for_subscriptions(live_tenant.client, first + 10)
        refused = await subscribe(live_tenant.token, 1000)
        assert (await refused.next_error("1000"))[0] == "SERVICE_UNAVAILABLE"

        await subscribe(other_key.token, *range(2000, 2010))
        await wait_for_subscriptions(live_tenant.client, LARGE_DOCUMENTS_OF_ONE_KEY + 10)
