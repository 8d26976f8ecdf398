"""Counts of destinations that need attention, computed once for all clients that ask at the same time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self, TypeAlias

from cachetools import TTLCache

from app.db.core.database import Database, Reader
from app.db.core.types import values_of
from app.db.repositories.board_counts import (
    BOARD_COUNTS,
    MAX_BOARD_COUNT,
    blocked_accounts,
    count_for_board,
)
from app.db.repositories.events import latest_position
from app.domain.ids import WorkspaceId
from app.domain.times import Clock

_TTL = timedelta(seconds=2)
"""Time for which counts are reused while no event follows; some depend on the time alone."""

_MAX_ENTRIES = 1_000

_Key: TypeAlias = tuple[WorkspaceId, datetime, int]


@dataclass(frozen=True, slots=True)
class CappedNumber:
    """Number that is counted up to MAX_BOARD_COUNT."""

    count: int
    capped: bool
    """True if the number is larger."""

    @classmethod
    def from_number(cls, number: int) -> Self:
        return cls(min(number, MAX_BOARD_COUNT), number > MAX_BOARD_COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardNumbers:
    """Numbers of destinations, and of accounts."""

    failed: CappedNumber
    unknown: CappedNumber
    overdue: CappedNumber
    retrying: CappedNumber
    publishing: CappedNumber
    due_soon: CappedNumber
    will_fail: CappedNumber
    invalid_content: CappedNumber
    media_warning: CappedNumber
    duplicated: CappedNumber
    broken_accounts: CappedNumber


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Lock of the caller that counts; the others wait for its result."""
    result: BoardNumbers | Exception | None = None


class BoardCounter:
    """Counter whose results are shared by all callers with the same arguments and position of the feed."""

    def __init__(self, database: Database, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._entries: TTLCache[_Key, _Entry] = TTLCache(
            _MAX_ENTRIES, _TTL.total_seconds(), monotonic
        )

    async def count(self, workspace_id: WorkspaceId, since: datetime) -> BoardNumbers:
        """Return counts that include all committed changes; `since` limits failures and duplicates.

        All callers that wait for one computation share its exception.
        """
        reader = self._database.reader(workspace_id)
        position = await latest_position(reader)
        key = (workspace_id, since, position.seq)
        entry = self._entries.setdefault(key, _Entry())
        async with entry.lock:
            if entry.result is None:
                entry.result = await self._try_count(reader, since)
                self._entries[key] = entry  # its two seconds begin now
        if isinstance(entry.result, Exception):
            if self._entries.get(key) is entry:
                del self._entries[key]
            raise entry.result
        return entry.result

    async def _try_count(self, reader: Reader, since: datetime) -> BoardNumbers | Exception:
        try:
            return await _count(reader, since, self._clock())
        except Exception as error:  # noqa: BLE001 - raised to each caller
            return error


async def _count(reader: Reader, since: datetime, now: datetime) -> BoardNumbers:
    blocked = await blocked_accounts(reader, now)
    failing_ids = [account.id for account in blocked if not account.awaits_reconnection]
    row = await count_for_board(reader, since=since, now=now, failing_ids=failing_ids)
    numbers = {**values_of(row, BOARD_COUNTS), "broken_accounts": len(blocked)}
    return BoardNumbers(
        **{name: CappedNumber.from_number(number) for name, number in numbers.items()}
    )
