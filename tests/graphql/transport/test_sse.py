"""GraphQL over server-sent events: negotiation, format and end of a stream."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.graphql.service import ConnectionTimeouts
from app.services.api_keys import revoke_key
from tests.clients import UNLIMITED_SETTINGS, app_lifespan
from tests.factories import NOW, add_api_key
from tests.graphql.live_tenant import (
    LiveTenant,
    running_tasks,
    wait_for_subscriptions,
    wait_for_tasks,
)
from tests.graphql.transport.graphql_requests import error_codes
from tests.graphql.transport.sse_client import SSEClient, open_stream

CHANGES_SUBSCRIPTION = "subscription ($after: String) { changes(after: $after) { type postId } }"
SHORT_TIMEOUT = timedelta(milliseconds=20)
URQL_ACCEPT = (
    "application/graphql-response+json, application/graphql+json, application/json,"
    " text/event-stream, multipart/mixed"
)


@asynccontextmanager
async def subscribe(
    tenant: LiveTenant, token: str | None = None, **options: Any
) -> AsyncIterator[SSEClient]:
    """Subscribe to changes at another app, which has these options, and wait for the first comment."""
    async with (
        app_lifespan(tenant.database, **options) as app,
        open_stream(app, token or tenant.token, CHANGES_SUBSCRIPTION) as events,
    ):
        await events.wait_started()
        assert await events.next_text() == ":\n\n"
        yield events


async def test_a_subscription_is_a_stream_of_events(live_tenant: LiveTenant) -> None:
    async with open_stream(live_tenant.app, live_tenant.token, CHANGES_SUBSCRIPTION) as events:
        status, headers = await events.wait_started()
        assert status == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert "content-length" not in headers
        assert await events.next_text() == ":\n\n"
        await wait_for_subscriptions(live_tenant.client, 1)
        post_id = await live_tenant.create_post()
        assert await events.next_text() == (
            "event: next\n"
            f'data: {{"data":{{"changes":{{"type":"POST_CREATED","postId":"{post_id}"}}}}}}\n\n'
        )
        assert await events.next_payload() == {
            "data": {"changes": {"type": "DESTINATION_ADDED", "postId": post_id}}
        }
    await wait_for_subscriptions(live_tenant.client, 0)


STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json; charset=utf-8"
TYPENAME_JSON = '{"data":{"__typename":"Query"}}'


@pytest.mark.parametrize(
    ("accept", "query_type", "is_subscription_possible"),
    [
        ("text/event-stream", STREAM, True),
        ("text/event-stream, multipart/mixed", STREAM, True),
        ("text/event-stream;q=0", JSON, False),
        ("text/event-stream, application/json", JSON, True),
        ("text/event-stream, */*;q=0.1", JSON, True),
        (URQL_ACCEPT, "application/graphql-response+json; charset=utf-8", True),
        ("application/json", JSON, False),
        ("*/*", JSON, False),
        ("multipart/mixed", JSON, False),
        ("text/*", JSON, False),
    ],
)
async def test_event_streams_must_be_named_and_for_queries_be_the_only_accepted_type(
    live_tenant: LiveTenant, accept: str, query_type: str, *, is_subscription_possible: bool
) -> None:
    async with open_stream(
        live_tenant.app, live_tenant.token, "{ __typename }", accept=accept
    ) as events:
        _, headers = await events.wait_started()
        assert headers["content-type"] == query_type
        if query_type == STREAM:
            assert [await events.next_text() for _ in range(4)] == [
                ":\n\n",
                f"event: next\ndata: {TYPENAME_JSON}\n\n",
                "event: complete\ndata:\n\n",
                None,
            ]
        else:
            assert (await events.next_asgi_message())["body"] == TYPENAME_JSON.encode()
    async with open_stream(
        live_tenant.app, live_tenant.token, CHANGES_SUBSCRIPTION, accept=accept
    ) as events:
        status, headers = await events.wait_started()
        assert (status, headers["content-type"] == STREAM) == (200, is_subscription_possible)
        if not is_subscription_possible:
            assert b"Ask for it over a WebSocket" in (await events.next_asgi_message())["body"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        ('subscription { changes(after: "x") { type } }', "BAD_CURSOR"),
        (
            'subscription { postChanged(postId: "00000000-0000-4000-8000-00000000dead") { cursor } }',
            "NOT_FOUND",
        ),
    ],
)
async def test_a_rejected_operation_is_reported_by_an_event(
    live_tenant: LiveTenant, query: str, code: str
) -> None:
    async with open_stream(live_tenant.app, live_tenant.token, query) as events:
        assert (await events.wait_started())[0] == 200
        assert await events.next_text() == ":\n\n"
        payload = await events.next_payload()
        assert payload.keys() == {"errors"}
        assert error_codes(payload) == [code]
        assert await events.next_text() == "event: complete\ndata:\n\n"
        assert await events.next_text() is None


async def test_an_unknown_key_is_rejected_without_a_stream(live_tenant: LiveTenant) -> None:
    async with open_stream(live_tenant.app, "pe_live_" + 32 * "0", CHANGES_SUBSCRIPTION) as events:
        assert (await events.wait_started())[0] == 401
        assert b"INVALID_API_KEY" in (await events.next_asgi_message())["body"]


async def test_get_allows_subscriptions_but_no_mutations(live_tenant: LiveTenant) -> None:
    response = await live_tenant.client.get(
        "/graphql",
        params={"query": 'subscription { changes(after: "x") { type } }'},
        headers={"Accept": "text/event-stream"},
    )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "BAD_CURSOR" in response.text
    mutation = await live_tenant.client.get(
        "/graphql",
        params={"query": "mutation { __typename }"},
        headers={"Accept": "text/event-stream"},
    )
    assert (mutation.status_code, mutation.headers["Allow"]) == (405, "POST")


async def test_heartbeats_are_sent_while_there_are_no_events(live_tenant: LiveTenant) -> None:
    timeouts = ConnectionTimeouts(heartbeat_interval=SHORT_TIMEOUT)
    async with subscribe(live_tenant, connection_timeouts=timeouts) as events:
        assert [await events.next_text() for _ in range(2)] == 2 * [":\n\n"]


async def test_a_heartbeat_follows_an_event_within_the_interval(live_tenant: LiveTenant) -> None:
    """An event within an interval must not postpone the heartbeat to the end of the next one."""
    interval = timedelta(seconds=3)
    timeouts = ConnectionTimeouts(heartbeat_interval=interval)
    async with subscribe(live_tenant, connection_timeouts=timeouts) as events:
        await live_tenant.create_post()
        for _ in range(2):
            await events.next_payload()
        last_event_at = time.monotonic()
        assert await events.next_text() == ":\n\n"
        assert time.monotonic() - last_event_at < 1.5 * interval.total_seconds()


@pytest.mark.parametrize("client_reads", [True, False])
async def test_a_stream_ends_without_complete_when_the_key_is_revoked(
    live_tenant: LiveTenant, *, client_reads: bool
) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    timeouts = ConnectionTimeouts(key_recheck_interval=SHORT_TIMEOUT)
    async with subscribe(live_tenant, key.token, connection_timeouts=timeouts) as events:
        if not client_reads:
            events.stop_reading()
            await live_tenant.create_post()
        await revoke_key(live_tenant.database, key.id, now=NOW)
        if client_reads:
            assert await events.next_text() is None
        await events.wait_finished()


@pytest.mark.parametrize(
    ("send_timeout", "is_idle"),
    [(SHORT_TIMEOUT, True), (timedelta(seconds=1), False)],
    ids=["at a heartbeat", "at a change"],
)
async def test_a_client_that_does_not_read_is_disconnected(
    live_tenant: LiveTenant, send_timeout: timedelta, *, is_idle: bool
) -> None:
    timeouts = ConnectionTimeouts(
        send_timeout=send_timeout,
        heartbeat_interval=SHORT_TIMEOUT if is_idle else timedelta(seconds=12),
    )
    async with subscribe(live_tenant, connection_timeouts=timeouts) as events:
        events.stop_reading()
        if not is_idle:
            await live_tenant.create_post()
        await events.wait_finished()


async def test_a_disconnect_releases_subscription_and_tasks(live_tenant: LiveTenant) -> None:
    before = running_tasks()
    async with open_stream(live_tenant.app, live_tenant.token, CHANGES_SUBSCRIPTION) as events:
        await events.wait_started()
        await wait_for_subscriptions(live_tenant.client, 1)
        events.disconnect()
        await events.wait_finished()
        await wait_for_subscriptions(live_tenant.client, 0)
        await wait_for_tasks(before)


async def test_the_request_timeout_does_not_end_a_stream(live_tenant: LiveTenant) -> None:
    request_timeout = timedelta(seconds=1)
    settings = replace(UNLIMITED_SETTINGS, request_timeout=request_timeout)
    async with subscribe(live_tenant, settings=settings) as events:
        await asyncio.sleep(1.2 * request_timeout.total_seconds())
        await live_tenant.create_post()
        assert (await events.next_payload())["data"]["changes"]["type"] == "POST_CREATED"
