"""Long polls and streams are counted as requests but not in the request duration."""

from tests.clients import Client
from tests.graphql.live_tenant import LiveTenant, wait_for_subscriptions
from tests.graphql.transport.sse_client import open_stream

RESULTS = "/v1/posts/{post_id}/results"
CLAIM = """
mutation ($wait: Int!) {
  claimDestinations(input: {waitSeconds: $wait}) { claims { postId } }
}
"""


async def request_counts(client: Client, route: str) -> tuple[int, int]:
    """Number of counted and of timed requests of a route."""
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


async def test_results_are_timed_unless_the_request_waits(live_tenant: LiveTenant) -> None:
    path = f"/v1/posts/{await live_tenant.create_post()}/results"
    assert (await live_tenant.client.get(path)).status_code == 200
    assert await request_counts(live_tenant.client, RESULTS) == (1, 1)

    assert (await live_tenant.client.get(f"{path}?wait=1")).status_code == 200
    assert await request_counts(live_tenant.client, RESULTS) == (2, 1)


async def test_claims_are_timed_unless_the_request_waits(live_tenant: LiveTenant) -> None:
    no_claims: dict[str, object] = {"claimDestinations": {"claims": []}}
    assert await live_tenant.client.query(CLAIM, wait=0) == no_claims
    assert await request_counts(live_tenant.client, "/graphql") == (1, 1)

    assert await live_tenant.client.query(CLAIM, wait=1) == no_claims
    assert await request_counts(live_tenant.client, "/graphql") == (2, 1)


async def test_an_event_stream_is_not_timed(live_tenant: LiveTenant) -> None:
    async with open_stream(
        live_tenant.app, live_tenant.token, "subscription { changes { type } }"
    ) as events:
        await events.wait_started()
        await wait_for_subscriptions(live_tenant.client, 1)
        await live_tenant.create_post()
    await wait_for_subscriptions(live_tenant.client, 0)
    # Two requests: the stream, and the mutation that created the post.
    assert await request_counts(live_tenant.client, "/graphql") == (2, 1)
