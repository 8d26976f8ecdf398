"""Following the changes of workspaces as they happen. How they are kept is in app.db, who is told elsewhere.

Each workspace that somebody follows has one reader in a process, however many follow it: it reads on when it
is woken, and every so often by itself, since a wake-up is only a hint. What it has read last is kept for a
moment, for all who follow; whoever is farther behind reads for themselves until they have caught up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import islice

import structlog

from app.db.core.database import Database, Reader
from app.db.repositories.events import (
    check_position,
    newest_position,
    read_changes,
    read_contiguous_changes,
    resync_required_error,
)
from app.domain.errors import ResyncRequired, ServiceUnavailable
from app.domain.events import Change, ChangeFilter, FeedPosition
from app.domain.ids import WorkspaceId

FEED_POLL_INTERVAL = timedelta(milliseconds=250)
"""How late a change may be told of that no wake-up came for."""

_READ_BATCH_SIZE = 100
_CATCH_UP_BATCH_SIZE = 20
"""Whoever is behind holds so many, and there may be very many of them after a restart."""
_MAX_CACHED_CHANGES = 500
"""Changes of a workspace that are kept for those who follow it; whoever is farther behind reads anew."""
_MAX_CACHED_CHARACTERS = 4_000_000
"""Of the values of those changes together: a post's text may be long."""

logger = structlog.stdlib.get_logger(__name__)


class ChangeFeed:
    """The changes of all workspaces, for those who follow them in this process."""

    def __init__(
        self, database: Database, *, poll_interval: timedelta = FEED_POLL_INTERVAL
    ) -> None:
        self._database = database
        self._poll_interval = poll_interval
        self._tailers: dict[WorkspaceId, _FeedTailer] = {}

    def wake(self, workspace_id: WorkspaceId | None) -> None:
        """There may be something new in a workspace, or in any of them."""
        for followed, tail in self._tailers.items():
            if workspace_id in (followed, None):
                tail.wake()

    async def resolve_start_position(
        self, workspace_id: WorkspaceId, after: FeedPosition | None
    ) -> FeedPosition:
        """From where to follow: this position, or now; ResyncRequired if what came since is not kept."""
        reader = self._database.read(workspace_id)
        if after is None:
            return await newest_position(reader)
        await check_position(reader, after)
        return after

    @asynccontextmanager
    async def subscribe(
        self, workspace_id: WorkspaceId, start: FeedPosition
    ) -> AsyncIterator["FeedSubscription"]:
        """From a position on that was found to be one to start from."""
        tail = self._get_tailer(workspace_id)
        tail.subscriber_count += 1
        try:
            yield FeedSubscription(
                self._database.read(workspace_id), tail, start, self._poll_interval
            )
        finally:
            tail.subscriber_count -= 1
            if not tail.subscriber_count:
                if self._tailers.get(workspace_id) is tail:
                    del self._tailers[workspace_id]
                await tail.stop()

    def _get_tailer(self, workspace_id: WorkspaceId) -> "_FeedTailer":
        """The one there is, or a new one."""
        tail = self._tailers.get(workspace_id)
        if tail is None or tail.has_gap:
            reader = self._database.read(workspace_id)
            tail = self._tailers[workspace_id] = _FeedTailer(reader, self._poll_interval)
        return tail


class FeedSubscription:
    """Somebody's way along the changes of a workspace."""

    def __init__(
        self,
        reader: Reader,
        tailer: "_FeedTailer",
        position: FeedPosition,
        poll_interval: timedelta,
    ) -> None:
        self._reader = reader
        self._tailer = tailer
        self._poll_interval = poll_interval
        self.position = position

    async def next_changes(self, change_filter: ChangeFilter) -> Sequence[Change]:
        """The next ones that are wanted, as soon as there are any; each once, in their order.

        ResyncRequired if they are not kept any more.
        """
        while True:
            found = self._tailer.changes_after(self.position)
            if found is None:
                found = await self._read_from_database(change_filter)
            elif found:
                self.position = found[-1].position
                found = [each for each in found if change_filter.matches(each)]
            else:
                await self._tailer.wait_for_new()
                continue
            if found:
                return found

    async def _read_from_database(self, change_filter: ChangeFilter) -> Sequence[Change]:
        try:
            read = await read_changes(
                self._reader, self.position, change_filter, limit=_CATCH_UP_BATCH_SIZE
            )
        except ServiceUnavailable:
            await asyncio.sleep(self._poll_interval.total_seconds())
            return ()
        self.position = read.next_position
        return read.changes


