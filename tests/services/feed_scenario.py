"""Feeds to follow in a test, and what a follower gets of them, for no longer than a test may wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import CoroutineType

from app.db.core.database import Database
from app.domain.events import ChangeFilter, Event, FeedPosition
from app.domain.ids import WorkspaceId
from app.services import change_feed
from app.services.change_feed import FEED_POLL_INTERVAL, ChangeFeed, FeedSubscription
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.db.repositories.event_rows import ALL_CHANGES, append_test_events, numbered_events
from tests.factories import add_workspace
from tests.servers import TIMEOUT_SECONDS

NO_POLLING = timedelta(days=1)
"""So seldom do readers look by themselves that whatever is told in a test, a wake-up has brought."""

SHORT_POLL_INTERVAL = timedelta(milliseconds=5)


@dataclass(frozen=True, slots=True)
class FeedScenario:
    """A workspace, its changes, and the feeds of a process that reads them."""

    database: Database
    """Of the process; what it runs goes through `between`."""
    interceptor: InterceptingDriver
    feed: ChangeFeed
    workspace: WorkspaceId

    @asynccontextmanager
    async def subscribe(
        self, after: FeedPosition | None = None, workspace: WorkspaceId | None = None
    ) -> AsyncIterator[FeedSubscription]:
        """From a position on, or from now on."""
        followed = workspace or self.workspace
        start = await self.feed.resolve_start_position(followed, after)
        async with self.feed.subscribe(followed, start) as following:
            yield following

    async def append_and_notify(self, count: int, content: str = "") -> None:
        """So many changes in one transaction, and a wake-up."""
        await self.append(*numbered_events(count, content))

    async def append(self, *events: Event) -> None:
        await append_test_events(self.database, self.workspace, events)
        self.feed.wake(self.workspace)

    async def wait_until_idle(self) -> int:
        """Wait until nothing is read any more; how many statements there were so far."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            count = -1
            while self.interceptor.running or count != self.interceptor.count:
                count = self.interceptor.count
                await asyncio.sleep(0.004)
        return count


@asynccontextmanager
async def open_feed_scenario(
    url: str, poll: timedelta = FEED_POLL_INTERVAL
) -> AsyncIterator[FeedScenario]:
    """Nothing has happened; at the end no task of it is left."""
    between = InterceptingDriver()
    async with Database(url, wrap_driver=between) as database:
        workspace = await add_workspace(database)
        yield FeedScenario(database, between, ChangeFeed(database, poll_interval=poll), workspace)
        assert reader_task_names() == set()


def reader_task_names() -> set[str]:
    """The names of the tasks that run for feeds."""
    return {
        task.get_name()
        for task in asyncio.all_tasks()
        if isinstance(ran := task.get_coro(), CoroutineType)
        and ran.cr_code.co_filename == change_feed.__file__
    }


async def receive_seqs(
    subscription: FeedSubscription, count: int, change_filter: ChangeFilter = ALL_CHANGES
) -> list[int]:
    """The numbers of so many changes or more, as they come."""
    numbers: list[int] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(numbers) < count:
            numbers += [each.seq for each in await subscription.next_changes(change_filter)]
    return numbers


async def wait_until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not predicate():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.002)
