"""Deliveries of webhooks that are stored for new events: one for each endpoint that wants the event."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import structlog
from sqlalchemy import update

from app.db.core.database import Database
from app.db.core.write_session import WriteSession
from app.db.models import Event as EventRow
from app.db.repositories.webhooks import lock_webhooks_behind_feed
from app.domain.events import (
    FEED_LIST_NAME,
    FeedPosition,
    decode_position,
)
from app.domain.signing import CursorCodec
from app.domain.webhooks.deliveries import DeliveryState
from app.domain.webhooks.event_types import WebhookEventType
from app.domain.webhooks.payloads import webhook_event_id
from app.services.webhook_deliveries import RemainingEvents
from tests.db.core.test_database import INTEGRITY_ERRORS
from tests.factories import NOW, add_account, add_post, add_workspace, published
from tests.raw_statements import run_raw
from tests.services.webhook_calls import (
    SECOND,
    SIGNING_KEY,
    TenantWithoutServer,
    add_similar_tenants,
    delivery_service,
    store_all,
)
from tests.webhook_events import (
    UNREPORTED,
    AddedDelivery,
    add_events,
    connected,
    deleted,
    stored_deliveries,
    stored_events,
    stored_webhook,
)
from tests.webhook_rows import add_webhook

CONNECTED = WebhookEventType.ACCOUNT_CONNECTED


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database))


async def test_deliveries_of_new_events_are_stored_with_their_payload(
    acme: TenantWithoutServer,
) -> None:
    account = await add_account(acme.database, acme.workspace, platform="x")
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_events(acme.database, acme.workspace, UNREPORTED, connected(account), UNREPORTED)

    later = NOW + SECOND
    assert await delivery_service(acme.database, later).store_deliveries() is RemainingEvents.NONE

    (delivery,) = await stored_deliveries(acme.database, acme.workspace, webhook_id)
    _, event, _ = await stored_events(acme.database, acme.workspace)
    event_id, body = webhook_event_id(acme.workspace, event), orjson.loads(delivery.body)
    assert delivery == AddedDelivery(
        id=delivery.id,
        event_seq=2,
        event_type=CONNECTED,
        event_id=event_id,
        body=delivery.body,
        state=DeliveryState(next_attempt_at=later),
    )
    codec = CursorCodec(SIGNING_KEY, acme.workspace, FEED_LIST_NAME)
    assert decode_position(codec, body.pop("cursor")) == FeedPosition(2, NOW)
    assert body == {
        "event": "account.connected",
        "event_id": str(event_id),
        "created_at": "2026-04-15T15:00:00.000Z",
        "organization_id": str(acme.workspace),
        "data": {
            "post_id": None,
            "destination_id": None,
            "platform": "x",
            "account_id": account,
            "account_name": "acme",
            "reference": None,
        },
    }
    assert (await stored_webhook(acme.database, acme.workspace, webhook_id)).feed_seq == 3


async def test_event_has_one_id_for_all_endpoints(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    webhooks = [await add_webhook(acme.database, acme.workspace) for _ in range(3)]
    await add_events(acme.database, acme.workspace, connected(account))

    await store_all(acme.database)

    deliveries = [
        delivery
        for webhook_id in webhooks
        for delivery in await stored_deliveries(acme.database, acme.workspace, webhook_id)
    ]
    assert len({each.id for each in deliveries}) == 3
    assert len({(each.event_id, each.body) for each in deliveries}) == 1


async def test_concurrent_processes_store_each_delivery_once(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    webhooks = [await add_webhook(acme.database, acme.workspace) for _ in range(4)]
    seen = 0
    for number in range(1, 6):
        events = [connected(account)] * number
        await asyncio.gather(
            add_events(acme.database, acme.workspace, *events),
            *(delivery_service(acme.database).store_deliveries() for _ in range(6)),
        )
        seen += number
    await store_all(acme.database)

    for webhook_id in webhooks:
        assert await acme.event_seqs(webhook_id) == [*range(1, seen + 1)]


async def test_no_event_of_concurrent_writers_is_missed(acme: TenantWithoutServer) -> None:
    """While an event's transaction is open, a process stores the deliveries of those before it."""
    account = await add_account(acme.database, acme.workspace)
    webhook_id = await add_webhook(acme.database, acme.workspace)
    writers = [
        asyncio.create_task(add_events(acme.database, acme.workspace, connected(account)))
        for _ in range(40)
    ]
    while not all(writer.done() for writer in writers):
        await delivery_service(acme.database).store_deliveries()
        await asyncio.sleep(0)  # a read of SQLite does not yield
    await asyncio.gather(*writers)
    await store_all(acme.database)

    assert await acme.event_seqs(webhook_id) == [*range(1, 41)]


