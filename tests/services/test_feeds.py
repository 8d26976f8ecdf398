"""Following changes as they happen: from where, by how many, with what filter, and how they are woken.

What goes wrong meanwhile is in test_feeds_at_fault.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from app.db.engine import Database
from app.domain.events import START, ChangeFilter, Event, EventKind, FeedPosition
from app.domain.ids import PostId
from app.services.posts import create_post
from tests.db.feeds import EVERYTHING, numbered, tell
from tests.domain.test_editing import wanted
from tests.factories import NOW, add_post, add_workspace, nobody_minds
from tests.services.following import BY_WAKE_UPS_ALONE, Scene, scene, take, until
from tests.services.publishers import errand


@pytest.fixture
async def woken(anyio_backend: str, database_url: str) -> AsyncIterator[Scene]:
    """Where nobody looks for changes unless there is a wake-up."""
    async with scene(database_url, BY_WAKE_UPS_ALONE) as made:
        yield made


async def test_who_follows_from_now_on_is_told_of_nothing_older(woken: Scene) -> None:
    await woken.happen(3)
    async with woken.following() as following:
        assert following.position == FeedPosition(3, NOW)
        await woken.happen(2)
        assert await take(following, 2) == [4, 5]
        await woken.happen(1)
        assert await take(following, 1) == [6]
        assert following.position == FeedPosition(6, NOW)


async def test_who_follows_from_a_position_gets_what_came_since_and_then_what_comes(
    woken: Scene,
) -> None:
    async with woken.following(START) as first:
        await woken.happen(5)
        assert await take(first, 5) == [1, 2, 3, 4, 5]
    async with woken.following(START) as from_the_start:
        assert await take(from_the_start, 5) == [1, 2, 3, 4, 5]
    async with woken.following(FeedPosition(3, NOW)) as following:
        await woken.happen(2)
        assert await take(following, 4) == [4, 5, 6, 7]
        await woken.happen(1)
        assert await take(following, 1) == [8]


async def test_what_happens_between_the_start_and_the_following_is_told(woken: Scene) -> None:
    await woken.happen(1)
    start = await woken.feeds.start(woken.workspace, None)
    assert start == FeedPosition(1, NOW)
    await woken.happen(2)
    async with woken.following():  # whose reader is at the end already
        await woken.quiet()
        async with woken.feeds.following(woken.workspace, start) as following:
            assert await take(following, 2) == [2, 3]
    async with woken.feeds.following(woken.workspace, start) as following:
        assert await take(following, 2) == [2, 3]


async def test_a_change_is_told_as_it_is_read_in_pages(woken: Scene) -> None:
    post = (await add_post(woken.database, woken.workspace)).id
    changes = {"b": 1, "a": [None, "é"]}
    async with woken.following() as following:
        await woken.tell(Event(kind=EventKind.POST_CHANGED, post_id=post, changes=changes))
        (change,) = await following.changes(EVERYTHING)
    assert (change.seq, change.kind, change.post_id) == (1, EventKind.POST_CHANGED, post)
    assert (change.operation, change.happened_at) == ("test", NOW)
    assert repr(change.changes) == repr(changes)


async def test_any_number_of_followers_share_one_reader(woken: Scene) -> None:
    async with AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(woken.following()) for _ in range(20)]
        for first in (1, 4, 7):
            before = await woken.quiet()
            waiting = [asyncio.create_task(take(each, 3)) for each in everybody]
            await woken.happen(3)
            assert [await each for each in waiting] == [[first, first + 1, first + 2]] * 20
            assert await woken.quiet() == before + 1
        # Of who comes now, and is not far behind, only the position is looked at.
        before = await woken.quiet()
        late = await stack.enter_async_context(woken.following(FeedPosition(1, NOW)))
        assert await take(late, 8) == list(range(2, 10))
        assert await woken.quiet() == before + 1


async def test_a_filter_tells_of_what_is_wanted_alone_and_goes_on_behind_the_rest(
    woken: Scene,
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
        live = [await stack.enter_async_context(woken.following()) for _ in filters]
        await woken.tell(*events)
        for following, (numbers, those) in zip(live, filters.items(), strict=True):
            assert await take(following, len(numbers), those) == list(numbers)
            assert following.position.seq == 5
    # For whom the reader comes too late, the database is asked.
    for numbers, those in filters.items():
        async with woken.following(START) as following:
            assert await take(following, len(numbers), those) == list(numbers)
            assert following.position.seq == 5


@pytest.mark.parametrize("nothing", [ChangeFilter(kinds=[]), ChangeFilter(post_id=PostId(uuid4()))])
async def test_who_wants_nothing_of_what_happens_waits_on_behind_it(
    woken: Scene, nothing: ChangeFilter
) -> None:
    await woken.happen(150)
    async with woken.following(START) as following, woken.following() as other:
        waiting = asyncio.create_task(following.changes(nothing))
        await until(lambda: following.position.seq == 150)
        await woken.happen(1)
        assert await take(other, 1) == [151]
        await until(lambda: following.position.seq == 151)
        assert await woken.quiet() > 0
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_only_what_happens_in_the_workspace_is_told(woken: Scene) -> None:
    elsewhere = await add_workspace(woken.database)
    async with woken.following() as here, woken.following(workspace=elsewhere) as there:
        await tell(woken.database, elsewhere, numbered(2))
        await woken.happen(1)
        assert await take(here, 1) == [1]
        woken.feeds.wake(elsewhere)
        assert await take(there, 2) == [1, 2]
        assert here.position == FeedPosition(1, NOW)


async def test_a_wake_up_is_for_one_workspace_or_for_all(woken: Scene) -> None:
    elsewhere, unfollowed = [await add_workspace(woken.database) for _ in range(2)]
    async with woken.following() as here, woken.following(workspace=elsewhere) as there:
        before = await woken.quiet()
        for workspace, statements in (
            (woken.workspace, 1),
            (elsewhere, 1),
            (unfollowed, 0),
            (None, 2),
        ):
            woken.feeds.wake(workspace)
            assert await woken.quiet() - before == statements
            before += statements
        for workspace in (woken.workspace, elsewhere):
            await tell(woken.database, workspace, numbered(1))
        woken.feeds.wake(None)
        assert (await take(here, 1), await take(there, 1)) == ([1], [1])
    woken.feeds.wake(None)
    woken.feeds.wake(woken.workspace)
    assert await woken.quiet() == before + 2


async def test_a_write_of_this_process_wakes_who_follows(woken: Scene) -> None:
    new = wanted(is_draft=True, scheduled_for=None, account_ids=[])
    on = errand(woken.workspace)
    with woken.database.telling(woken.feeds.wake):
        async with woken.following() as following:
            await woken.quiet()
            for turn in range(3):
                await create_post(woken.database, on, new, None, admit=nobody_minds, new_id=uuid4)
                assert await take(following, 1) == [turn + 1]


async def test_a_write_of_another_process_is_told_without_any_wake_up(database_url: str) -> None:
    async with (
        scene(database_url) as left_alone,
        Database(database_url) as elsewhere,
        left_alone.following() as first,
        left_alone.following() as second,
    ):
        await tell(elsewhere, left_alone.workspace, numbered(2))
        assert await take(first, 2) == await take(second, 2) == [1, 2]
