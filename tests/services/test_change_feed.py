"""Following changes as they happen: from where, by how many, with what filter, and how they are woken.

What goes wrong meanwhile is in test_feeds_at_fault.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from app.db.core.database import Database
from app.domain.events import FEED_START, ChangeFilter, Event, EventKind, FeedPosition
from app.domain.ids import PostId
from app.services.posts import create_post
from tests.db.repositories.event_rows import ALL_CHANGES, append_test_events, numbered_events
from tests.domain.post_commands import new_post_request
from tests.factories import NOW, add_post, add_workspace, no_quota
from tests.services.feed_scenario import (
    NO_POLLING,
    FeedScenario,
    open_feed_scenario,
    receive_seqs,
    wait_until,
)
from tests.services.publishing_calls import write_context


@pytest.fixture
async def woken(anyio_backend: str, database_url: str) -> AsyncIterator[FeedScenario]:
    """Where nobody looks for changes unless there is a wake-up."""
    async with open_feed_scenario(database_url, NO_POLLING) as made:
        yield made


async def test_who_follows_from_now_on_is_told_of_nothing_older(woken: FeedScenario) -> None:
    await woken.append_and_notify(3)
    async with woken.subscribe() as following:
        assert following.position == FeedPosition(3, NOW)
        await woken.append_and_notify(2)
        assert await receive_seqs(following, 2) == [4, 5]
        await woken.append_and_notify(1)
        assert await receive_seqs(following, 1) == [6]
        assert following.position == FeedPosition(6, NOW)


async def test_who_follows_from_a_position_gets_what_came_since_and_then_what_comes(
    woken: FeedScenario,
) -> None:
    async with woken.subscribe(FEED_START) as first:
        await woken.append_and_notify(5)
        assert await receive_seqs(first, 5) == [1, 2, 3, 4, 5]
    async with woken.subscribe(FEED_START) as from_the_start:
        assert await receive_seqs(from_the_start, 5) == [1, 2, 3, 4, 5]
    async with woken.subscribe(FeedPosition(3, NOW)) as following:
        await woken.append_and_notify(2)
        assert await receive_seqs(following, 4) == [4, 5, 6, 7]
        await woken.append_and_notify(1)
        assert await receive_seqs(following, 1) == [8]


async def test_what_happens_between_the_start_and_the_following_is_told(
    woken: FeedScenario,
) -> None:
    await woken.append_and_notify(1)
    start = await woken.feed.resolve_start_position(woken.workspace, None)
    assert start == FeedPosition(1, NOW)
    await woken.append_and_notify(2)
    async with woken.subscribe():  # whose reader is at the end already
        await woken.wait_until_idle()
        async with woken.feed.subscribe(woken.workspace, start) as following:
            assert await receive_seqs(following, 2) == [2, 3]
    async with woken.feed.subscribe(woken.workspace, start) as following:
        assert await receive_seqs(following, 2) == [2, 3]


async def test_a_change_is_told_as_it_is_read_in_pages(woken: FeedScenario) -> None:
    post = (await add_post(woken.database, woken.workspace)).id
    changes = {"b": 1, "a": [None, "é"]}
    async with woken.subscribe() as following:
        await woken.append(Event(kind=EventKind.POST_CHANGED, post_id=post, changes=changes))
        (change,) = await following.next_changes(ALL_CHANGES)
    assert (change.seq, change.kind, change.post_id) == (1, EventKind.POST_CHANGED, post)
    assert (change.operation, change.happened_at) == ("test", NOW)
    assert repr(change.changes) == repr(changes)


async def test_any_number_of_followers_share_one_reader(woken: FeedScenario) -> None:
    async with AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(woken.subscribe()) for _ in range(20)]
        for first in (1, 4, 7):
            before = await woken.wait_until_idle()
            waiting = [asyncio.create_task(receive_seqs(each, 3)) for each in everybody]
            await woken.append_and_notify(3)
            assert [await each for each in waiting] == [[first, first + 1, first + 2]] * 20
            assert await woken.wait_until_idle() == before + 1
        # Of who comes now, and is not far behind, only the position is looked at.
        before = await woken.wait_until_idle()
        late = await stack.enter_async_context(woken.subscribe(FeedPosition(1, NOW)))
        assert await receive_seqs(late, 8) == list(range(2, 10))
        assert await woken.wait_until_idle() == before + 1


async def test_a_filter_tells_of_what_is_wanted_alone_and_goes_on_behind_the_rest(
    woken: FeedScenario,
) -> None:
    ours, other = [(await add_post(woken.database, woken.workspace)).id for _ in range(2)]
    of: list[tuple[EventKind, PostId | None]] = [
        (EventKind.POST_CREATED, ours),
        (EventKind.POST_CREATED, other),
        (EventKind.DESTINATION_ADDED, ours),
        (EventKind.ACCOUNT_CHANGED, None),
        (EventKind.POST_DELETED, ours),
    ]
    events = [Event(kind=kind, post_id=post, changes={}) for kind, post in of]
    filters = {
        (1, 3, 5): ChangeFilter(post_id=ours),
        (1, 2): ChangeFilter(kinds=[EventKind.POST_CREATED]),
        (5,): ChangeFilter(kinds=[EventKind.POST_DELETED, EventKind.ACCOUNT_CONNECTED]),
        (3,): ChangeFilter(kinds=[EventKind.DESTINATION_ADDED], post_id=ours),
        (4,): ChangeFilter(kinds=[EventKind.ACCOUNT_CHANGED]),
    }
    async with AsyncExitStack() as stack:
        live = [await stack.enter_async_context(woken.subscribe()) for _ in filters]
        await woken.append(*events)
        for following, (numbers, those) in zip(live, filters.items(), strict=True):
            assert await receive_seqs(following, len(numbers), those) == list(numbers)
            assert following.position.seq == 5
    # For whom the reader comes too late, the database is asked.
    for numbers, those in filters.items():
        async with woken.subscribe(FEED_START) as following:
            assert await receive_seqs(following, len(numbers), those) == list(numbers)
            assert following.position.seq == 5


@pytest.mark.parametrize("nothing", [ChangeFilter(kinds=[]), ChangeFilter(post_id=PostId(uuid4()))])
async def test_who_wants_nothing_of_what_happens_waits_on_behind_it(
    woken: FeedScenario, nothing: ChangeFilter
) -> None:
    await woken.append_and_notify(150)
    async with woken.subscribe(FEED_START) as following, woken.subscribe() as other:
        waiting = asyncio.create_task(following.next_changes(nothing))
        await wait_until(lambda: following.position.seq == 150)
        await woken.append_and_notify(1)
        assert await receive_seqs(other, 1) == [151]
        await wait_until(lambda: following.position.seq == 151)
        assert await woken.wait_until_idle() > 0
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_only_what_happens_in_the_workspace_is_told(woken: FeedScenario) -> None:
    elsewhere = await add_workspace(woken.database)
    async with woken.subscribe() as here, woken.subscribe(workspace=elsewhere) as there:
        await append_test_events(woken.database, elsewhere, numbered_events(2))
        await woken.append_and_notify(1)
        assert await receive_seqs(here, 1) == [1]
        woken.feed.wake(elsewhere)
        assert await receive_seqs(there, 2) == [1, 2]
        assert here.position == FeedPosition(1, NOW)


async def test_a_wake_up_is_for_one_workspace_or_for_all(woken: FeedScenario) -> None:
    elsewhere, unfollowed = [await add_workspace(woken.database) for _ in range(2)]
    async with woken.subscribe() as here, woken.subscribe(workspace=elsewhere) as there:
        before = await woken.wait_until_idle()
        for workspace, statements in (
            (woken.workspace, 1),
            (elsewhere, 1),
            (unfollowed, 0),
            (None, 2),
        ):
            woken.feed.wake(workspace)
            assert await woken.wait_until_idle() - before == statements
            before += statements
        for workspace in (woken.workspace, elsewhere):
            await append_test_events(woken.database, workspace, numbered_events(1))
        woken.feed.wake(None)
        assert (await receive_seqs(here, 1), await receive_seqs(there, 1)) == ([1], [1])
    woken.feed.wake(None)
    woken.feed.wake(woken.workspace)
    assert await woken.wait_until_idle() == before + 2


async def test_a_write_of_this_process_wakes_who_follows(woken: FeedScenario) -> None:
    new = new_post_request(is_draft=True, scheduled_for=None, account_ids=[])
    on = write_context(woken.workspace)
    with woken.database.on_commit(woken.feed.wake):
        async with woken.subscribe() as following:
            await woken.wait_until_idle()
            for turn in range(3):
                await create_post(woken.database, on, new, None, check_quota=no_quota, new_id=uuid4)
                assert await receive_seqs(following, 1) == [turn + 1]


async def test_a_write_of_another_process_is_told_without_any_wake_up(database_url: str) -> None:
    async with (
        open_feed_scenario(database_url) as left_alone,
        Database(database_url) as elsewhere,
        left_alone.subscribe() as first,
        left_alone.subscribe() as second,
    ):
        await append_test_events(elsewhere, left_alone.workspace, numbered_events(2))
        assert await receive_seqs(first, 2) == await receive_seqs(second, 2) == [1, 2]