async def test_events_of_a_locked_endpoint_are_left(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    webhook_id = await add_webhook(acme.database, acme.workspace)
    await add_events(acme.database, acme.workspace, connected(account))
    service = delivery_service(acme.database)
    if not acme.database.is_sqlite:  # which has one writer at a time
        async with locked_endpoints(acme):
            assert await service.store_deliveries() is RemainingEvents.LOCKED
            other = await add_webhook(acme.database, acme.workspace)
            assert await service.store_deliveries() is RemainingEvents.LOCKED
        assert await acme.event_seqs(webhook_id) == []
        assert await acme.event_seqs(other) == [1]
    assert await service.store_deliveries() is RemainingEvents.NONE
    assert await acme.event_seqs(webhook_id) == [1]


@asynccontextmanager
async def locked_endpoints(tenant: TenantWithoutServer) -> AsyncIterator[None]:
    """Lock the endpoints without deliveries for the newest events, as another process does."""
    is_locked, may_end = asyncio.Event(), asyncio.Event()

    async def lock(session: WriteSession) -> None:
        await lock_webhooks_behind_feed(session)
        is_locked.set()
        await may_end.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(tenant.database.write(tenant.workspace, lock))
        await is_locked.wait()
        yield
        may_end.set()


async def test_many_events_are_stored_in_several_transactions(acme: TenantWithoutServer) -> None:
    account = await add_account(acme.database, acme.workspace)
    webhooks = [await add_webhook(acme.database, acme.workspace) for _ in range(25)]
    await add_events(acme.database, acme.workspace, *[connected(account)] * 21)

    service = delivery_service(acme.database)
    assert await service.store_deliveries() is RemainingEvents.MORE
    assert await acme.event_seqs(webhooks[0]) == [*range(1, 21)]
    assert await service.store_deliveries() is RemainingEvents.NONE
    for webhook_id in webhooks:
        assert await acme.event_seqs(webhook_id) == [*range(1, 22)]


async def test_endpoint_that_is_far_behind_does_not_delay_the_others(
    acme: TenantWithoutServer,
) -> None:
    account = await add_account(acme.database, acme.workspace)
    await add_events(acme.database, acme.workspace, *[connected(account)] * 500)
    behind = await add_webhook(acme.database, acme.workspace)
    current = [await add_webhook(acme.database, acme.workspace, feed_seq=498) for _ in range(2)]
    newest = await add_webhook(acme.database, acme.workspace, feed_seq=499)

    assert await delivery_service(acme.database).store_deliveries() is RemainingEvents.MORE

    assert await acme.event_seqs(behind) == [*range(1, 126)]
    for webhook_id in current:
        assert await acme.event_seqs(webhook_id) == [499, 500]
    assert await acme.event_seqs(newest) == [500]
    await store_all(acme.database)
    assert await acme.event_seqs(behind) == [*range(1, 501)]
    assert await acme.event_seqs(newest) == [500]


async def test_events_that_cannot_be_read_delay_no_other_workspace(database: Database) -> None:
    """A newer release writes kinds that this one does not know."""
    workspaces = [await add_workspace(database) for _ in range(3)]
    webhooks = [await add_webhook(database, workspace) for workspace in workspaces]
    for workspace in workspaces:
        account = await add_account(database, workspace)
        await add_events(database, workspace, connected(account))
    broken, *others = zip(workspaces, webhooks, strict=True)
    await database.write_all_workspaces(
        lambda session: run_raw(
            session,
            update(EventRow).where(EventRow.workspace_id == broken[0]).values(kind="post.archived"),
        )
    )

    with pytest.raises(ValueError, match=r"post\.archived") as caught:
        await delivery_service(database).store_deliveries()
    assert caught.value.__notes__ == [f"The webhooks of workspace {broken[0]} wait for this event."]

    for workspace, webhook_id in others:
        assert len(await stored_deliveries(database, workspace, webhook_id)) == 1
    assert await stored_deliveries(database, *broken) == []
    assert (await stored_webhook(database, *broken)).feed_seq == 0


async def test_events_that_were_pruned_are_skipped_with_a_warning(
    acme: TenantWithoutServer,
) -> None:
    account = await add_account(acme.database, acme.workspace)
    webhooks = [await add_webhook(acme.database, acme.workspace) for _ in range(2)]
    await add_events(acme.database, acme.workspace, *[connected(account)] * 3)
    await acme.database.write_all_workspaces(
        lambda session: run_raw(
            session,
            EventRow.__table__.delete().where(EventRow.seq <= 2),  # type: ignore[attr-defined]
        )
    )

    with structlog.testing.capture_logs() as logs:
        await store_all(acme.database)

    assert [await acme.event_seqs(webhook_id) for webhook_id in webhooks] == [[3], [3]]
    assert {(entry["event"], entry["events"], entry["webhook_id"]) for entry in logs} == {
        ("events pruned before webhook delivery", 2, str(webhook_id)) for webhook_id in webhooks
    }


# Filters.


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"event_types": [CONNECTED]}, [1, 2]),
        ({"event_types": [WebhookEventType.MEDIA_UPLOADED]}, []),
        ({"platforms": ["x"]}, [1, 3, 5]),
        ({"platforms": ["x", "instagram"]}, [1, 2, 3, 5]),
        ({"account_ids": [2]}, [2, 3]),
        ({"platforms": ["x"], "account_ids": [2]}, []),
        ({"is_active": False}, []),
        ({"feed_seq": 2}, [3, 4, 5]),
    ],
    ids=str,
)
async def test_endpoint_gets_the_events_that_its_filters_match(
    acme: TenantWithoutServer, filters: Mapping[str, Any], expected: Sequence[int]
) -> None:
    x, instagram = (
        await add_account(acme.database, acme.workspace, id=1, platform="x"),
        await add_account(acme.database, acme.workspace, id=2, platform="instagram"),
    )
    on_both, on_none, on_x = [
        await add_post(acme.database, acme.workspace, dict.fromkeys(accounts, published()))
        for accounts in ([x, instagram], [], [x])
    ]
    await add_events(
        acme.database,
        acme.workspace,
        connected(x),
        connected(instagram),
        deleted(on_both.id),
        deleted(on_none.id),
        deleted(on_x.id),
    )
    webhook_id = await add_webhook(acme.database, acme.workspace, **filters)

    await store_all(acme.database)

    assert await acme.event_seqs(webhook_id) == expected


# Workspaces.


async def test_endpoint_gets_no_event_of_another_workspace(database: Database) -> None:
    tenants = await add_similar_tenants(database)
    for workspace, _, account in tenants:
        await add_events(database, workspace, connected(account))

    await store_all(database)

    for workspace, webhook_id, _ in tenants:
        (delivery,) = await stored_deliveries(database, workspace, webhook_id)
        body = orjson.loads(delivery.body)
        assert body["organization_id"] == str(workspace)
        assert body["data"]["account_name"] == f"of {workspace}"


async def test_missing_workspace_filter_would_be_noticed(database_url: str) -> None:
    """Proves that the previous test can fail: without the filter, a foreign key refuses the deliveries."""
    async with Database(
        database_url, workspace_filter=lambda statement, _workspace: statement
    ) as unfiltered:
        tenants = await add_similar_tenants(unfiltered)
        await add_events(unfiltered, tenants[0][0], connected(tenants[0][2]))
        await add_events(unfiltered, tenants[1][0], *[connected(tenants[1][2])] * 3)
        with pytest.raises(INTEGRITY_ERRORS):
            await store_all(unfiltered)
