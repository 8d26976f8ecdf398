"""A driver that replaces column values of SQLite rows by invalid ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from hypothesis import strategies as st
from strawberry.types import get_object_definition

from app.db.core.database import ReadDriver
from app.db.core.statements import CompiledStatement, Record
from app.graphql.loading.field_sources import Column, field_source
from app.graphql.schema.accounts import Account
from app.graphql.schema.destinations import Destination
from app.graphql.schema.posts import Post

INVALID_VALUES: tuple[object, ...] = (
    None,
    -1,
    7,
    2**31,
    1.5,
    "",
    "nope",
    "2026-13-45 00:00:00.000000",
    "2026-04-15",
    "[1",
    '{"a": 1}',
    b"x",
)
COLUMNS = sorted(
    {
        source.name
        for type_ in (Post, Destination, Account)
        for field_ in get_object_definition(type_, strict=True).fields
        if isinstance(source := field_source(field_), Column)
    }
    | {"claimable_at", "round_started_at", "started_at", "token_expires_at", "retry_after_ms"}
    | {"number", "kind", "http_status", "finished_at"}
)
"""Columns of fields, and some that resolvers and loaders read."""


@dataclass(frozen=True, slots=True)
class ColumnCorruption:
    """Replaces a column in one of `row_interval` rows, always the same ones."""

    column: str
    value: object
    row_interval: int


_SINGLE_CORRUPTION = st.builds(
    ColumnCorruption, st.sampled_from(COLUMNS), st.sampled_from(INVALID_VALUES), st.integers(1, 4)
)
corruptions: st.SearchStrategy[list[ColumnCorruption]] = st.one_of(
    st.just([]),
    st.lists(_SINGLE_CORRUPTION, min_size=1, max_size=3),
    st.lists(_SINGLE_CORRUPTION, min_size=8, max_size=20),
    st.lists(_SINGLE_CORRUPTION, min_size=8, max_size=20),
)
"""Mostly many, because a document selects few columns."""


@dataclass(slots=True)
class CorruptingDriver:
    """A driver that corrupts the rows it reads."""

    corruptions: Sequence[ColumnCorruption] = ()
    driver: ReadDriver = field(init=False)

    def __call__(self, driver: ReadDriver) -> "CorruptingDriver":
        self.driver = driver
        return self

    async def fetch(
        self, query: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        rows = await self.driver.fetch(query, arguments)
        return [self._corrupt(row) for row in rows]

    async def close(self) -> None:
        await self.driver.close()

    def _corrupt(self, row: Record) -> Record:
        index_maps = [row.indexes, *(related.indexes for related in row.related_classes.values())]
        corrupted = {
            indexes[corruption.column]: corruption.value
            for corruption in self.corruptions
            for indexes in index_maps
            if corruption.column in indexes
            and _row_number(row, indexes) % corruption.row_interval == 0
        }
        if not corrupted:
            return row
        values = (corrupted.get(index, value) for index, value in enumerate(row))
        return type(row)(values)  # type: ignore[call-arg]


def _row_number(row: Record, indexes: Mapping[str, int]) -> int:
    """Hash of the key of a row or joined row, since the order of rows varies."""
    key = next(name for name in ("id", "destination_id", *indexes) if name in indexes)
    return crc32(repr(row[indexes[key]]).encode())
