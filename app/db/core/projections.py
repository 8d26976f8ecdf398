"""What of a table a reader asks for: which columns, and which rows of other tables along with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias

from sqlalchemy import Label
from sqlalchemy.orm import InstrumentedAttribute

from app.db.core.statements import LABEL_SEPARATOR

STATEMENT_CACHE_SIZE = 128
"""Of each kind; clients choose what they ask for, so only what was asked for last is kept."""

cached_statement = partial(lru_cache, STATEMENT_CACHE_SIZE)
"""Makes a function remember the queries that it has built."""

ColumnNames: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True)
class Projection:
    """Columns of a row by their names, and of rows that belong to it; without a name, all are meant."""

    columns: ColumnNames | None = None
    relations: Mapping[str, "Projection"] = field(default_factory=dict)
    _hash: int = field(init=False, repr=False, compare=False)
    """Each read looks for its query by the shape."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.columns, frozenset(self.relations))))

    def __hash__(self) -> int:
        return self._hash

    def union(self, other: "Projection") -> "Projection":
        """What either of them asks for."""
        is_whole = self.columns is None or other.columns is None
        columns = (
            None if is_whole else (self.columns or frozenset()) | (other.columns or frozenset())
        )
        along = dict(self.relations)
        for name, shape in other.relations.items():
            along[name] = along[name].union(shape) if name in along else shape
        return Projection(columns, along)

    def relation(self, name: str) -> "Projection | None":
        """What is asked for of such a row; None if nothing is."""
        return self.relations.get(name)


ALL_COLUMNS = Projection()


def projected_columns(
    columns: Iterable[InstrumentedAttribute[Any]], projection: Projection, *required_names: str
) -> list[InstrumentedAttribute[Any]]:
    """Those of the columns that are asked for, and those that are needed whatever is."""
    wanted = projection.columns
    return [
        each
        for each in columns
        if wanted is None or each.key in wanted or each.key in required_names
    ]


def labelled_columns(
    relation: str,
    columns: Iterable[InstrumentedAttribute[Any]],
    projection: Projection,
    *required_names: str,
) -> list[Label[Any]]:
    """The same, of a row that comes along with another one."""
    return [
        each.label(f"{relation}{LABEL_SEPARATOR}{each.key}")
        for each in projected_columns(columns, projection, *required_names)
    ]
