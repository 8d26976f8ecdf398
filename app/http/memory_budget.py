"""Limits the memory that shared objects hold, and divides it between API keys."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn


class MemoryBudget:
    """Counter of the memory that objects of one kind hold in this process, in total and per API key.

    A key may hold as much memory as remains free. One key alone can thus hold half of the limit, two keys a
    third each, and some is always left for another key. This is the rule of Choudhury and Hahne, "Dynamic
    Queue Length Thresholds for Shared-Memory Packet Switches" (1998), with the factor one.

    An object that is held several times counts once. It counts for each key that holds it.
    """

    def __init__(self, max_bytes: int, make_error: Callable[[], Exception]) -> None:
        """Set the limit; `make_error` returns the exception to raise above it."""
        self._max_bytes = max_bytes
        self._make_error = make_error
        self._total = _HeldObjects()
        self._by_key: dict[Hashable, _HeldObjects] = {}

    def check(self, key: Hashable, sizes: Mapping[Hashable, int]) -> None:
        """Raise the error if the key may not hold these objects, whose values are their bytes.

        Objects that are held already need no memory. While nothing is held, objects of any size may be.
        """
        new_bytes = sum(size for item, size in sizes.items() if item not in self._total)
        if not new_bytes or not self._total.bytes:
            return
        if self._key_bytes(key) + new_bytes > self._max_bytes - self._total.bytes:
            self._refuse(key)

    def check_share(self, key: Hashable) -> None:
        """Raise the error if the key holds as much as remains free, or more; never if it holds nothing."""
        if key in self._by_key and self._key_bytes(key) >= self._max_bytes - self._total.bytes:
            self._refuse(key)

    @contextmanager
    def reserve(self, key: Hashable, sizes: Mapping[Hashable, int]) -> Iterator[None]:
        """Count the objects while the context is open; raises what `check` raises."""
        self.check(key, sizes)
        with self.count(key, sizes):
            yield

    @contextmanager
    def count(self, key: Hashable, sizes: Mapping[Hashable, int]) -> Iterator[None]:
        """Count the objects while the context is open, also above the limit."""
        of_key = self._by_key.setdefault(key, _HeldObjects())
        for item, size in sizes.items():
            self._total.add(item, size)
            of_key.add(item, size)
        try:
            yield
        finally:
            for item in sizes:
                self._total.remove(item)
                of_key.remove(item)
            if not of_key:
                del self._by_key[key]

    def watch_refusals(self, key: Hashable) -> Callable[[], bool]:
        """Return a function that returns True if a refusal since its last call was caused by the key.

        The key must hold an object meanwhile. It causes the refusals of its own objects, and those of keys
        that hold no more than it does.
        """
        of_key = self._by_key[key]
        seen = of_key.refusals

        def was_refused() -> bool:
            nonlocal seen
            before, seen = seen, of_key.refusals
            return seen != before

        return was_refused

    def _key_bytes(self, key: Hashable) -> int:
        return self._by_key[key].bytes if key in self._by_key else 0

    def _refuse(self, key: Hashable) -> NoReturn:
        refused_bytes = self._key_bytes(key)
        for held in self._by_key.values():
            if held.bytes >= refused_bytes:
                held.refusals += 1
        raise self._make_error()


class _HeldObjects:
    """Objects with the number of their holders, and the sum of their sizes."""

    def __init__(self) -> None:
        self._sizes: dict[Hashable, int] = {}
        self._holder_counts: dict[Hashable, int] = {}
        self.bytes = 0
        self.refusals = 0
        """Refusals of other objects that these have caused."""

    def __contains__(self, item: object) -> bool:
        return item in self._sizes

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def add(self, item: Hashable, size: int) -> None:
        """Count one more holder; the size of an object is that of its first one."""
        if item not in self._sizes:
            self._sizes[item] = size
            self._holder_counts[item] = 0
            self.bytes += size
        self._holder_counts[item] += 1

    def remove(self, item: Hashable) -> None:
        self._holder_counts[item] -= 1
        if not self._holder_counts[item]:
            del self._holder_counts[item]
            self.bytes -= self._sizes.pop(item)
