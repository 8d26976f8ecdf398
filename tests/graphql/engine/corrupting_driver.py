"""Values that no column should have, put into rows on their way from SQLite's driver. No documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from hypothesis import strategies as st
from strawberry.types import get_object_definition

from app.db.core.database import Driver
from app.db.core.statements import CompiledStatement, Record
from app.graphql.loading.field_sources import Column, field_source
from app.graphql.schema.types import Account, Destination, Post

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
        shown.name
        for each in (Post, Destination, Account)
        for field_ in get_object_definition(each, strict=True).fields
        if isinstance(shown := field_source(field_), Column)
    }
    | {"claimable_at", "round_started_at", "started_at", "token_expires_at", "retry_after_ms"}
    | {"number", "kind", "http_status", "finished_at"}
)
"""Those that are shown, and some that resolvers and loaders look at."""


@dataclass(frozen=True, slots=True)
class ColumnCorruption:
    """A column has another value in one of so many rows, in the same ones however they are read."""

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
"""Mostly many, for a document shows few columns."""


@dataclass(slots=True)
class CorruptingDriver:
    """A driver that breaks what it has read."""

    corruptions: Sequence[ColumnCorruption] = ()
    driver: Driver = field(init=False)

    def __call__(self, driver: Driver) -> "CorruptingDriver":
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
        known = [row.indexes, *(part.indexes for part in row.related_classes.values())]
        changed = {
            places[each.column]: each.value
            for each in self.corruptions
            for places in known
            if each.column in places and _row_number(row, places) % each.row_interval == 0
        }
        if not changed:
            return row
        values = (changed.get(place, value) for place, value in enumerate(row))
        return type(row)(values)  # type: ignore[call-arg]


def _row_number(row: Record, indexes: Mapping[str, int]) -> int:
    """Of a row or of one that came along, by its key: rows are not always read in the same order."""
    key = next(name for name in ("id", "destination_id", *indexes) if name in indexes)
    return crc32(repr(row[indexes[key]]).encode())
