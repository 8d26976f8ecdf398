"""Answers that are made once for all who ask the same of the same change. Knows no operations."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable

from app.graphql.recent import Recent

MAX_BYTES = 4 << 20
_BYTES_BESIDE = 500
"""What an answer takes in memory beside itself: its key and its place."""

NOTHING = ""
"""The answer of a change that is not to be told after all."""

Key = Hashable
"""The change, and whatever makes a difference to its answer."""


class SharedAnswers:
    """Whoever asks first has it made; all others wait for it, or find it."""

    def __init__(self) -> None:
        self._recent: Recent[Key, str] = Recent(
            MAX_BYTES, lambda _, answer: sys.getsizeof(answer) + _BYTES_BESIDE
        )
        self._making: dict[Key, asyncio.Task[str]] = {}

    async def get(self, key: Key, make: Callable[[], Awaitable[str]]) -> str:
        """The answer, or why it could not be made, for everybody who waits for it alike."""
        found = self._recent.get(key)
        if found is not None:
            return found
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._make(key, make))
            making.add_done_callback(_look_at)
        # Whoever leaves must not take it from the others.
        return await asyncio.shield(making)

    async def _make(self, key: Key, make: Callable[[], Awaitable[str]]) -> str:
        try:
            answer = await make()
            self._recent.put(key, answer)
            return answer
        finally:
            del self._making[key]


def _look_at(making: "asyncio.Task[str]") -> None:
    """All who waited may have left, and then nobody else asks what went wrong."""
    if not making.cancelled():
        making.exception()
