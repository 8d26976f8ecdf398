"""Following changes when somebody leaves, falls behind or comes too late, and while the database is away."""

import asyncio
from collections.abc import AsyncIterator
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
    NO_POLLING,
    SHORT_POLL_INTERVAL,
    FeedScenario,
    open_feed_scenario,
    reader_task_names,
    receive_seqs,
    wait_until,
)

RETAINED_CHANGES = 500
BATCH_SIZE = 100


@pytest.fixture
async def feed_scenario(anyio_backend: str, database_url: str) -> AsyncIterator[FeedScenario]:
    """Where nobody looks for changes unless there is a wake-up."""
    async with open_feed_scenario(database_url, NO_POLLING) as made:
        yield made


async def prune_until(scenario: FeedScenario, until_: int) -> None:
    await scenario.database.write(partial(delete_events, workspace_id=scenario.workspace, last_seq=until_))


async def test_nothing_runs_on_when_the_last_follower_has_left(woken: FeedScenario) -> None:
    async with woken.subscribe():
        async with woken.subscribe():
            running = reader_task_names()
            assert len(running) == 1
        assert reader_task_names() == running
    assert reader_task_names() == set()
    await woken.append_and_notify(1)
    count = await woken.wait_until_idle()
    async with woken.subscribe() as again:
        await woken.append_and_notify(1)
        assert await receive_seqs(again, 1) == [2]
    assert await woken.wait_until_idle() > count
    assert reader_task_names() == set()


async def test_whoever_leaves_just_when_there_is_something_new_can_leave(
    woken: FeedScenario,
) -> None:
    """However many steps of the event loop lie between the wake-up and the end."""

    async def cancel_after(steps: int) -> None:
        async with woken.subscribe():
            await woken.wait_until_idle()
            woken.feed.wake(woken.workspace)
            for _ in range(steps):
                await asyncio.sleep(0)

    for steps in range(6):
        leaving = {asyncio.create_task(cancel_after(steps))}
        _, left_behind = await asyncio.wait(leaving, timeout=TIMEOUT_SECONDS)
        assert left_behind == set()


async def test_who_is_cancelled_while_it_waits_disturbs_nobody_and_can_come_again(
    woken: FeedScenario,
) -> None:
    async with woken.subscribe() as leaving, woken.subscribe() as staying:
        tasks = [asyncio.create_task(receive_seqs(each, 2)) for each in (leaving, staying)]
        await woken.wait_until_idle()
        tasks[0].cancel()
        await woken.append_and_notify(2)
        assert await tasks[1] == [1, 2]
        assert tasks[0].cancelled()
        assert await receive_seqs(leaving, 2) == [1, 2]


async def test_who_is_cancelled_while_it_reads_for_itself_has_lost_nothing(
    woken: FeedScenario,
) -> None:
    await woken.append_and_notify(3)
    async with woken.subscribe(FEED_START) as following:
        await woken.wait_until_idle()
        reading = asyncio.Event()

        async def block_read() -> None:
            reading.set()
            await asyncio.Event().wait()

        woken.interceptor.before_statement = block_read
        task = asyncio.create_task(receive_seqs(following, 3))
        await reading.wait()
        task.cancel()
        await asyncio.wait({task})
        woken.interceptor.before_statement = do_nothing
        assert await receive_seqs(following, 3) == [1, 2, 3]


async def test_who_falls_far_behind_reads_what_the_others_have_not_kept(
    woken: FeedScenario,
) -> None:
    told = 700
    async with woken.subscribe() as slow, woken.subscribe() as quick, woken.subscribe() as choosy:
        await woken.wait_until_idle()
        for _ in range(7):
            await woken.append_and_notify(BATCH_SIZE)
            await receive_seqs(quick, BATCH_SIZE)
        before = await woken.wait_until_idle()

        in_parts: list[list[int]] = [[0]]
        while in_parts[-1][-1] < told:
            in_parts.append([each.seq for each in await slow.next_changes(ALL_CHANGES)])

        assert [seq for part in in_parts for seq in part] == list(range(told + 1))
        # Pages of the database, and then all that is kept.
        assert len(in_parts[-1]) == RETAINED_CHANGES
        assert await woken.wait_until_idle() - before == 3 * len(in_parts[1:-1])
        await woken.append_and_notify(1)
        assert await receive_seqs(slow, 1) == await receive_seqs(quick, 1) == [told + 1]

        wanted = ChangeFilter(kinds=[EventKind.POST_CHANGED])
        assert await receive_seqs(choosy, told + 1, wanted) == list(range(1, told + 2))


async def test_who_follows_keeps_up_with_the_reader_of_many_changes(woken: FeedScenario) -> None:
    """Where a read need not wait for anything, too."""
    async with woken.subscribe() as following:
        before = await woken.wait_until_idle()
        waiting = asyncio.create_task(receive_seqs(following, 3 * RETAINED_CHANGES))
        await woken.append_and_notify(3 * RETAINED_CHANGES)
        assert await waiting == list(range(1, 3 * RETAINED_CHANGES + 1))
        # It was left nothing to read for itself.
        assert await woken.wait_until_idle() - before == 3 * RETAINED_CHANGES // BATCH_SIZE + 1


async def test_who_is_just_not_too_far_behind_needs_no_database(woken: FeedScenario) -> None:
    async with woken.subscribe() as slow, woken.subscribe() as quick:
        await woken.wait_until_idle()
        await woken.append_and_notify(RETAINED_CHANGES)
        await receive_seqs(quick, RETAINED_CHANGES)
        before = await woken.wait_until_idle()
        assert [each.seq for each in await slow.next_changes(ALL_CHANGES)] == list(
            range(1, RETAINED_CHANGES + 1)
        )
        assert await woken.wait_until_idle() == before


