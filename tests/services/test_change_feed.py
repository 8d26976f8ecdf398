"""Tests of change feed subscriptions: start positions, filters, sharing and wake-ups."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.domain.events import FEED_START, ChangeFilter, Event, EventKind, FeedPosition
from app.domain.ids import PostId
from app.services.posts import create_post
from tests.db.repositories.event_rows import ALL_CHANGES, append_test_events, numbered_events
from tests.factories import NOW, add_post, add_workspace, no_quota
from tests.services.feed_scenario import FeedScenario, open_feed_scenario, receive_seqs
from tests.services.publishing_calls import new_post, write_context
from tests.worker.worker_bench import wait_until


async def test_subscription_from_now_gets_no_older_changes(scenario: FeedScenario) -> None:
    await scenario.append_and_notify(3)
    async with scenario.subscribe() as subscription:
        assert subscription.position == FeedPosition(3, NOW)
        await scenario.append_and_notify(2)
        assert await receive_seqs(subscription, 2) == [4, 5]
        await scenario.append_and_notify(1)
        assert await receive_seqs(subscription, 1) == [6]
        assert subscription.position == FeedPosition(6, NOW)


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
        (change,) = await subscription.next_changes(ALL_CHANGES)
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
        (1, 3, 5): ChangeFilter(post_id=ours),
        (1, 2): ChangeFilter(kinds=[EventKind.POST_CREATED]),
        (5,): ChangeFilter(kinds=[EventKind.POST_DELETED, EventKind.ACCOUNT_CONNECTED]),
        (3,): ChangeFilter(kinds=[EventKind.DESTINATION_ADDED], post_id=ours),
        (4,): ChangeFilter(kinds=[EventKind.ACCOUNT_CHANGED]),
    }
    async with AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(scenario.subscribe()) for _ in filters]
        await scenario.append(*events)
        for subscription, (seqs, change_filter) in zip(subscriptions, filters.items(), strict=True):
            assert await receive_seqs(subscription, len(seqs), change_filter) == list(seqs)
            assert subscription.position.seq == 5
    # A subscription behind the reader reads from the database.
    for seqs, change_filter in filters.items():
        async with scenario.subscribe(FEED_START) as subscription:
            assert await receive_seqs(subscription, len(seqs), change_filter) == list(seqs)
            assert subscription.position.seq == 5


@pytest.mark.parametrize(
    "change_filter", [ChangeFilter(kinds=[]), ChangeFilter(post_id=PostId(uuid4()))]
)
async def test_subscription_without_matches_waits_at_the_end(
    scenario: FeedScenario, change_filter: ChangeFilter
) -> None:
    await scenario.append_and_notify(150)
    async with scenario.subscribe(FEED_START) as subscription, scenario.subscribe() as other:
        receiving = asyncio.create_task(subscription.next_changes(change_filter))
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
    post, context = new_post(is_draft=True), write_context(scenario.workspace)
    with scenario.database.on_commit(scenario.feed.wake):
        async with scenario.subscribe() as subscription:
            await scenario.wait_until_idle()
            for seq in (1, 2, 3):
                await create_post(
                    scenario.database, context, post, None, check_quota=no_quota, new_id=uuid4
                )
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
