"""Values that no column should have, put into rows on their way from SQLite's driver. No documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from hypothesis import strategies as st
from strawberry.types import get_object_definition

from app.db.engine import Driver
from app.db.queries import Prepared, Record
from app.graphql.rows import Column, shown_as
from app.graphql.types import Account, Destination, Post

STRANGE: tuple[object, ...] = (
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
        if isinstance(shown := shown_as(field_), Column)
    }
    | {"claimable_at", "round_started_at", "started_at", "token_expires_at", "retry_after_ms"}
    | {"number", "kind", "http_status", "finished_at"}
)
"""Those that are shown, and some that resolvers and loaders look at."""


@dataclass(frozen=True, slots=True)
class Breakage:
    """A column has another value in one of so many rows, in the same ones however they are read."""

    column: str
    value: object
    every: int


_ONE = st.builds(Breakage, st.sampled_from(COLUMNS), st.sampled_from(STRANGE), st.integers(1, 4))
BREAKAGES: st.SearchStrategy[list[Breakage]] = st.one_of(
    st.just([]),
    st.lists(_ONE, min_size=1, max_size=3),
    st.lists(_ONE, min_size=8, max_size=20),
    st.lists(_ONE, min_size=8, max_size=20),
)
"""Mostly many, for a document shows few columns."""


@dataclass(slots=True)
class Breaking:
    """A driver that breaks what it has read."""

    breakages: Sequence[Breakage] = ()
    driver: Driver = field(init=False)

    def __call__(self, driver: Driver) -> "Breaking":
        self.driver = driver
        return self

    async def fetch(self, query: Prepared, arguments: Sequence[object]) -> Sequence[Record]:
        rows = await self.driver.fetch(query, arguments)
        return [self._broken(row) for row in rows]

    async def close(self) -> None:
        await self.driver.close()

    def _broken(self, row: Record) -> Record:
        known = [row.places, *(part.places for part in row.parts.values())]
        changed = {
            places[each.column]: each.value
            for each in self.breakages
            for places in known
            if each.column in places and _number(row, places) % each.every == 0
        }
        if not changed:
            return row
        values = (changed.get(place, value) for place, value in enumerate(row))
        return type(row)(values)  # type: ignore[call-arg]


def _number(row: Record, places: Mapping[str, int]) -> int:
    """Of a row or of one that came along, by its key: rows are not always read in the same order."""
    key = next(name for name in ("id", "destination_id", *places) if name in places)
    return crc32(repr(row[places[key]]).encode())