async def test_long_texts_are_not_kept_beyond_a_bound(woken: FeedScenario) -> None:
    """Of 4,000,000 characters, into which two of these go and three do not."""
    content = "x" * 1_500_000
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(woken.subscribe()) for _ in range(2)]
        await woken.wait_until_idle()
        await woken.append_and_notify(1, content)
        assert await receive_seqs(followers[1], 1) == [1]
        await woken.append_and_notify(2, content)
        read = []
        for each, count in zip(followers, (3, 2), strict=True):
            before = await woken.wait_until_idle()
            assert len(await receive_seqs(each, count)) == count
            read.append(await woken.wait_until_idle() - before)
        assert read == [3, 0]

        await woken.append_and_notify(1, 3 * content)  # which alone is too long
        before = await woken.wait_until_idle()
        for each in followers:
            (change,) = await each.next_changes(ALL_CHANGES)
            assert (change.seq, change.changes) == (4, {"content": 3 * content})
        assert await woken.wait_until_idle() - before == 2 * 3
        await woken.append_and_notify(1)
        before = await woken.wait_until_idle()
        assert [await receive_seqs(each, 1) for each in followers] == [[5], [5]]
        assert await woken.wait_until_idle() == before


async def test_while_the_database_is_away_who_follows_waits_and_then_goes_on(
    database: Database, database_url: str
) -> None:
    async with open_feed_scenario(database_url, SHORT_POLL_INTERVAL) as here:
        tries: list[None] = []

        async def refuse_connection() -> None:
            tries.append(None)
            raise ConnectionRefusedError

        async with here.subscribe() as live, here.subscribe() as behind:
            for first in (1, 602):
                await append_test_events(database, here.workspace, numbered_events(600))
                assert await receive_seqs(live, 600) == list(range(first, first + 600))
                with structlog.testing.capture_logs() as logs:
                    tries.clear()
                    here.interceptor.before_statement = refuse_connection
                    waiting = [
                        asyncio.create_task(receive_seqs(each, count))
                        for each, count in ((live, 1), (behind, 601))
                    ]
                    await append_test_events(database, here.workspace, numbered_events(1))
                    await wait_until(lambda: len(tries) > 10)
                    assert not any(each.done() for each in waiting)
                    here.interceptor.before_statement = do_nothing
                    assert await waiting[0] == [first + 600]
                    assert await waiting[1] == list(range(first, first + 601))
                assert [(each["log_level"], each["event"]) for each in logs] == [
                    ("warning", "changes not read")
                ]


async def test_who_begins_to_follow_while_the_database_is_away_is_told_so_and_leaves_nothing(
    woken: FeedScenario,
) -> None:
    async def refuse_connection() -> None:
        raise ConnectionRefusedError

    woken.interceptor.before_statement = refuse_connection
    with pytest.raises(ServiceUnavailable):
        async with woken.subscribe():
            pass
    assert reader_task_names() == set()
    woken.interceptor.before_statement = do_nothing


async def test_where_changes_are_forgotten_before_they_were_read_all_must_read_anew(
    woken: FeedScenario,
) -> None:
    await woken.append_and_notify(2)
    async with AsyncExitStack() as stack:
        torn = [await stack.enter_async_context(woken.subscribe()) for _ in range(3)]
        await woken.wait_until_idle()
        waiting = [asyncio.create_task(each.next_changes(ALL_CHANGES)) for each in torn[1:]]
        await append_test_events(woken.database, woken.workspace, numbered_events(3))
        await prune_until(woken, 3)

        woken.feed.wake(woken.workspace)

        await asyncio.wait(waiting, timeout=TIMEOUT_SECONDS)
        for task in waiting:
            with pytest.raises(ResyncRequired):
                task.result()
        for each in torn:  # also who was not waiting just then, and who asks again
            with pytest.raises(ResyncRequired):
                await each.next_changes(ALL_CHANGES)
        for lost in (FEED_START, FeedPosition(2, NOW), FeedPosition(3, NOW), FeedPosition(6, NOW)):
            with pytest.raises(ResyncRequired):
                async with woken.subscribe(lost):
                    pass
        for after, numbers in ((None, [6]), (FeedPosition(4, NOW), [5, 6])):
            async with woken.subscribe(after) as anew:
                if after is None:
                    await woken.append_and_notify(1)
                assert await receive_seqs(anew, len(numbers)) == numbers
        async with woken.subscribe() as new, woken.subscribe() as other:
            await stack.aclose()  # those who left are no burden to those who have come
            await woken.append_and_notify(1)
            assert await receive_seqs(new, 1) == await receive_seqs(other, 1) == [7]
    assert reader_task_names() == set()


async def test_who_was_far_behind_what_is_forgotten_must_read_anew_and_the_others_go_on(
    woken: FeedScenario,
) -> None:
    async with woken.subscribe() as behind, woken.subscribe() as live:
        await woken.append_and_notify(RETAINED_CHANGES + 1)
        await receive_seqs(live, RETAINED_CHANGES + 1)
        await prune_until(woken, RETAINED_CHANGES)
        with pytest.raises(ResyncRequired):
            await behind.next_changes(ALL_CHANGES)
        await woken.append_and_notify(1)
        assert await receive_seqs(live, 1) == [RETAINED_CHANGES + 2]


async def test_what_is_forgotten_after_it_was_read_is_told_nevertheless(
    woken: FeedScenario,
) -> None:
    async with woken.subscribe() as slow, woken.subscribe() as quick:
        await woken.wait_until_idle()
        await woken.append_and_notify(10)
        await receive_seqs(quick, 10)
        await prune_until(woken, 9)
        assert await receive_seqs(slow, 10) == list(range(1, 11))
