"""What is made once for the fields of an operation, and is kept as long as it is. Makes nothing itself."""

from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from graphql import OperationDefinitionNode

T = TypeVar("T")


class Remembered:
    """Belongs to one operation; whoever keeps the operation keeps this."""

    def __init__(self, definition: OperationDefinitionNode, most: int) -> None:
        """Keeps so many: what stands under conditions may be asked for in any number of ways."""
        self._definition = definition
        self._most = most
        self._made: dict[Hashable, object] = {}
        _BY_DEFINITION[id(definition)] = self

    def is_of(self, definition: OperationDefinitionNode) -> bool:
        return self._definition is definition

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is known by the key, or is made now; keys are of fields of this operation alone."""
        if key not in self._made:
            if len(self._made) >= self._most:
                self._made.clear()
            self._made[key] = make()
        return cast("T", self._made[key])


_BY_DEFINITION: WeakValueDictionary[int, Remembered] = WeakValueDictionary()


def once(definition: OperationDefinitionNode, key: Hashable, make: Callable[[], T]) -> T:
    """What was made for an operation, or is made now: for an operation that nobody keeps, each time."""
    remembered = _BY_DEFINITION.get(id(definition))
    if remembered is None or not remembered.is_of(definition):
        return make()
    return remembered.get(key, make)
