"""Projections: which columns of a table a statement selects, and which related rows come with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import Label
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from app.db.core.statements import LABEL_SEPARATOR

_STATEMENT_CACHE_SIZE = 128
"""Statements of one kind that stay cached; clients choose the projections, so the number is bounded."""

cached_statement = partial(lru_cache, _STATEMENT_CACHE_SIZE)
"""Decorator factory that caches the statements a function builds."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Selected columns of a row and of its related rows; `columns=None` selects all columns."""

    columns: frozenset[str] | None = None
    relations: Mapping[str, "Projection"] = field(default_factory=dict)
    """Projections of the selected related rows, by name."""
    _hash: int = field(init=False, repr=False, compare=False)
    """Computed once, because each read finds its cached statement by the projection."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.columns, frozenset(self.relations))))

    def __hash__(self) -> int:
        return self._hash

    def union(self, other: "Projection") -> "Projection":
        """Return a projection with the columns and relations of both."""
        columns = (
            None if self.columns is None or other.columns is None else self.columns | other.columns
        )
        relations = dict(self.relations)
        for name, projection in other.relations.items():
            relations[name] = relations[name].union(projection) if name in relations else projection
        return Projection(columns, relations)


ALL_COLUMNS = Projection()


def columns_except(
    model: type[DeclarativeBase], *excluded: str
) -> tuple[InstrumentedAttribute[Any], ...]:
    """Return the columns of a table without `workspace_id` and the excluded ones."""
    return tuple(
        getattr(model, column.key)
        for column in model.__table__.columns
        if column.key not in ("workspace_id", *excluded)
    )


def projected_columns(
    columns: Iterable[InstrumentedAttribute[Any]], projection: Projection, *required_names: str
) -> list[InstrumentedAttribute[Any]]:
    """Return the columns that the projection selects, and the required ones."""
    selected = projection.columns
    return [
        column
        for column in columns
        if selected is None or column.key in selected or column.key in required_names
    ]


def labelled_columns(
    relation: str,
    columns: Iterable[InstrumentedAttribute[Any]],
    projection: Projection,
    *required_names: str,
) -> list[Label[Any]]:
    """Return the projected columns of a related row, labelled `relation__column`."""
    return [
        column.label(f"{relation}{LABEL_SEPARATOR}{column.key}")
        for column in projected_columns(columns, projection, *required_names)
    ]
