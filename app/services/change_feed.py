"""Change feed: subscribers follow the events of a workspace as they are committed.

Each workspace with subscribers has one tailer per process, which reads new events when notified and at every
poll interval, since a notification is only a hint. It caches the latest events for all subscribers; a
subscriber that is further behind reads from the database until it has caught up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import islice

import structlog

from app.db.core.database import Database, Reader
from app.db.core.postgresql import driver_options
from app.db.repositories.events import (
    check_position,
    latest_position,
    read_contiguous_events,
    read_events,
    resync_required_error,
)
from app.domain.errors import ResyncRequired, ServiceUnavailable
from app.domain.events import EventFilter, FeedPosition, StoredEvent
from app.domain.ids import WorkspaceId
from app.observability.outages import Outage
from app.pubsub.notifier import ChangeNotifier, MemoryChangeNotifier, WakeCallback
from app.pubsub.postgresql import PostgreSQLChangeNotifier
from app.runtime.fair_slots import current_caller

FEED_POLL_INTERVAL = timedelta(milliseconds=250)
"""Maximum delay of an event whose notification was lost."""

_READ_BATCH_SIZE = 100
_CATCH_UP_BATCH_SIZE = 20
"""Small, because after a restart very many subscribers may hold such a batch."""
_MAX_CACHED_EVENTS = 500
"""Changes cached per workspace; a subscriber further behind reads from the database."""
_MAX_CACHED_CHARACTERS = 4_000_000
"""Limit for the values of the cached events of a workspace, since a post's text may be long."""

logger = structlog.stdlib.get_logger(__name__)


class ChangeFeed:
    """Feeds of all workspaces, for the subscribers in this process."""

    def __init__(
        self,
        database: Database,
        *,
        poll_interval: timedelta = FEED_POLL_INTERVAL,
        on_read: Callable[[Sequence[StoredEvent]], None] = lambda _events: None,
    ) -> None:
        """Create the feeds; `on_read` is called with the new events of each read, if there are any."""
        self._database = database
        self._poll_interval = poll_interval
        self._on_read = on_read
        self._tailers: dict[WorkspaceId, _FeedTailer] = {}

    def wake(self, workspace_id: WorkspaceId | None) -> None:
        """Read new events of a workspace without delay; None for all workspaces."""
        for tailed_workspace_id, tailer in self._tailers.items():
            if workspace_id in (tailed_workspace_id, None):
                tailer.wake_event.set()

    async def resolve_start_position(
        self, workspace_id: WorkspaceId, after: FeedPosition | None
    ) -> FeedPosition:
        """Return `after`, or the newest position if `after` is None.

        Raises ResyncRequired if events after that position were pruned.
        """
        reader = self._database.reader(workspace_id)
        if after is None:
            return await latest_position(reader)
        await check_position(reader, after)
        return after

    @asynccontextmanager
    async def subscribe(
        self, workspace_id: WorkspaceId, start: FeedPosition
    ) -> AsyncIterator["FeedSubscription"]:
        """Subscribe from a position that `resolve_start_position` returned."""
        tailer = self._get_tailer(workspace_id)
        tailer.subscriber_count += 1
        try:
            yield FeedSubscription(
                self._database.reader(workspace_id), tailer, start, self._poll_interval
            )
        finally:
            tailer.subscriber_count -= 1
            if not tailer.subscriber_count:
                if self._tailers.get(workspace_id) is tailer:
                    del self._tailers[workspace_id]
                await tailer.stop()

    def _get_tailer(self, workspace_id: WorkspaceId) -> "_FeedTailer":
        """Return the workspace's tailer; a new one if there is none, or if it has a gap."""
        tailer = self._tailers.get(workspace_id)
        if tailer is None or tailer.has_gap:
            reader = self._database.reader(workspace_id)
            tailer = _FeedTailer(reader, self._poll_interval, self._on_read)
            self._tailers[workspace_id] = tailer
        return tailer


class FeedSubscription:
    """One subscriber's position in the feed of a workspace."""

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

    async def next_events(self, event_filter: EventFilter) -> Sequence[StoredEvent]:
        """Wait for the next matching events; each is returned once, in order.

        Raises ResyncRequired if events after the position were pruned.
        """
        while True:
            events = self._tailer.events_after(self.position)
            if events is None:
                events = await self._read_from_database(event_filter)
            elif events:
                self.position = events[-1].position
                events = event_filter.select(events)
            else:
                await self._tailer.new_events_signal.wait()
                continue
            if events:
                return events

    async def _read_from_database(self, event_filter: EventFilter) -> Sequence[StoredEvent]:
        try:
            page = await read_events(
                self._reader, self.position, event_filter, limit=_CATCH_UP_BATCH_SIZE
            )
        except ServiceUnavailable:
            await asyncio.sleep(self._poll_interval.total_seconds())
            return ()
        self.position = page.next_position
        return page.events


