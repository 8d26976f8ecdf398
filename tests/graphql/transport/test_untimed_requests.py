"""Answers that are held back, or stay open, by their own nature: counted, but no sign of a slow server."""

from tests.clients import Client
from tests.graphql.live_tenant import LiveTenant, wait_for_subscriptions
from tests.graphql.transport.sse_client import open_stream

RESULTS = "/v1/posts/{post_id}/results"
CLAIM = """
mutation ($wait: Int!) {
  claimDestinations(input: {waitSeconds: $wait}) { claims { postId } }
}
"""


async def counted_and_timed(client: Client, route: str) -> tuple[int, int]:
    """How many answers of a route."""
    lines = (await client.get("/metrics")).text.splitlines()
    label = f'route="{route}",'
    counted, timed = (
        sum(
            int(float(line.rpartition(" ")[2]))
            for line in lines
            if line.startswith(f"{name}{{") and label in line
        )
        for name in (
            "post_results_http_requests_total",
            "post_results_http_request_duration_seconds_count",
        )
    )
    return counted, timed


async def test_results_are_timed_unless_they_were_waited_for(live: LiveTenant) -> None:
    path = f"/v1/posts/{await live.create_post()}/results"
    assert (await live.client.get(path)).status_code == 200
    assert await counted_and_timed(live.client, RESULTS) == (1, 1)

    assert (await live.client.get(f"{path}?wait=1")).status_code == 200
    assert await counted_and_timed(live.client, RESULTS) == (2, 1)


async def test_claims_are_timed_unless_they_were_waited_for(live: LiveTenant) -> None:
    nothing: dict[str, object] = {"claimDestinations": {"claims": []}}
    assert await live.client.query(CLAIM, wait=0) == nothing
    assert await counted_and_timed(live.client, "/graphql") == (1, 1)

    assert await live.client.query(CLAIM, wait=1) == nothing
    assert await counted_and_timed(live.client, "/graphql") == (2, 1)


async def test_a_stream_of_events_is_not_timed(live: LiveTenant) -> None:
    async with open_stream(live.app, live.token, "subscription { changes { type } }") as events:
        await events.wait_started()
        await wait_for_subscriptions(live.client, 1)
        await live.create_post()
    await wait_for_subscriptions(live.client, 0)
    # Its own, and the one that made the post.
    assert await counted_and_timed(live.client, "/graphql") == (2, 1)
