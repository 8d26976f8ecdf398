"""Walking through an argument's value, literal or coerced, and naming the place. Judges nothing."""

from collections.abc import Iterator
from typing import NamedTuple

from graphql import ListValueNode, ObjectValueNode


class ArgumentPath(NamedTuple):
    """A name and what it is in; put together only when shown, for that costs its whole length."""

    name: str
    parent: "ArgumentPath | None" = None

    def __str__(self) -> str:
        """The names from the argument inwards, as in `filter.accountId`."""
        names = []
        place: ArgumentPath | None = self
        while place is not None:
            names.append(place.name)
            place = place.parent
        return ".".join(reversed(names))


def walk_values(path: ArgumentPath, value: object) -> Iterator[tuple[ArgumentPath, object]]:
    """The value and all that it holds, each with its place; items share that of their list.

    Without recursion, and not further than it is asked.
    """
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        yield path, value
        if isinstance(value, ListValueNode):
            pending.extend((path, item) for item in value.values)
        elif isinstance(value, ObjectValueNode):
            pending.extend(
                (ArgumentPath(item.name.value, path), item.value) for item in value.fields
            )
        elif isinstance(value, list):
            pending.extend((path, item) for item in value)
        elif isinstance(value, dict):
            pending.extend((ArgumentPath(str(name), path), item) for name, item in value.items())
