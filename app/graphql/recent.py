"""What was used last, as much as fits into a number of bytes. Knows nothing of what it keeps."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Forgets what was not used for longest when there is no room."""

    def __init__(self, max_bytes: int, size_of: Callable[[K, V], int]) -> None:
        """Zero bytes keep nothing. `size_of` says how many a value takes, and always says the same of it."""
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._kept: OrderedDict[K, V] = OrderedDict()
        self.bytes = 0

    def get(self, key: K) -> V | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value, which is the same for a key each time; one that can never fit is not kept."""
        size = self._size_of(key, value)
        if self.get(key) is not None or size > self._max_bytes:
            return
        self._kept[key] = value
        self.bytes += size
        while self.bytes > self._max_bytes:
            self.bytes -= self._size_of(*self._kept.popitem(last=False))
