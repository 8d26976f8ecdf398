"""What of a table a reader asks for: which columns, and which rows of other tables along with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias

from sqlalchemy import Label
from sqlalchemy.orm import InstrumentedAttribute

from app.db.queries import PART_MARK

KEPT_QUERIES = 128
"""Of each kind; clients choose what they ask for, so only what was asked for last is kept."""

kept = partial(lru_cache, KEPT_QUERIES)
"""Makes a function remember the queries that it has built."""

Columns: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns of a row by their names, and of rows that belong to it; without a name, all are meant."""

    columns: Columns | None = None
    along: Mapping[str, "Shape"] = field(default_factory=dict)
    _hash: int = field(init=False, repr=False, compare=False)
    """Each read looks for its query by the shape."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.columns, frozenset(self.along))))

    def __hash__(self) -> int:
        return self._hash

    def with_all_of(self, other: "Shape") -> "Shape":
        """What either of them asks for."""
        is_whole = self.columns is None or other.columns is None
        columns = (
            None if is_whole else (self.columns or frozenset()) | (other.columns or frozenset())
        )
        along = dict(self.along)
        for name, shape in other.along.items():
            along[name] = along[name].with_all_of(shape) if name in along else shape
        return Shape(columns, along)

    def part(self, name: str) -> "Shape | None":
        """What is asked for of such a row; None if nothing is."""
        return self.along.get(name)


WHOLE = Shape()


def selected(
    columns: Iterable[InstrumentedAttribute[Any]], shape: Shape, *always: str
) -> list[InstrumentedAttribute[Any]]:
    """Those of the columns that are asked for, and those that are needed whatever is."""
    wanted = shape.columns
    return [each for each in columns if wanted is None or each.key in wanted or each.key in always]


def as_part(
    part: str, columns: Iterable[InstrumentedAttribute[Any]], shape: Shape, *always: str
) -> list[Label[Any]]:
    """The same, of a row that comes along with another one."""
    return [
        each.label(f"{part}{PART_MARK}{each.key}") for each in selected(columns, shape, *always)
    ]
