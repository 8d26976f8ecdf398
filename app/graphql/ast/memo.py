"""Per-operation memo of values derived from the operation's fields."""

from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from graphql import OperationDefinitionNode

T = TypeVar("T")


class OperationMemo:
    """Values memoized for one operation; lives as long as its owner keeps a reference."""

    def __init__(self, definition: OperationDefinitionNode, max_entries: int) -> None:
        """Set the limit of entries, which matters for selections under conditions: they have many keys."""
        self._definition = definition
        self._max_entries = max_entries
        self._values: dict[Hashable, object] = {}
        _MEMOS_BY_DEFINITION_ID[id(definition)] = self

    def belongs_to(self, definition: OperationDefinitionNode) -> bool:
        return self._definition is definition

    def get_or_compute(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the stored value, or compute and store it. A full memo is cleared first."""
        if key not in self._values:
            if len(self._values) >= self._max_entries:
                self._values.clear()
            self._values[key] = compute()
        return cast("T", self._values[key])


# By id, since hashing an AST node hashes its whole subtree.
_MEMOS_BY_DEFINITION_ID: WeakValueDictionary[int, OperationMemo] = WeakValueDictionary()


def memoize(definition: OperationDefinitionNode, key: Hashable, compute: Callable[[], T]) -> T:
    """Return the operation's memoized value; computed each time for an operation without a memo.

    `key` must identify fields of this operation only.
    """
    memo = _MEMOS_BY_DEFINITION_ID.get(id(definition))
    if memo is None or not memo.belongs_to(definition):
        return compute()
    return memo.get_or_compute(key, compute)
