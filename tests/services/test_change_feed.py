"""Tests of change feed subscriptions: start, filters, sharing, lag, outages and pruned changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from uuid import uuid4

import pytest
import structlog

from app.db.core.database import Database
from app.db.repositories.events import delete_events
from app.domain.errors import ResyncRequired, ServiceUnavailable
from app.domain.events import FEED_START, Event, EventFilter, EventKind, FeedPosition
from app.domain.ids import PostId
from app.runtime.fair_slots import current_caller
from app.services.change_feed import ChangeFeed
from tests.db.core.intercepting_driver import do_nothing
from tests.db.repositories.event_rows import ALL_CHANGES, append_test_events, numbered_events
from tests.factories import NOW, add_post, add_workspace
from tests.servers import TIMEOUT_SECONDS
from tests.services.feed_scenario import (
    NO_POLLING,
    SHORT_POLL_INTERVAL,
    FeedScenario,
    open_feed_scenario,
    reader_task_names,
    receive_seqs,
)
from tests.services.publishing_calls import create, new_post
from tests.worker.worker_bench import wait_until

RETAINED_CHANGES = 500
BATCH_SIZE = 100


@pytest.fixture
async def scenario(anyio_backend: str, database_url: str) -> AsyncIterator[FeedScenario]:
    """A feed that reads only when woken."""
    async with open_feed_scenario(database_url, NO_POLLING) as feed_scenario:
        yield feed_scenario


async def test_subscription_from_now_gets_no_older_changes(scenario: FeedScenario) -> None:
    await scenario.append_and_notify(3)
    async with scenario.subscribe() as subscription:
        assert subscription.position == FeedPosition(3, NOW)
        await scenario.append_and_notify(2)
        assert await receive_seqs(subscription, 2) == [4, 5]
        await scenario.append_and_notify(1)
        assert await receive_seqs(subscription, 1) == [6]
        assert subscription.position == FeedPosition(6, NOW)


async def test_changes_are_read_for_the_service_and_not_for_the_first_subscriber(
    scenario: FeedScenario,
) -> None:
    callers = []

    async def record_caller() -> None:
        callers.append(current_caller.get())

    current_caller.set("first subscriber")
    async with scenario.subscribe():
        await scenario.wait_until_idle()
        scenario.interceptor.before_statement = record_caller
        await scenario.append_and_notify(1)
        await scenario.wait_until_idle()

    assert set(callers) == {None}


async def test_subscription_from_a_position_gets_missed_and_then_new_changes(
    scenario: FeedScenario,
) -> None:
    async with scenario.subscribe(FEED_START) as first:
        await scenario.append_and_notify(5)
        assert await receive_seqs(first, 5) == [1, 2, 3, 4, 5]
    async with scenario.subscribe(FEED_START) as from_start:
        assert await receive_seqs(from_start, 5) == [1, 2, 3, 4, 5]
    async with scenario.subscribe(FeedPosition(3, NOW)) as subscription:
        await scenario.append_and_notify(2)
        assert await receive_seqs(subscription, 4) == [4, 5, 6, 7]
        await scenario.append_and_notify(1)
        assert await receive_seqs(subscription, 1) == [8]


async def test_changes_between_start_position_and_subscription_are_delivered(
    scenario: FeedScenario,
) -> None:
    await scenario.append_and_notify(1)
    start = await scenario.feed.resolve_start_position(scenario.workspace, None)
    assert start == FeedPosition(1, NOW)
    await scenario.append_and_notify(2)
    async with scenario.subscribe():  # its reader is already at the end
        await scenario.wait_until_idle()
        async with scenario.feed.subscribe(scenario.workspace, start) as subscription:
            assert await receive_seqs(subscription, 2) == [2, 3]
    async with scenario.feed.subscribe(scenario.workspace, start) as subscription:
        assert await receive_seqs(subscription, 2) == [2, 3]


async def test_change_is_delivered_complete(scenario: FeedScenario) -> None:
    post = (await add_post(scenario.database, scenario.workspace)).id
    changes = {"b": 1, "a": [None, "é"]}
    async with scenario.subscribe() as subscription:
        await scenario.append(Event(kind=EventKind.POST_CHANGED, post_id=post, values=changes))
        (change,) = await subscription.next_events(ALL_CHANGES)
    assert (change.seq, change.kind, change.post_id) == (1, EventKind.POST_CHANGED, post)
    assert (change.operation, change.happened_at) == ("test", NOW)
    assert repr(change.values) == repr(changes)


async def test_subscriptions_share_one_reader(scenario: FeedScenario) -> None:
    async with AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(scenario.subscribe()) for _ in range(20)]
        for first in (1, 4, 7):
            before = await scenario.wait_until_idle()
            receiving = [asyncio.create_task(receive_seqs(s, 3)) for s in subscriptions]
            await scenario.append_and_notify(3)
            assert [await task for task in receiving] == [[first, first + 1, first + 2]] * 20
            assert await scenario.wait_until_idle() == before + 1
        # A new subscription that is not far behind only checks its position.
        before = await scenario.wait_until_idle()
        late = await stack.enter_async_context(scenario.subscribe(FeedPosition(1, NOW)))
        assert await receive_seqs(late, 8) == list(range(2, 10))
        assert await scenario.wait_until_idle() == before + 1


async def test_filter_delivers_only_matching_changes_and_skips_the_rest(
    scenario: FeedScenario,
) -> None:
    ours, other = [(await add_post(scenario.database, scenario.workspace)).id for _ in range(2)]
    kinds: list[tuple[EventKind, PostId | None]] = [
        (EventKind.POST_CREATED, ours),
        (EventKind.POST_CREATED, other),
        (EventKind.DESTINATION_ADDED, ours),
        (EventKind.ACCOUNT_CHANGED, None),
        (EventKind.POST_DELETED, ours),
    ]
    events = [Event(kind=kind, post_id=post, values={}) for kind, post in kinds]
    filters = {
        (1, 3, 5): EventFilter(post_id=ours),
        (1, 2): EventFilter(kinds=[EventKind.POST_CREATED]),
        (5,): EventFilter(kinds=[EventKind.POST_DELETED, EventKind.ACCOUNT_CONNECTED]),
        (3,): EventFilter(kinds=[EventKind.DESTINATION_ADDED], post_id=ours),
        (4,): EventFilter(kinds=[EventKind.ACCOUNT_CHANGED]),
    }
    async with AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(scenario.subscribe()) for _ in filters]
        await scenario.append(*events)
        for subscription, (seqs, event_filter) in zip(subscriptions, filters.items(), strict=True):
            assert await receive_seqs(subscription, len(seqs), event_filter) == list(seqs)
            assert subscription.position.seq == 5
    # A subscription behind the reader reads from the database.
    for seqs, event_filter in filters.items():
        async with scenario.subscribe(FEED_START) as subscription:
            assert await receive_seqs(subscription, len(seqs), event_filter) == list(seqs)
            assert subscription.position.seq == 5


@pytest.mark.parametrize(
    "event_filter", [EventFilter(kinds=[]), EventFilter(post_id=PostId(uuid4()))]
)
async def test_subscription_without_matches_waits_at_the_end(
    scenario: FeedScenario, event_filter: EventFilter
) -> None:
    await scenario.append_and_notify(150)
    async with scenario.subscribe(FEED_START) as subscription, scenario.subscribe() as other:
        receiving = asyncio.create_task(subscription.next_events(event_filter))
        await wait_until(lambda: subscription.position.seq == 150)
        await scenario.append_and_notify(1)
        assert await receive_seqs(other, 1) == [151]
        await wait_until(lambda: subscription.position.seq == 151)
        assert await scenario.wait_until_idle() > 0
        assert not receiving.done()
        receiving.cancel()
        await asyncio.wait({receiving})


async def test_only_changes_of_the_workspace_are_delivered(scenario: FeedScenario) -> None:
    other = await add_workspace(scenario.database)
    async with scenario.subscribe() as ours, scenario.subscribe(workspace=other) as theirs:
        await append_test_events(scenario.database, other, numbered_events(2))
        await scenario.append_and_notify(1)
        assert await receive_seqs(ours, 1) == [1]
        scenario.feed.wake(other)
        assert await receive_seqs(theirs, 2) == [1, 2]
        assert ours.position == FeedPosition(1, NOW)


async def test_wake_up_is_for_one_workspace_or_all(scenario: FeedScenario) -> None:
    other, unsubscribed = [await add_workspace(scenario.database) for _ in range(2)]
    async with scenario.subscribe() as ours, scenario.subscribe(workspace=other) as theirs:
        before = await scenario.wait_until_idle()
        for workspace, statements in (
            (scenario.workspace, 1),
            (other, 1),
            (unsubscribed, 0),
            (None, 2),
        ):
            scenario.feed.wake(workspace)
            assert await scenario.wait_until_idle() - before == statements
            before += statements
        for workspace in (scenario.workspace, other):
            await append_test_events(scenario.database, workspace, numbered_events(1))
        scenario.feed.wake(None)
        assert (await receive_seqs(ours, 1), await receive_seqs(theirs, 1)) == ([1], [1])
    scenario.feed.wake(None)
    scenario.feed.wake(scenario.workspace)
    assert await scenario.wait_until_idle() == before + 2


async def test_write_of_this_process_wakes_subscriptions(scenario: FeedScenario) -> None:
    with scenario.database.on_commit(scenario.feed.wake):
        async with scenario.subscribe() as subscription:
            await scenario.wait_until_idle()
            for seq in (1, 2, 3):
                await create(scenario.database, scenario.workspace, new_post(is_draft=True))
                assert await receive_seqs(subscription, 1) == [seq]


async def test_write_of_another_process_is_delivered_without_wake_up(database_url: str) -> None:
    async with (
        open_feed_scenario(database_url) as polling,
        Database(database_url) as other,
        polling.subscribe() as first,
        polling.subscribe() as second,
    ):
        await append_test_events(other, polling.workspace, numbered_events(2))
        assert await receive_seqs(first, 2) == await receive_seqs(second, 2) == [1, 2]


async def test_each_read_of_changes_is_reported_once_for_all_subscriptions(
    scenario: FeedScenario,
) -> None:
    workspace = scenario.workspace
    read: list[list[int]] = []
    feed = ChangeFeed(
        scenario.database,
        poll_interval=NO_POLLING,
        on_read=lambda events: read.append([event.seq for event in events]),
    )
    start = await feed.resolve_start_position(workspace, None)
    async with (
        feed.subscribe(workspace, start) as first,
        feed.subscribe(workspace, start) as second,
    ):
        await scenario.wait_until_idle()
        for seqs in ([1, 2], [3]):
            await append_test_events(scenario.database, workspace, numbered_events(len(seqs)))
            feed.wake(workspace)
            assert await receive_seqs(first, len(seqs)) == seqs
            assert await receive_seqs(second, len(seqs)) == seqs
    assert read == [[1, 2], [3]]


# Ends, lag and outages.


async def prune_until(scenario: FeedScenario, last_seq: int) -> None:
    await scenario.database.write(scenario.workspace, partial(delete_events, last_seq=last_seq))


async def test_reader_stops_with_the_last_subscription(scenario: FeedScenario) -> None:
    async with scenario.subscribe():
        async with scenario.subscribe():
            running = reader_task_names()
            assert len(running) == 1
        assert reader_task_names() == running
    assert reader_task_names() == set()
    await scenario.append_and_notify(1)
    count = await scenario.wait_until_idle()
    async with scenario.subscribe() as again:
        await scenario.append_and_notify(1)
        assert await receive_seqs(again, 1) == [2]
    assert await scenario.wait_until_idle() > count
    assert reader_task_names() == set()


async def test_subscription_can_end_during_a_wake_up(scenario: FeedScenario) -> None:
    """At any number of event loop steps after the wake-up."""

    async def cancel_after(steps: int) -> None:
        async with scenario.subscribe():
            await scenario.wait_until_idle()
            scenario.feed.wake(scenario.workspace)
            for _ in range(steps):
                await asyncio.sleep(0)

    for steps in range(6):
        _, pending = await asyncio.wait(
            {asyncio.create_task(cancel_after(steps))}, timeout=TIMEOUT_SECONDS
        )
        assert pending == set()


async def test_cancelled_wait_loses_no_changes(scenario: FeedScenario) -> None:
    async with scenario.subscribe() as leaving, scenario.subscribe() as staying:
        tasks = [asyncio.create_task(receive_seqs(s, 2)) for s in (leaving, staying)]
        await scenario.wait_until_idle()
        tasks[0].cancel()
        await scenario.append_and_notify(2)
        assert await tasks[1] == [1, 2]
        assert tasks[0].cancelled()
        assert await receive_seqs(leaving, 2) == [1, 2]


async def test_cancelled_database_read_loses_no_changes(scenario: FeedScenario) -> None:
    await scenario.append_and_notify(3)
    async with scenario.subscribe(FEED_START) as subscription:
        await scenario.wait_until_idle()
        reading = asyncio.Event()

        async def block_read() -> None:
            reading.set()
            await asyncio.Event().wait()

        scenario.interceptor.before_statement = block_read
        task = asyncio.create_task(receive_seqs(subscription, 3))
        await reading.wait()
        task.cancel()
        await asyncio.wait({task})
        scenario.interceptor.before_statement = do_nothing
        assert await receive_seqs(subscription, 3) == [1, 2, 3]


async def test_subscription_far_behind_reads_from_the_database(scenario: FeedScenario) -> None:
    total = 700
    async with (
        scenario.subscribe() as slow,
        scenario.subscribe() as quick,
        scenario.subscribe() as filtered,
    ):
        await scenario.wait_until_idle()
        for _ in range(7):
            await scenario.append_and_notify(BATCH_SIZE)
            await receive_seqs(quick, BATCH_SIZE)
        before = await scenario.wait_until_idle()

        batches: list[list[int]] = [[0]]
        while batches[-1][-1] < total:
            batches.append([change.seq for change in await slow.next_events(ALL_CHANGES)])

        assert [seq for batch in batches for seq in batch] == list(range(total + 1))
        # Pages of the database, then all cached changes.
        assert len(batches[-1]) == RETAINED_CHANGES
        assert await scenario.wait_until_idle() - before == 3 * len(batches[1:-1])
        await scenario.append_and_notify(1)
        assert await receive_seqs(slow, 1) == await receive_seqs(quick, 1) == [total + 1]

        event_filter = EventFilter(kinds=[EventKind.POST_CHANGED])
        assert await receive_seqs(filtered, total + 1, event_filter) == list(range(1, total + 2))


async def test_subscription_keeps_up_with_a_busy_reader(scenario: FeedScenario) -> None:
    """Also if the reads need not wait for anything."""
    async with scenario.subscribe() as subscription:
        before = await scenario.wait_until_idle()
        receiving = asyncio.create_task(receive_seqs(subscription, 3 * RETAINED_CHANGES))
        await scenario.append_and_notify(3 * RETAINED_CHANGES)
        assert await receiving == list(range(1, 3 * RETAINED_CHANGES + 1))
        # The subscription itself has read nothing.
        assert await scenario.wait_until_idle() - before == 3 * RETAINED_CHANGES // BATCH_SIZE + 1


async def test_cache_is_bounded_by_characters(scenario: FeedScenario) -> None:
    """The limit of 4,000,000 characters fits two of these texts, but not three."""
    content = "x" * 1_500_000
    async with AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(scenario.subscribe()) for _ in range(2)]
        await scenario.wait_until_idle()
        await scenario.append_and_notify(1, content)
        assert await receive_seqs(subscriptions[1], 1) == [1]
        await scenario.append_and_notify(2, content)
        statements = []
        for subscription, count in zip(subscriptions, (3, 2), strict=True):
            before = await scenario.wait_until_idle()
            assert len(await receive_seqs(subscription, count)) == count
            statements.append(await scenario.wait_until_idle() - before)
        assert statements == [3, 0]

        await scenario.append_and_notify(1, 3 * content)  # alone over the limit
        before = await scenario.wait_until_idle()
        for subscription in subscriptions:
            (change,) = await subscription.next_events(ALL_CHANGES)
            assert (change.seq, change.values) == (4, {"content": 3 * content})
        assert await scenario.wait_until_idle() - before == 2 * 3
        await scenario.append_and_notify(1)
        before = await scenario.wait_until_idle()
        assert [await receive_seqs(s, 1) for s in subscriptions] == [[5], [5]]
        assert await scenario.wait_until_idle() == before


async def test_subscriptions_wait_while_the_database_is_unavailable(
    database: Database, database_url: str
) -> None:
    async with open_feed_scenario(database_url, SHORT_POLL_INTERVAL) as scenario:
        attempts: list[None] = []

        async def refuse_connection() -> None:
            attempts.append(None)
            raise ConnectionRefusedError

        async with scenario.subscribe() as live, scenario.subscribe() as behind:
            for first in (1, 602):
                await append_test_events(database, scenario.workspace, numbered_events(600))
                assert await receive_seqs(live, 600) == list(range(first, first + 600))
                with structlog.testing.capture_logs() as logs:
                    attempts.clear()
                    scenario.interceptor.before_statement = refuse_connection
                    receiving = [
                        asyncio.create_task(receive_seqs(subscription, count))
                        for subscription, count in ((live, 1), (behind, 601))
                    ]
                    await append_test_events(database, scenario.workspace, numbered_events(1))
                    await wait_until(lambda: len(attempts) > 10)
                    assert not any(task.done() for task in receiving)
                    scenario.interceptor.before_statement = do_nothing
                    assert await receiving[0] == [first + 600]
                    assert await receiving[1] == list(range(first, first + 601))
                assert [(entry["log_level"], entry["event"]) for entry in logs] == [
                    ("warning", "change feed read failed")
                ]


async def test_new_subscription_fails_while_the_database_is_unavailable(
    scenario: FeedScenario,
) -> None:
    async def refuse_connection() -> None:
        raise ConnectionRefusedError

    scenario.interceptor.before_statement = refuse_connection
    with pytest.raises(ServiceUnavailable):
        async with scenario.subscribe():
            pass
    assert reader_task_names() == set()
    scenario.interceptor.before_statement = do_nothing


async def test_changes_pruned_before_they_were_read_require_a_resync(
    scenario: FeedScenario,
) -> None:
    await scenario.append_and_notify(2)
    async with AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(scenario.subscribe()) for _ in range(3)]
        await scenario.wait_until_idle()
        receiving = [asyncio.create_task(s.next_events(ALL_CHANGES)) for s in subscriptions[1:]]
        await append_test_events(scenario.database, scenario.workspace, numbered_events(3))
        await prune_until(scenario, 3)

        scenario.feed.wake(scenario.workspace)

        await asyncio.wait(receiving, timeout=TIMEOUT_SECONDS)
        for task in receiving:
            with pytest.raises(ResyncRequired):
                task.result()
        for subscription in subscriptions:  # also those that did not wait, and repeated calls
            with pytest.raises(ResyncRequired):
                await subscription.next_events(ALL_CHANGES)
        for lost in (FEED_START, FeedPosition(2, NOW), FeedPosition(3, NOW), FeedPosition(6, NOW)):
            with pytest.raises(ResyncRequired):
                async with scenario.subscribe(lost):
                    pass
        for after, seqs in ((None, [6]), (FeedPosition(4, NOW), [5, 6])):
            async with scenario.subscribe(after) as resubscribed:
                if after is None:
                    await scenario.append_and_notify(1)
                assert await receive_seqs(resubscribed, len(seqs)) == seqs
        async with scenario.subscribe() as new, scenario.subscribe() as other:
            await stack.aclose()  # ending the old subscriptions does not affect the new ones
            await scenario.append_and_notify(1)
            assert await receive_seqs(new, 1) == await receive_seqs(other, 1) == [7]
    assert reader_task_names() == set()


async def test_only_subscriptions_behind_the_pruned_changes_require_a_resync(
    scenario: FeedScenario,
) -> None:
    async with scenario.subscribe() as behind, scenario.subscribe() as live:
        await scenario.append_and_notify(RETAINED_CHANGES + 1)
        await receive_seqs(live, RETAINED_CHANGES + 1)
        await prune_until(scenario, RETAINED_CHANGES)
        with pytest.raises(ResyncRequired):
            await behind.next_events(ALL_CHANGES)
        await scenario.append_and_notify(1)
        assert await receive_seqs(live, 1) == [RETAINED_CHANGES + 2]


async def test_changes_pruned_after_they_were_read_are_delivered(scenario: FeedScenario) -> None:
    async with scenario.subscribe() as slow, scenario.subscribe() as quick:
        await scenario.wait_until_idle()
        await scenario.append_and_notify(10)
        await receive_seqs(quick, 10)
        await prune_until(scenario, 9)
        assert await receive_seqs(slow, 10) == list(range(1, 11))
