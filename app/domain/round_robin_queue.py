"""Queue that returns items round robin by caller."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, KeysView
from typing import Generic, TypeVar

Item = TypeVar("Item")


class RoundRobinQueue(Generic[Item]):
    """Queue with one item of each caller before the second of any; those of one caller stay in order."""

    def __init__(self) -> None:
        self._items: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        """Items of each caller that has any; the first caller is the next."""

    def __bool__(self) -> bool:
        return bool(self._items)

    def count(self, caller: Hashable) -> int:
        """Return the number of items of one caller."""
        return len(self._items.get(caller, ()))

    def callers(self) -> KeysView[Hashable]:
        """Return the callers of all items."""
        return self._items.keys()

    def append(self, caller: Hashable, item: Item) -> None:
        self._items.setdefault(caller, deque()).append(item)

    def pop(self) -> Item:
        """Remove and return the next item; raises KeyError if there is none."""
        caller, items = self._items.popitem(last=False)
        return self._pop_first_item(caller, items)

    def pop_if(self, is_allowed: Callable[[Hashable], bool]) -> Item | None:
        """Remove and return the next item of a caller that is allowed; None if there is none.

        Callers before it stay in front: each of them is the next as soon as it is allowed.
        """
        for caller in self._items:
            if is_allowed(caller):
                return self._pop_first_item(caller, self._items.pop(caller))
        return None

    def discard(self, caller: Hashable, item: Item) -> None:
        """Remove an item of a caller, if it is still there."""
        items = self._items.get(caller)
        if items is not None and item in items:
            items.remove(item)
            if not items:
                del self._items[caller]

    def _pop_first_item(self, caller: Hashable, items: deque[Item]) -> Item:
        item = items.popleft()
        if items:
            self._items[caller] = items  # after all other callers
        return item