class _FeedTailer:
    """The latest events of a workspace, and a task that reads new ones."""

    def __init__(
        self,
        reader: Reader,
        poll_interval: timedelta,
        on_read: Callable[[Sequence[StoredEvent]], None],
    ) -> None:
        self.subscriber_count = 0
        self.has_gap = False
        """True once events were pruned before this tailer read them: it cannot go on."""
        self._reader = reader
        self._poll_interval = poll_interval
        self._on_read = on_read
        self._cached_events: deque[tuple[StoredEvent, int]] = deque()
        """Changes, each with the number of its characters."""
        self._cached_characters = 0
        self._events_by_missing_count: dict[int, Sequence[StoredEvent]] = {}
        """The last N events by N, cached because nearly all subscribers are at the same position."""
        self._end_position: FeedPosition | None = None
        """Position of the last event; None until the start position is read."""
        self.wake_event = asyncio.Event()
        """Set to read new events without delay."""
        self.new_events_signal = asyncio.Event()
        """Set when there are new events, or when there is a gap; each batch has another one."""
        self._run_task = asyncio.create_task(self._run())

    def events_after(self, position: FeedPosition) -> Sequence[StoredEvent] | None:
        """Return the cached events after a position; None if only the database has them all.

        Raises ResyncRequired if this tailer has a gap.
        """
        if self.has_gap:
            raise resync_required_error()
        if self._end_position is None:
            return ()
        missing = self._end_position.seq - position.seq
        if missing > len(self._cached_events):
            return None
        if missing <= 0:
            return ()
        events = self._events_by_missing_count.get(missing)
        if events is None:
            skipped = len(self._cached_events) - missing
            events = [event for event, _ in islice(self._cached_events, skipped, None)]
            self._events_by_missing_count[missing] = events
        return events

    async def stop(self) -> None:
        self._run_task.cancel()
        await asyncio.wait({self._run_task})

    async def _run(self) -> None:
        # The task has the context of the first subscriber, but it reads for all of them.
        current_caller.set(None)
        outage = Outage(logger, "change feed read failed")
        while not self.has_gap:
            events: Sequence[StoredEvent] = ()
            with outage.suppress():
                events = await self._read_new_events()
            if len(events) < _READ_BATCH_SIZE:
                # Not by `wait_for`, which may lose a cancellation that arrives with the wake-up.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval.total_seconds()):
                        await self.wake_event.wait()
                self.wake_event.clear()
            else:
                await asyncio.sleep(0)  # a read need not suspend, and other tasks have to run

    async def _read_new_events(self) -> Sequence[StoredEvent]:
        """Read, cache and return a batch of new events; sets `has_gap` if some were pruned."""
        events: Sequence[StoredEvent] = ()
        try:
            if self._end_position is None:
                self._end_position = await latest_position(self._reader)
            else:
                events = await read_contiguous_events(
                    self._reader, self._end_position, limit=_READ_BATCH_SIZE
                )
                if not events:
                    return ()
                self._cache_events(events)
                self._on_read(events)
        except ResyncRequired:
            self.has_gap = True
        self.new_events_signal.set()
        self.new_events_signal = asyncio.Event()
        return events

    def _cache_events(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            characters = len(str(event.values)) + len(str(event.previous))
            self._cached_events.append((event, characters))
            self._cached_characters += characters
        self._end_position = events[-1].position
        while (
            len(self._cached_events) > _MAX_CACHED_EVENTS
            or self._cached_characters > _MAX_CACHED_CHARACTERS
        ):
            self._cached_characters -= self._cached_events.popleft()[1]
        self._events_by_missing_count.clear()


@asynccontextmanager
async def run_change_notifier(database: Database, wake: WakeCallback) -> AsyncIterator[None]:
    """Notify all processes on the database of commits in this one, and call `wake` for theirs."""
    if database.is_sqlite:
        notifier: ChangeNotifier = MemoryChangeNotifier()
    else:
        notifier = PostgreSQLChangeNotifier(
            driver_options(database.direct_url, database.timeout, read_only=True)
        )
    async with notifier.listen(wake):
        with database.on_commit(notifier.notify):
            yield
