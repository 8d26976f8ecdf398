"""What was used last, as much as fits into a number of bytes. Knows nothing of what it keeps."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SizedLRUCache(Generic[K, V]):
    """Forgets what was not used for longest when there is no room."""

    def __init__(self, max_bytes: int, getsizeof: Callable[[K, V], int]) -> None:
        """Zero bytes keep nothing. `size_of` says how many a value takes, and always says the same of it."""
        self._max_bytes = max_bytes
        self._getsizeof = getsizeof
        self._entries: OrderedDict[K, V] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: K) -> V | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value, which is the same for a key each time; one that can never fit is not kept."""
        size = self._getsizeof(key, value)
        if self.get(key) is not None or size > self._max_bytes:
            return
        self._entries[key] = value
        self.size_bytes += size
        while self.size_bytes > self._max_bytes:
            self.size_bytes -= self._getsizeof(*self._entries.popitem(last=False))
