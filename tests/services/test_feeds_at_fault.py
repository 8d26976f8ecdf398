"""Following changes when somebody leaves, falls behind or comes too late, and while the database is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest
import structlog

from app.db.engine import Database
from app.db.events import forget_events
from app.domain.errors import ResyncRequired, ServiceUnavailable
from app.domain.events import START, ChangeFilter, EventKind, FeedPosition
from tests.db.between import nothing
from tests.db.feeds import EVERYTHING, numbered, tell
from tests.factories import NOW
from tests.servers import SECONDS
from tests.services.following import (
    BY_WAKE_UPS_ALONE,
    OFTEN,
    Scene,
    readers,
    scene,
    take,
    until,
)

KEPT = 500
AT_ONCE = 100


@pytest.fixture
async def woken(anyio_backend: str, database_url: str) -> AsyncIterator[Scene]:
    """Where nobody looks for changes unless there is a wake-up."""
    async with scene(database_url, BY_WAKE_UPS_ALONE) as made:
        yield made


async def forget(here: Scene, until_: int) -> None:
    await here.database.write(partial(forget_events, workspace_id=here.workspace, until=until_))


async def test_nothing_runs_on_when_the_last_follower_has_left(woken: Scene) -> None:
    async with woken.following():
        async with woken.following():
            running = readers()
            assert len(running) == 1
        assert readers() == running
    assert readers() == set()
    await woken.happen(1)
    count = await woken.quiet()
    async with woken.following() as again:
        await woken.happen(1)
        assert await take(again, 1) == [2]
    assert await woken.quiet() > count
    assert readers() == set()


async def test_whoever_leaves_just_when_there_is_something_new_can_leave(woken: Scene) -> None:
    """However many steps of the event loop lie between the wake-up and the end."""

    async def leave_after(steps: int) -> None:
        async with woken.following():
            await woken.quiet()
            woken.feeds.wake(woken.workspace)
            for _ in range(steps):
                await asyncio.sleep(0)

    for steps in range(6):
        leaving = {asyncio.create_task(leave_after(steps))}
        _, left_behind = await asyncio.wait(leaving, timeout=SECONDS)
        assert left_behind == set()


async def test_who_is_cancelled_while_it_waits_disturbs_nobody_and_can_come_again(
    woken: Scene,
) -> None:
    async with woken.following() as leaving, woken.following() as staying:
        tasks = [asyncio.create_task(take(each, 2)) for each in (leaving, staying)]
        await woken.quiet()
        tasks[0].cancel()
        await woken.happen(2)
        assert await tasks[1] == [1, 2]
        assert tasks[0].cancelled()
        assert await take(leaving, 2) == [1, 2]


async def test_who_is_cancelled_while_it_reads_for_itself_has_lost_nothing(woken: Scene) -> None:
    await woken.happen(3)
    async with woken.following(START) as following:
        await woken.quiet()
        reading = asyncio.Event()

        async def stay() -> None:
            reading.set()
            await asyncio.Event().wait()

        woken.between.before = stay
        task = asyncio.create_task(take(following, 3))
        await reading.wait()
        task.cancel()
        await asyncio.wait({task})
        woken.between.before = nothing
        assert await take(following, 3) == [1, 2, 3]


async def test_who_falls_far_behind_reads_what_the_others_have_not_kept(woken: Scene) -> None:
    told = 700
    async with woken.following() as slow, woken.following() as quick, woken.following() as choosy:
        await woken.quiet()
        for _ in range(7):
            await woken.happen(AT_ONCE)
            await take(quick, AT_ONCE)
        before = await woken.quiet()

        in_parts: list[list[int]] = [[0]]
        while in_parts[-1][-1] < told:
            in_parts.append([each.seq for each in await slow.changes(EVERYTHING)])

        assert [seq for part in in_parts for seq in part] == list(range(told + 1))
        # Pages of the database, and then all that is kept.
        assert len(in_parts[-1]) == KEPT
        assert await woken.quiet() - before == 3 * len(in_parts[1:-1])
        await woken.happen(1)
        assert await take(slow, 1) == await take(quick, 1) == [told + 1]

        wanted = ChangeFilter(kinds=[EventKind.POST_CHANGED])
        assert await take(choosy, told + 1, wanted) == list(range(1, told + 2))


async def test_who_follows_keeps_up_with_the_reader_of_many_changes(woken: Scene) -> None:
    """Where a read need not wait for anything, too."""
    async with woken.following() as following:
        before = await woken.quiet()
        waiting = asyncio.create_task(take(following, 3 * KEPT))
        await woken.happen(3 * KEPT)
        assert await waiting == list(range(1, 3 * KEPT + 1))
        # It was left nothing to read for itself.
        assert await woken.quiet() - before == 3 * KEPT // AT_ONCE + 1


async def test_who_is_just_not_too_far_behind_needs_no_database(woken: Scene) -> None:
    async with woken.following() as slow, woken.following() as quick:
        await woken.quiet()
        await woken.happen(KEPT)
        await take(quick, KEPT)
        before = await woken.quiet()
        assert [each.seq for each in await slow.changes(EVERYTHING)] == list(range(1, KEPT + 1))
        assert await woken.quiet() == before


async def test_long_texts_are_not_kept_beyond_a_bound(woken: Scene) -> None:
    """Of 4,000,000 characters, into which two of these go and three do not."""
    content = "x" * 1_500_000
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(woken.following()) for _ in range(2)]
        await woken.quiet()
        await woken.happen(1, content)
        assert await take(followers[1], 1) == [1]
        await woken.happen(2, content)
        read = []
        for each, count in zip(followers, (3, 2), strict=True):
            before = await woken.quiet()
            assert len(await take(each, count)) == count
            read.append(await woken.quiet() - before)
        assert read == [3, 0]

        await woken.happen(1, 3 * content)  # which alone is too long
        before = await woken.quiet()
        for each in followers:
            (change,) = await each.changes(EVERYTHING)
            assert (change.seq, change.changes) == (4, {"content": 3 * content})
        assert await woken.quiet() - before == 2 * 3
        await woken.happen(1)
        before = await woken.quiet()
        assert [await take(each, 1) for each in followers] == [[5], [5]]
        assert await woken.quiet() == before


async def test_while_the_database_is_away_who_follows_waits_and_then_goes_on(
    database: Database, database_url: str
) -> None:
    async with scene(database_url, OFTEN) as here:
        tries: list[None] = []

        async def refuse() -> None:
            tries.append(None)
            raise ConnectionRefusedError

        async with here.following() as live, here.following() as behind:
            for first in (1, 602):
                await tell(database, here.workspace, numbered(600))
                assert await take(live, 600) == list(range(first, first + 600))
                with structlog.testing.capture_logs() as logs:
                    tries.clear()
                    here.between.before = refuse
                    waiting = [
                        asyncio.create_task(take(each, count))
                        for each, count in ((live, 1), (behind, 601))
                    ]
                    await tell(database, here.workspace, numbered(1))
                    await until(lambda: len(tries) > 10)
                    assert not any(each.done() for each in waiting)
                    here.between.before = nothing
                    assert await waiting[0] == [first + 600]
                    assert await waiting[1] == list(range(first, first + 601))
                assert [(each["log_level"], each["event"]) for each in logs] == [
                    ("warning", "changes not read")
                ]


async def test_who_begins_to_follow_while_the_database_is_away_is_told_so_and_leaves_nothing(
    woken: Scene,
) -> None:
    async def refuse() -> None:
        raise ConnectionRefusedError

    woken.between.before = refuse
    with pytest.raises(ServiceUnavailable):
        async with woken.following():
            pass
    assert readers() == set()
    woken.between.before = nothing


async def test_where_changes_are_forgotten_before_they_were_read_all_must_read_anew(
    woken: Scene,
) -> None:
    await woken.happen(2)
    async with AsyncExitStack() as stack:
        torn = [await stack.enter_async_context(woken.following()) for _ in range(3)]
        await woken.quiet()
        waiting = [asyncio.create_task(each.changes(EVERYTHING)) for each in torn[1:]]
        await tell(woken.database, woken.workspace, numbered(3))
        await forget(woken, 3)

        woken.feeds.wake(woken.workspace)

        await asyncio.wait(waiting, timeout=SECONDS)
        for task in waiting:
            with pytest.raises(ResyncRequired):
                task.result()
        for each in torn:  # also who was not waiting just then, and who asks again
            with pytest.raises(ResyncRequired):
                await each.changes(EVERYTHING)
        for lost in (START, FeedPosition(2, NOW), FeedPosition(3, NOW), FeedPosition(6, NOW)):
            with pytest.raises(ResyncRequired):
                async with woken.following(lost):
                    pass
        for after, numbers in ((None, [6]), (FeedPosition(4, NOW), [5, 6])):
            async with woken.following(after) as anew:
                if after is None:
                    await woken.happen(1)
                assert await take(anew, len(numbers)) == numbers
        async with woken.following() as new, woken.following() as other:
            await stack.aclose()  # those who left are no burden to those who have come
            await woken.happen(1)
            assert await take(new, 1) == await take(other, 1) == [7]
    assert readers() == set()


async def test_who_was_far_behind_what_is_forgotten_must_read_anew_and_the_others_go_on(
    woken: Scene,
) -> None:
    async with woken.following() as behind, woken.following() as live:
        await woken.happen(KEPT + 1)
        await take(live, KEPT + 1)
        await forget(woken, KEPT)
        with pytest.raises(ResyncRequired):
            await behind.changes(EVERYTHING)
        await woken.happen(1)
        assert await take(live, 1) == [KEPT + 2]


async def test_what_is_forgotten_after_it_was_read_is_told_nevertheless(woken: Scene) -> None:
    async with woken.following() as slow, woken.following() as quick:
        await woken.quiet()
        await woken.happen(10)
        await take(quick, 10)
        await forget(woken, 9)
        assert await take(slow, 10) == list(range(1, 11))
