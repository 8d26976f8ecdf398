"""Declares where the fields of row-backed GraphQL types get their values.

| value | source |
|---|---|
| one column | `Column`, by `column()` |
| a function of columns, and of the time if needed | `Computed` |
| the result of the resolver, which uses only columns and the time | `FromResolver` |
| a function of columns of the joined row, or of prefetched rows | `FromRelated`, `FromPrefetched` |
| the joined row, or prefetched rows, as objects | `ToOne`, `ToMany` |
| rows that the resolver loads by another statement | `Deferred` |

`schema.lookahead` derives from these declarations which columns and relations to read. `engine.compiler`
derives from them how to complete a field without a call of its resolver, except for `Deferred`. The
differential test of compiled execution proves that the resolvers return the same values.
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
"""Key of Strawberry's definition in the `extensions` of a graphql-core type or field."""

_FIELD_SOURCE_KEY = "field_source"

NO_RELATIONS: Mapping[str, Sequence[AnyRow]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Column:
    """Value of one column."""

    name: str


@dataclass(frozen=True, slots=True)
class FromResolver:
    """Source of a field whose resolver computes the value from these columns and the read time."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """Value of a function of these columns; with `uses_now`, the read time is its last argument.

    `null_for` names values of the first column for which the function returns None, so that it need not be
    called.
    """

    columns: tuple[str, ...]
    compute: Callable[..., object]
    uses_now: bool = False
    null_for: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FromRelated:
    """Value of a function of these columns of the joined row."""

    relation: str
    columns: tuple[str, ...]
    compute: Callable[..., object]


@dataclass(frozen=True, slots=True)
class FromPrefetched:
    """Value of a function of the prefetched rows of another table, which have these columns."""

    relation: str
    key: tuple[str, ...]
    """Columns by which the rows are found."""
    columns: tuple[str, ...]
    compute: Callable[[Sequence[AnyRow]], object]


@dataclass(frozen=True, slots=True)
class ToOne:
    """Joined row, as an object; in a change, the object read with it."""

    relation: str


@dataclass(frozen=True, slots=True)
class ToMany:
    """Prefetched rows of another table, as objects."""

    relation: str
    key: tuple[str, ...]
    """Columns by which the rows are found."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Source of a field whose resolver loads more rows by these columns."""

    columns: tuple[str, ...]


FieldSource = (
    Column | FromResolver | Computed | FromRelated | FromPrefetched | ToOne | ToMany | Deferred
)


def column(description: str, *, name: str | None = None) -> Any:
    """Declare a field that is a column; `name` is the column if it differs from the field."""
    return sourced_field(description, Column(name or ""))


def sourced_field(description: str, source: FieldSource, *, graphql_type: Any = None) -> Any:
    """Declare a field with this source; the decorator of its resolver, if it has one."""
    return strawberry.field(
        description=description, metadata={_FIELD_SOURCE_KEY: source}, graphql_type=graphql_type
    )


def field_source(field: StrawberryField) -> FieldSource | None:
    """Return the declared source of a field; None if the field does not depend on a row."""
    source: FieldSource | None = field.metadata.get(_FIELD_SOURCE_KEY)
    if isinstance(source, Column) and not source.name:
        return Column(field.python_name)
    return source


class RowBacked:
    """Base of GraphQL types whose plain fields are the columns of one row."""

    row: AnyRow
    now: datetime
    """Time of the read, for fields that depend on the time."""
    prefetched: Mapping[str, Sequence[AnyRow]]
    """Rows of other tables that were read with the row, by the name of the relation."""

    _columns: Mapping[str, str]
    """Column names by field name."""

    @classmethod
    def from_row(
        cls, row: AnyRow, now: datetime, prefetched: Mapping[str, Sequence[AnyRow]] = NO_RELATIONS
    ) -> Self:
        instance = object.__new__(cls)
        instance.row, instance.now, instance.prefetched = row, now, prefetched
        return instance

    def __getattr__(self, name: str) -> Any:
        """Return the column of a plain field."""
        columns = type(self)._columns_by_field()
        if name not in columns:
            raise AttributeError(name)
        return getattr(self.row, columns[name])

    @classmethod
    def _columns_by_field(cls) -> Mapping[str, str]:
        if "_columns" not in cls.__dict__:
            fields: Sequence[StrawberryField] = cls.__strawberry_definition__.fields  # type: ignore[attr-defined]
            sources = ((field.python_name, field_source(field)) for field in fields)
            cls._columns = {
                name: source.name for name, source in sources if isinstance(source, Column)
            }
        return cls._columns


def related_row(row: AnyRow, relation: str) -> AnyRow | None:
    """Return the row that was joined to another one; None if the relation was not selected."""
    return row.related_row(relation) if isinstance(row, Record | RelatedRecord) else None
