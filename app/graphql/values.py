"""Walking through an argument's value, literal or coerced, and naming the place. Judges nothing."""

from collections.abc import Iterator
from typing import NamedTuple

from graphql import ListValueNode, ObjectValueNode


class Place(NamedTuple):
    """A name and what it is in; put together only when shown, for that costs its whole length."""

    name: str
    outer: "Place | None" = None

    def __str__(self) -> str:
        """The names from the argument inwards, as in `filter.accountId`."""
        names = []
        place: Place | None = self
        while place is not None:
            names.append(place.name)
            place = place.outer
        return ".".join(reversed(names))


def values_in(place: Place, value: object) -> Iterator[tuple[Place, object]]:
    """The value and all that it holds, each with its place; items share that of their list.

    Without recursion, and not further than it is asked.
    """
    pending = [(place, value)]
    while pending:
        place, value = pending.pop()
        yield place, value
        if isinstance(value, ListValueNode):
            pending.extend((place, item) for item in value.values)
        elif isinstance(value, ObjectValueNode):
            pending.extend((Place(item.name.value, place), item.value) for item in value.fields)
        elif isinstance(value, list):
            pending.extend((place, item) for item in value)
        elif isinstance(value, dict):
            pending.extend((Place(str(name), place), item) for name, item in value.items())
