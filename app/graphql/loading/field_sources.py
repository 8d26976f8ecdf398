"""How an object shows a row: which fields are columns, and what of the row the others read. No types.

The declarations here are for whoever reads rows (which columns a document needs) and for whoever
completes answers (what a field's value is without calling its resolver); the resolvers say the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

import strawberry
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from app.db.core.statements import AnyRow, Record, RelatedRecord

STRAWBERRY_DEFINITION = GraphQLCoreConverter.DEFINITION_BACKREF
"""Where a type or a field of graphql-core, in its extensions, has that of Strawberry."""

_SOURCE_KEY = "shown"

NO_RELATIONS: Mapping[str, Sequence[AnyRow]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Column:
    """The field's value is that of a column."""

    name: str


@dataclass(frozen=True, slots=True)
class FromResolver:
    """The field's value is told by its resolver, which needs nothing but these columns and the time."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """The field's value is told by a function of these columns, and behind them of the time if need be."""

    columns: tuple[str, ...]
    compute: Callable[..., object]
    uses_now: bool = False


@dataclass(frozen=True, slots=True)
class FromRelated:
    """The field's value is told by a function of these columns of the row that came along."""

    relation: str
    columns: tuple[str, ...]
    compute: Callable[..., object]


@dataclass(frozen=True, slots=True)
class ToOne:
    """The field's value is the row that came along, as an object."""

    relation: str


@dataclass(frozen=True, slots=True)
class ToMany:
    """The field's value are rows of another table, as objects; they are found by these columns."""

    relation: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deferred:
    """The field's value is told by its resolver, which loads more by these columns.

    Where `Many` of that name came along already, it needs these columns of theirs instead.
    """

    columns: tuple[str, ...]
    relation: str | None = None
    relation_columns: tuple[str, ...] = ()


FieldSource = Column | FromResolver | Computed | FromRelated | ToOne | ToMany | Deferred


def column(description: str, *, name: str | None = None) -> Any:
    """A field that is a column of the row, which has the field's name unless another one is given."""
    return strawberry.field(description=description, metadata={_SOURCE_KEY: Column(name or "")})


def source_metadata(source: FieldSource) -> Mapping[str, object]:
    """The metadata of a field with a resolver."""
    return {_SOURCE_KEY: source}


def field_source(field: StrawberryField) -> FieldSource | None:
    """How a field shows the row of its object; None for one that has nothing to do with a row."""
    how: FieldSource | None = field.metadata.get(_SOURCE_KEY)
    if isinstance(how, Column) and not how.name:
        return Column(field.python_name)
    return how


class RowBacked:
    """An object that shows a row and holds nothing else; its plain fields are columns."""

    row: AnyRow
    now: datetime
    """When the row was read, for what depends on the time."""
    prefetched: Mapping[str, Sequence[AnyRow]]
    """Rows of other tables that were read together with it, by the name that `Many` gives them."""

    _columns: Mapping[str, str]
    """Of each plain field, by its name."""

    @classmethod
    def from_row(
        cls, row: AnyRow, now: datetime, prefetched: Mapping[str, Sequence[AnyRow]] = NO_RELATIONS
    ) -> Self:
        made = object.__new__(cls)
        made.row, made.now, made.prefetched = row, now, prefetched
        return made

    def __getattr__(self, name: str) -> Any:
        """What a plain field shows."""
        columns = type(self)._columns_by_field()
        if name not in columns:
            raise AttributeError(name)
        return getattr(self.row, columns[name])

    @classmethod
    def _columns_by_field(cls) -> Mapping[str, str]:
        if "_columns" not in cls.__dict__:
            fields: Sequence[StrawberryField] = cls.__strawberry_definition__.fields  # type: ignore[attr-defined]
            each = ((field.python_name, field_source(field)) for field in fields)
            cls._columns = {name: how.name for name, how in each if isinstance(how, Column)}
        return cls._columns


def related_row(row: AnyRow, relation: str) -> AnyRow | None:
    """The row that came along with another one; None where none was asked for."""
    return row.related_row(relation) if isinstance(row, Record | RelatedRecord) else None