class _FeedTailer:
    """The last changes of a workspace, and a task that reads on."""

    def __init__(self, reader: Reader, poll_interval: timedelta) -> None:
        self.subscriber_count = 0
        self.has_gap = False
        """Whether changes were forgotten that it had not read yet, so that it cannot go on."""
        self._reader = reader
        self._poll_interval = poll_interval
        self._cached_changes: deque[tuple[Change, int]] = deque()
        """With the number of their characters."""
        self._cached_characters = 0
        self._changes_by_missing_count: dict[int, Sequence[Change]] = {}
        """The last so many: nearly all who follow are at the same place."""
        self._end_position: FeedPosition | None = None
        """Behind the last one; None until it is known where it begins."""
        self._wake_event = asyncio.Event()
        self._new_changes_event = asyncio.Event()
        self._run_task = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._wake_event.set()

    async def wait_for_new(self) -> None:
        """Return when there is more, or never will be."""
        await self._new_changes_event.wait()

    def changes_after(self, position: FeedPosition) -> Sequence[Change] | None:
        """What is known to follow a position; None where only the database knows.

        ResyncRequired once it cannot go on.
        """
        if self.has_gap:
            raise resync_required_error()
        if self._end_position is None:
            return ()
        missing = self._end_position.seq - position.seq
        if missing > len(self._cached_changes):
            return None
        if missing <= 0:
            return ()
        following = self._changes_by_missing_count.get(missing)
        if following is None:
            following = [
                each
                for each, _ in islice(
                    self._cached_changes, len(self._cached_changes) - missing, None
                )
            ]
            self._changes_by_missing_count[missing] = following
        return following

    async def stop(self) -> None:
        self._run_task.cancel()
        await asyncio.wait({self._run_task})

    async def _run(self) -> None:
        is_failing = False
        while not self.has_gap:
            found: Sequence[Change] = ()
            try:
                found = await self._read_new_changes()
                is_failing = False
            except ResyncRequired:
                self.has_gap = True
                self._notify()
            except Exception:  # it is tried again, and those who follow wait
                if not is_failing:  # once is enough of a database that is away for hours
                    logger.warning("changes not read", exc_info=True)
                is_failing = True
            if len(found) < _READ_BATCH_SIZE:
                # Not by `wait_for`, which may lose the cancellation of one that was woken just now.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval.total_seconds()):
                        await self._wake_event.wait()
                self._wake_event.clear()
            else:
                await asyncio.sleep(0)  # a read need not wait, and others have their turn

    async def _read_new_changes(self) -> Sequence[Change]:
        """What is new, once it is known to those who follow."""
        found: Sequence[Change] = ()
        if self._end_position is None:
            self._end_position = await newest_position(self._reader)
            self._notify()
        else:
            found = await read_contiguous_changes(
                self._reader, self._end_position, limit=_READ_BATCH_SIZE
            )
            if found:
                self._cache_changes(found)
                self._notify()
        return found

    def _notify(self) -> None:
        self._new_changes_event.set()
        self._new_changes_event = asyncio.Event()

    def _cache_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            characters = len(str(change.changes))
            self._cached_changes.append((change, characters))
            self._cached_characters += characters
            self._end_position = change.position
        while (
            len(self._cached_changes) > _MAX_CACHED_CHANGES
            or self._cached_characters > _MAX_CACHED_CHARACTERS
        ):
            self._cached_characters -= self._cached_changes.popleft()[1]
        self._changes_by_missing_count.clear()
