"""GraphQL over server-sent events: negotiation, format and end of a stream."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.graphql.service import ConnectionTimeouts
from app.services.api_keys import revoke_key
from tests.clients import UNLIMITED_SETTINGS, app_lifespan
from tests.factories import NOW, add_api_key
from tests.graphql.live_tenant import LiveTenant, running_tasks, wait_for_subscriptions
from tests.graphql.transport.sse_client import open_stream

CHANGES_SUBSCRIPTION = "subscription ($after: String) { changes(after: $after) { type postId } }"
SHORT_TIMEOUT = timedelta(milliseconds=20)
URQL_ACCEPT = (
    "application/graphql-response+json, application/graphql+json, application/json,"
    " text/event-stream, multipart/mixed"
)


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


@pytest.mark.parametrize(
    "accept", ["text/event-stream", "text/event-stream, multipart/mixed", URQL_ACCEPT]
)
async def test_a_client_that_names_event_streams_gets_one_for_a_subscription(
    live_tenant: LiveTenant, accept: str
) -> None:
    async with open_stream(
        live_tenant.app, live_tenant.token, CHANGES_SUBSCRIPTION, accept=accept
    ) as events:
        _, headers = await events.wait_started()
        assert headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/event-stream", "text/event-stream; charset=utf-8"),
        ("text/event-stream, multipart/mixed", "text/event-stream; charset=utf-8"),
        ("text/event-stream;q=0", "application/json; charset=utf-8"),
        ("text/event-stream, application/json", "application/json; charset=utf-8"),
        ("text/event-stream, */*;q=0.1", "application/json; charset=utf-8"),
        (URQL_ACCEPT, "application/graphql-response+json; charset=utf-8"),
        ("*/*", "application/json; charset=utf-8"),
    ],
)
async def test_a_query_is_streamed_only_if_the_client_accepts_nothing_else(
    live_tenant: LiveTenant, accept: str, content_type: str
) -> None:
    async with open_stream(
        live_tenant.app, live_tenant.token, "{ __typename }", accept=accept
    ) as events:
        _, headers = await events.wait_started()
        assert headers["content-type"] == content_type
        if content_type.startswith("text/"):
            assert [await events.next_text() for _ in range(4)] == [
                ":\n\n",
                'event: next\ndata: {"data":{"__typename":"Query"}}\n\n',
                "event: complete\ndata:\n\n",
                None,
            ]
        else:
            assert (await events.next_asgi_message())["body"] == b'{"data":{"__typename":"Query"}}'


@pytest.mark.parametrize("accept", ["application/json", "*/*", "multipart/mixed", "text/*"])
async def test_a_subscription_without_event_streams_is_rejected_with_a_hint(
    live_tenant: LiveTenant, accept: str
) -> None:
    async with open_stream(
        live_tenant.app, live_tenant.token, CHANGES_SUBSCRIPTION, accept=accept
    ) as events:
        assert (await events.wait_started())[0] == 200
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
        assert [error["extensions"]["code"] for error in payload["errors"]] == [code]
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
    async with (
        app_lifespan(live_tenant.database, connection_timeouts=timeouts) as app,
        open_stream(app, live_tenant.token, CHANGES_SUBSCRIPTION) as events,
    ):
        await events.wait_started()
        assert [await events.next_text() for _ in range(3)] == 3 * [":\n\n"]


async def test_a_stream_ends_without_complete_when_the_key_is_revoked(
    live_tenant: LiveTenant,
) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with (
        app_lifespan(
            live_tenant.database,
            connection_timeouts=ConnectionTimeouts(key_recheck_interval=SHORT_TIMEOUT),
        ) as app,
        open_stream(app, key.token, CHANGES_SUBSCRIPTION) as events,
    ):
        await events.wait_started()
        assert await events.next_text() == ":\n\n"
        await revoke_key(live_tenant.database, key.id, now=NOW)
        assert await events.next_text() is None
        await events.wait_finished()


async def test_a_client_that_does_not_read_is_disconnected(live_tenant: LiveTenant) -> None:
    async with (
        app_lifespan(
            live_tenant.database, connection_timeouts=ConnectionTimeouts(send_timeout=SHORT_TIMEOUT)
        ) as app,
        open_stream(app, live_tenant.token, CHANGES_SUBSCRIPTION) as events,
    ):
        await events.wait_started()
        events.stop_reading()
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
        assert running_tasks() == before


async def test_the_request_timeout_does_not_end_a_stream(live_tenant: LiveTenant) -> None:
    request_timeout = timedelta(seconds=1)
    async with (
        app_lifespan(
            live_tenant.database,
            settings=replace(UNLIMITED_SETTINGS, request_timeout=request_timeout),
        ) as app,
        open_stream(app, live_tenant.token, CHANGES_SUBSCRIPTION) as events,
    ):
        await events.wait_started()
        await asyncio.sleep(1.2 * request_timeout.total_seconds())
        await live_tenant.create_post()
        assert await events.next_text() == ":\n\n"
        assert (await events.next_payload())["data"]["changes"]["type"] == "POST_CREATED"


async def test_a_client_that_does_not_read_does_not_delay_the_end(live_tenant: LiveTenant) -> None:
    key = await add_api_key(live_tenant.database, live_tenant.workspace)
    async with (
        app_lifespan(
            live_tenant.database,
            connection_timeouts=ConnectionTimeouts(key_recheck_interval=SHORT_TIMEOUT),
        ) as app,
        open_stream(app, key.token, CHANGES_SUBSCRIPTION) as events,
    ):
        await events.wait_started()
        assert await events.next_text() == ":\n\n"
        events.stop_reading()
        await live_tenant.create_post()
        await revoke_key(live_tenant.database, key.id, now=NOW)
        await events.wait_finished()
