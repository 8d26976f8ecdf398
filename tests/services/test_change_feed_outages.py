"""Tests of change feed subscriptions that end, fall behind or lose the database, and of pruned changes."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest
import structlog

from app.db.core.database import Database
from app.db.repositories.events import delete_events
from app.domain.errors import ResyncRequired, ServiceUnavailable
from app.domain.events import FEED_START, ChangeFilter, EventKind, FeedPosition
from tests.db.core.intercepting_driver import do_nothing
from tests.db.repositories.event_rows import ALL_CHANGES, append_test_events, numbered_events
from tests.factories import NOW
from tests.servers import TIMEOUT_SECONDS
from tests.services.feed_scenario import (
    SHORT_POLL_INTERVAL,
    FeedScenario,
    open_feed_scenario,
    reader_task_names,
    receive_seqs,
)
from tests.worker.worker_bench import wait_until

RETAINED_CHANGES = 500
BATCH_SIZE = 100


async def prune_until(scenario: FeedScenario, last_seq: int) -> None:
    await scenario.database.write(
        partial(delete_events, workspace_id=scenario.workspace, last_seq=last_seq)
    )


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
            batches.append([change.seq for change in await slow.next_changes(ALL_CHANGES)])

        assert [seq for batch in batches for seq in batch] == list(range(total + 1))
        # Pages of the database, then all cached changes.
        assert len(batches[-1]) == RETAINED_CHANGES
        assert await scenario.wait_until_idle() - before == 3 * len(batches[1:-1])
        await scenario.append_and_notify(1)
        assert await receive_seqs(slow, 1) == await receive_seqs(quick, 1) == [total + 1]

        change_filter = ChangeFilter(kinds=[EventKind.POST_CHANGED])
        assert await receive_seqs(filtered, total + 1, change_filter) == list(range(1, total + 2))


async def test_subscription_keeps_up_with_a_busy_reader(scenario: FeedScenario) -> None:
    """Also if the reads need not wait for anything."""
    async with scenario.subscribe() as subscription:
        before = await scenario.wait_until_idle()
        receiving = asyncio.create_task(receive_seqs(subscription, 3 * RETAINED_CHANGES))
        await scenario.append_and_notify(3 * RETAINED_CHANGES)
        assert await receiving == list(range(1, 3 * RETAINED_CHANGES + 1))
        # The subscription itself has read nothing.
        assert await scenario.wait_until_idle() - before == 3 * RETAINED_CHANGES // BATCH_SIZE + 1


async def test_subscription_slightly_behind_reads_from_the_cache(scenario: FeedScenario) -> None:
    async with scenario.subscribe() as slow, scenario.subscribe() as quick:
        await scenario.wait_until_idle()
        await scenario.append_and_notify(RETAINED_CHANGES)
        await receive_seqs(quick, RETAINED_CHANGES)
        before = await scenario.wait_until_idle()
        changes = await slow.next_changes(ALL_CHANGES)
        assert [change.seq for change in changes] == list(range(1, RETAINED_CHANGES + 1))
        assert await scenario.wait_until_idle() == before


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
            (change,) = await subscription.next_changes(ALL_CHANGES)
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
        receiving = [asyncio.create_task(s.next_changes(ALL_CHANGES)) for s in subscriptions[1:]]
        await append_test_events(scenario.database, scenario.workspace, numbered_events(3))
        await prune_until(scenario, 3)

        scenario.feed.wake(scenario.workspace)

        await asyncio.wait(receiving, timeout=TIMEOUT_SECONDS)
        for task in receiving:
            with pytest.raises(ResyncRequired):
                task.result()
        for subscription in subscriptions:  # also those that did not wait, and repeated calls
            with pytest.raises(ResyncRequired):
                await subscription.next_changes(ALL_CHANGES)
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
            await behind.next_changes(ALL_CHANGES)
        await scenario.append_and_notify(1)
        assert await receive_seqs(live, 1) == [RETAINED_CHANGES + 2]


async def test_changes_pruned_after_they_were_read_are_delivered(scenario: FeedScenario) -> None:
    async with scenario.subscribe() as slow, scenario.subscribe() as quick:
        await scenario.wait_until_idle()
        await scenario.append_and_notify(10)
        await receive_seqs(quick, 10)
        await prune_until(scenario, 9)
        assert await receive_seqs(slow, 10) == list(range(1, 11))
