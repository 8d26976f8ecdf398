"""What is made once for the fields of an operation, and is kept as long as it is. Makes nothing itself."""

from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from graphql import OperationDefinitionNode

T = TypeVar("T")


class OperationMemo:
    """Belongs to one operation; whoever keeps the operation keeps this."""

    def __init__(self, definition: OperationDefinitionNode, max_entries: int) -> None:
        """Keeps so many: what stands under conditions may be asked for in any number of ways."""
        self._definition = definition
        self._max_entries = max_entries
        self._values: dict[Hashable, object] = {}
        _MEMOS_BY_DEFINITION_ID[id(definition)] = self

    def belongs_to(self, definition: OperationDefinitionNode) -> bool:
        return self._definition is definition

    def get_or_compute(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What is known by the key, or is made now; keys are of fields of this operation alone."""
        if key not in self._values:
            if len(self._values) >= self._max_entries:
                self._values.clear()
            self._values[key] = compute()
        return cast("T", self._values[key])


_MEMOS_BY_DEFINITION_ID: WeakValueDictionary[int, OperationMemo] = WeakValueDictionary()


def memoize(definition: OperationDefinitionNode, key: Hashable, compute: Callable[[], T]) -> T:
    """What was made for an operation, or is made now: for an operation that nobody keeps, each time."""
    remembered = _MEMOS_BY_DEFINITION_ID.get(id(definition))
    if remembered is None or not remembered.belongs_to(definition):
        return compute()
    return remembered.get_or_compute(key, compute)
