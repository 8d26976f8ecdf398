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

from app.db.engine import Database, Reader
from app.db.events import (
    changes_following,
    check_position,
    newest_position,
    read_changes,
    resync_required,
)
from app.domain.errors import ResyncRequired, ServiceUnavailable
from app.domain.events import Change, ChangeFilter, FeedPosition
from app.domain.ids import WorkspaceId

POLL = timedelta(milliseconds=250)
"""How late a change may be told of that no wake-up came for."""

_READ_AT_ONCE = 100
_CAUGHT_UP_AT_ONCE = 20
"""Whoever is behind holds so many, and there may be very many of them after a restart."""
_KEPT = 500
"""Changes of a workspace that are kept for those who follow it; whoever is farther behind reads anew."""
_KEPT_CHARACTERS = 4_000_000
"""Of the values of those changes together: a post's text may be long."""

logger = structlog.stdlib.get_logger(__name__)


class Feeds:
    """The changes of all workspaces, for those who follow them in this process."""

    def __init__(self, database: Database, *, poll: timedelta = POLL) -> None:
        self._database = database
        self._poll = poll
        self._tails: dict[WorkspaceId, _Tail] = {}

    def wake(self, workspace_id: WorkspaceId | None) -> None:
        """There may be something new in a workspace, or in any of them."""
        for followed, tail in self._tails.items():
            if workspace_id in (followed, None):
                tail.wake()

    async def start(self, workspace_id: WorkspaceId, after: FeedPosition | None) -> FeedPosition:
        """From where to follow: this position, or now; ResyncRequired if what came since is not kept."""
        reader = self._database.read(workspace_id)
        if after is None:
            return await newest_position(reader)
        await check_position(reader, after)
        return after

    @asynccontextmanager
    async def following(
        self, workspace_id: WorkspaceId, start: FeedPosition
    ) -> AsyncIterator["Following"]:
        """From a position on that was found to be one to start from."""
        tail = self._tail(workspace_id)
        tail.followers += 1
        try:
            yield Following(self._database.read(workspace_id), tail, start, self._poll)
        finally:
            tail.followers -= 1
            if not tail.followers:
                if self._tails.get(workspace_id) is tail:
                    del self._tails[workspace_id]
                await tail.end()

    def _tail(self, workspace_id: WorkspaceId) -> "_Tail":
        """The one there is, or a new one."""
        tail = self._tails.get(workspace_id)
        if tail is None or tail.is_torn:
            reader = self._database.read(workspace_id)
            tail = self._tails[workspace_id] = _Tail(reader, self._poll)
        return tail


class Following:
    """Somebody's way along the changes of a workspace."""

    def __init__(
        self, reader: Reader, tail: "_Tail", position: FeedPosition, poll: timedelta
    ) -> None:
        self._reader = reader
        self._tail = tail
        self._poll = poll
        self.position = position

    async def changes(self, wanted: ChangeFilter) -> Sequence[Change]:
        """The next ones that are wanted, as soon as there are any; each once, in their order.

        ResyncRequired if they are not kept any more.
        """
        while True:
            found = self._tail.after(self.position)
            if found is None:
                found = await self._read(wanted)
            elif found:
                self.position = found[-1].position
                found = [each for each in found if wanted.matches(each)]
            else:
                await self._tail.growth()
                continue
            if found:
                return found

    async def _read(self, wanted: ChangeFilter) -> Sequence[Change]:
        try:
            read = await read_changes(self._reader, self.position, wanted, limit=_CAUGHT_UP_AT_ONCE)
        except ServiceUnavailable:
            await asyncio.sleep(self._poll.total_seconds())
            return ()
        self.position = read.until
        return read.found


class _Tail:
    """The last changes of a workspace, and a task that reads on."""

    def __init__(self, reader: Reader, poll: timedelta) -> None:
        self.followers = 0
        self.is_torn = False
        """Whether changes were forgotten that it had not read yet, so that it cannot go on."""
        self._reader = reader
        self._poll = poll
        self._kept: deque[tuple[Change, int]] = deque()
        """With the number of their characters."""
        self._characters = 0
        self._following: dict[int, Sequence[Change]] = {}
        """The last so many: nearly all who follow are at the same place."""
        self._end: FeedPosition | None = None
        """Behind the last one; None until it is known where it begins."""
        self._woken = asyncio.Event()
        self._grown = asyncio.Event()
        self._reading = asyncio.create_task(self._read_on())

    def wake(self) -> None:
        self._woken.set()

    async def growth(self) -> None:
        """Return when there is more, or never will be."""
        await self._grown.wait()

    def after(self, position: FeedPosition) -> Sequence[Change] | None:
        """What is known to follow a position; None where only the database knows.

        ResyncRequired once it cannot go on.
        """
        if self.is_torn:
            raise resync_required()
        if self._end is None:
            return ()
        missing = self._end.seq - position.seq
        if missing > len(self._kept):
            return None
        if missing <= 0:
            return ()
        following = self._following.get(missing)
        if following is None:
            following = [each for each, _ in islice(self._kept, len(self._kept) - missing, None)]
            self._following[missing] = following
        return following

    async def end(self) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read_on(self) -> None:
        is_failing = False
        while not self.is_torn:
            found: Sequence[Change] = ()
            try:
                found = await self._read()
                is_failing = False
            except ResyncRequired:
                self.is_torn = True
                self._tell()
            except Exception:  # it is tried again, and those who follow wait
                if not is_failing:  # once is enough of a database that is away for hours
                    logger.warning("changes not read", exc_info=True)
                is_failing = True
            if len(found) < _READ_AT_ONCE:
                # Not by `wait_for`, which may lose the cancellation of one that was woken just now.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll.total_seconds()):
                        await self._woken.wait()
                self._woken.clear()
            else:
                await asyncio.sleep(0)  # a read need not wait, and others have their turn

    async def _read(self) -> Sequence[Change]:
        """What is new, once it is known to those who follow."""
        found: Sequence[Change] = ()
        if self._end is None:
            self._end = await newest_position(self._reader)
            self._tell()
        else:
            found = await changes_following(self._reader, self._end, limit=_READ_AT_ONCE)
            if found:
                self._keep(found)
                self._tell()
        return found

    def _tell(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def _keep(self, found: Sequence[Change]) -> None:
        for change in found:
            characters = len(str(change.changes))
            self._kept.append((change, characters))
            self._characters += characters
            self._end = change.position
        while len(self._kept) > _KEPT or self._characters > _KEPT_CHARACTERS:
            self._characters -= self._kept.popleft()[1]
        self._following.clear()
