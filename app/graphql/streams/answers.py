"""Answers that are made once for all who ask the same of the same change. Knows no operations."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta

KEPT_FOR = timedelta(seconds=2)
"""An answer tells how things are: whoever comes later is told how they are then."""
MAX_BYTES = 4 << 20
_BYTES_BESIDE = 500
"""What an answer takes in memory beside itself: its key and its place."""
_MADE_AT_ONCE = 4
"""So that all else that a server does gets its turns, however many different answers a change has."""

NOTHING = ""
"""The answer of a change that is not to be told after all."""

Key = Hashable
"""The change, and whatever makes a difference to its answer."""


@dataclass(frozen=True, slots=True)
class Made:
    answer: str
    is_sound: bool
    """Whether nothing of it went wrong, so that others may be told the same a moment later."""


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: str
    until: float
    bytes: int


class SharedAnswers:
    """Whoever asks first has it made; all others wait for it, or find it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._kept: dict[Key, _Kept] = {}
        """In the order in which they were made."""
        self._bytes = 0
        self._making: dict[Key, asyncio.Task[str]] = {}
        self._turns = asyncio.Semaphore(_MADE_AT_ONCE)

    async def get(self, key: Key, make: Callable[[], Awaitable[Made]]) -> str:
        """The answer, or why it could not be made, for everybody who waits for it alike."""
        found = self._kept.get(key)
        if found is not None and self._monotonic() < found.until:
            return found.answer
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._make(key, make))
            making.add_done_callback(_look_at)
        # Whoever leaves must not take it from the others.
        return await asyncio.shield(making)

    async def end(self) -> None:
        """Leave what is being made, for nobody waits for it any more."""
        making = set(self._making.values())
        for each in making:
            each.cancel()
        if making:
            await asyncio.wait(making)

    async def _make(self, key: Key, make: Callable[[], Awaitable[Made]]) -> str:
        try:
            async with self._turns:
                made = await make()
                if made.is_sound:
                    self._keep(key, made.answer)
                await asyncio.sleep(0)  # what is read at once lets nobody else have a turn
            return made.answer
        finally:
            del self._making[key]

    def _keep(self, key: Key, answer: str) -> None:
        now = self._monotonic()
        self._forget(key)
        kept = _Kept(answer, now + KEPT_FOR.total_seconds(), sys.getsizeof(answer) + _BYTES_BESIDE)
        self._kept[key] = kept
        self._bytes += kept.bytes
        while self._kept:
            oldest = next(iter(self._kept))
            if self._bytes <= MAX_BYTES and now < self._kept[oldest].until:
                break
            self._forget(oldest)

    def _forget(self, key: Key) -> None:
        if forgotten := self._kept.pop(key, None):
            self._bytes -= forgotten.bytes


def _look_at(making: "asyncio.Task[str]") -> None:
    """All who waited may have left, and then nobody else asks what went wrong."""
    if not making.cancelled():
        making.exception()
