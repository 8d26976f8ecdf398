"""A change feed for tests, with bounded waits for its changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import CoroutineType

from app.db.core.database import Database
from app.domain.events import Event, EventFilter, FeedPosition
from app.domain.ids import WorkspaceId
from app.services import change_feed
from app.services.change_feed import FEED_POLL_INTERVAL, ChangeFeed, FeedSubscription
from tests.db.core.intercepting_driver import InterceptingDriver
from tests.db.repositories.event_rows import ALL_CHANGES, append_test_events, numbered_events
from tests.factories import add_workspace
from tests.servers import TIMEOUT_SECONDS

NO_POLLING = timedelta(days=1)
"""Poll interval so long that only wake-ups deliver changes in a test."""

SHORT_POLL_INTERVAL = timedelta(milliseconds=5)


@dataclass(frozen=True, slots=True)
class FeedScenario:
    """A workspace, its changes, and the feed of a process that reads them."""

    database: Database
    """The process's database, whose statements pass through `interceptor`."""
    interceptor: InterceptingDriver
    feed: ChangeFeed
    workspace: WorkspaceId

    @asynccontextmanager
    async def subscribe(
        self, after: FeedPosition | None = None, workspace: WorkspaceId | None = None
    ) -> AsyncIterator[FeedSubscription]:
        """Subscribe from a position, or from the newest one."""
        workspace_id = workspace or self.workspace
        start = await self.feed.resolve_start_position(workspace_id, after)
        async with self.feed.subscribe(workspace_id, start) as subscription:
            yield subscription

    async def append_and_notify(self, count: int, content: str = "") -> None:
        """Append `count` changes in one transaction, and wake the feed."""
        await self.append(*numbered_events(count, content))

    async def append(self, *events: Event) -> None:
        await append_test_events(self.database, self.workspace, events)
        self.feed.wake(self.workspace)

    async def wait_until_idle(self) -> int:
        """Wait until nothing more is read; return the number of statements so far."""
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
    """A scenario without changes; asserts that no reader task is left at the end."""
    interceptor = InterceptingDriver()
    async with Database(url, wrap_driver=interceptor) as database:
        workspace = await add_workspace(database)
        yield FeedScenario(
            database, interceptor, ChangeFeed(database, poll_interval=poll), workspace
        )
        assert reader_task_names() == set()


def reader_task_names() -> set[str]:
    """Names of the running tasks of feeds."""
    return {
        task.get_name()
        for task in asyncio.all_tasks()
        if isinstance(coroutine := task.get_coro(), CoroutineType)
        and coroutine.cr_code.co_filename == change_feed.__file__
    }


async def receive_seqs(
    subscription: FeedSubscription, count: int, event_filter: EventFilter = ALL_CHANGES
) -> list[int]:
    """Sequence numbers of at least `count` changes, in the order of arrival."""
    seqs: list[int] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(seqs) < count:
            seqs += [change.seq for change in await subscription.next_events(event_filter)]
    return seqs
