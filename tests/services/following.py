"""Feeds to follow in a test, and what a follower gets of them, for no longer than a test may wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import CoroutineType

from app.db.engine import Database
from app.domain.events import ChangeFilter, Event, FeedPosition
from app.domain.ids import WorkspaceId
from app.services import feeds
from app.services.feeds import POLL, Feeds, Following
from tests.db.between import Between
from tests.db.feeds import EVERYTHING, numbered, tell
from tests.factories import add_workspace
from tests.servers import SECONDS

BY_WAKE_UPS_ALONE = timedelta(days=1)
"""So seldom do readers look by themselves that whatever is told in a test, a wake-up has brought."""

OFTEN = timedelta(milliseconds=5)


@dataclass(frozen=True, slots=True)
class Scene:
    """A workspace, its changes, and the feeds of a process that reads them."""

    database: Database
    """Of the process; what it runs goes through `between`."""
    between: Between
    feeds: Feeds
    workspace: WorkspaceId

    @asynccontextmanager
    async def following(
        self, after: FeedPosition | None = None, workspace: WorkspaceId | None = None
    ) -> AsyncIterator[Following]:
        """From a position on, or from now on."""
        followed = workspace or self.workspace
        start = await self.feeds.start(followed, after)
        async with self.feeds.following(followed, start) as following:
            yield following

    async def happen(self, count: int, content: str = "") -> None:
        """So many changes in one transaction, and a wake-up."""
        await self.tell(*numbered(count, content))

    async def tell(self, *events: Event) -> None:
        await tell(self.database, self.workspace, events)
        self.feeds.wake(self.workspace)

    async def quiet(self) -> int:
        """Wait until nothing is read any more; how many statements there were so far."""
        async with asyncio.timeout(SECONDS):
            count = -1
            while self.between.running or count != self.between.count:
                count = self.between.count
                await asyncio.sleep(0.004)
        return count


@asynccontextmanager
async def scene(url: str, poll: timedelta = POLL) -> AsyncIterator[Scene]:
    """Nothing has happened; at the end no task of it is left."""
    between = Between()
    async with Database(url, driven_by=between) as database:
        workspace = await add_workspace(database)
        yield Scene(database, between, Feeds(database, poll=poll), workspace)
        assert readers() == set()


def readers() -> set[str]:
    """The names of the tasks that run for feeds."""
    return {
        task.get_name()
        for task in asyncio.all_tasks()
        if isinstance(ran := task.get_coro(), CoroutineType)
        and ran.cr_code.co_filename == feeds.__file__
    }


async def take(following: Following, count: int, wanted: ChangeFilter = EVERYTHING) -> list[int]:
    """The numbers of so many changes or more, as they come."""
    numbers: list[int] = []
    async with asyncio.timeout(SECONDS):
        while len(numbers) < count:
            numbers += [each.seq for each in await following.changes(wanted)]
    return numbers


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.002)
