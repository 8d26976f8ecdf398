"""Estimated and measured memory of the documents of open subscriptions."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from app.graphql.engine.executable_schema import create_schema
from app.settings import GraphQLLimits
from tests.graphql.live_tenant import LiveTenant, wait_for_subscriptions
from tests.graphql.transport.websocket_client import connect_and_init

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
    "repeated fields": 480 * "type ",
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


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_the_memory_of_a_document_is_near_its_estimate(
    live_tenant: LiveTenant, name: str
) -> None:
    def document(number: int) -> str:
        return f"subscription S{number}{DOCUMENTS[name]}"

    await measure_subscriptions(live_tenant, lambda _: document(0))  # loads what all share
    of_one = await measure_subscriptions(live_tenant, lambda _: document(1))
    of_several = await measure_subscriptions(live_tenant, lambda number: document(number + 2))

    schema = create_schema(GraphQLLimits(), use_fast_path=True)  # the cached one of the app
    operation = schema.operation_cache[document(2), None]
    measured = (of_several - of_one) / (COUNT - 1)
    assert measured < operation.estimated_bytes < 2.5 * measured


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
            await wait_for_subscriptions(live_tenant.client, COUNT)
            await live_tenant.create_post()
            for _ in range(2 * COUNT):
                message = await socket.receive()
                assert "errors" not in message["payload"], message
            del message
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
